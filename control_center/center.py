"""What every page and every call of the API is about: one config file and its workspace."""

from __future__ import annotations

import pathlib
import threading
from typing import Any

import pydantic
import yaml

from control_center.audit import AuditLog
from control_center.options import ControlCenterOptions
from control_center.runs_index import Row, RunsIndex
from control_center.standby import Standby
from models.errors import ConfigError, FlywheelError
from models.registry import Registry
from pipeline import config as config_module
from pipeline.config import Config
from pipeline.report.inputs import Inputs
from pipeline.workspace import Workspace


class Configs:
    """Configs of past runs as plain data: they do not change, and YAML is slow to read."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def read(self, workspace: Workspace, run_id: str) -> dict[str, Any]:
        """Of one run; empty when it is gone or unreadable."""
        if run_id not in self._known:
            try:
                text = workspace.run(run_id).config.read_text("utf-8")
                data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            except (OSError, ValueError, yaml.YAMLError):
                return {}
            self._known[run_id] = data if isinstance(data, dict) else {}
        return self._known[run_id]


class Center:
    """The state behind the pages; everything in it is read from files.

    Args:
      config_path: The config file; it need not exist yet.
    """

    def __init__(self, config_path: pathlib.Path):
        self.config_path = config_path.resolve()
        self._lock = threading.Lock()
        self._loaded: tuple[float, Config | None, FlywheelError | None] | None = None
        self._index: RunsIndex | None = None
        self.configs = Configs()
        self.standby = Standby()

    @property
    def folder(self) -> pathlib.Path:
        """What relative paths in the config are taken from."""
        return self.config_path.parent

    def _load(self) -> tuple[Config | None, FlywheelError | None]:
        try:
            changed = self.config_path.stat().st_mtime
        except OSError:
            changed = -1.0
        with self._lock:
            if self._loaded is None or self._loaded[0] != changed:
                try:
                    self._loaded = (changed, config_module.load(self.config_path), None)
                except FlywheelError as error:
                    self._loaded = (changed, None, error)
            return self._loaded[1], self._loaded[2]

    @property
    def config(self) -> Config:
        """The config as it is now.

        Raises:
          ConfigError: when it is not there or wrong.
        """
        config, error = self._load()
        if config is None:
            raise error or ConfigError("NO_CONFIG", "There is no config.")
        return config

    @property
    def problem(self) -> FlywheelError | None:
        """Why there is no config."""
        return self._load()[1]

    @property
    def options(self) -> ControlCenterOptions:
        """Of the control center; defaults while there is no config."""
        config, _ = self._load()
        return config.control_center if config else ControlCenterOptions()

    @property
    def root(self) -> pathlib.Path:
        config, _ = self._load()
        return pathlib.Path(config.root) if config else self.folder / ".flywheel"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    @property
    def runs(self) -> RunsIndex:
        if self._index is None or self._index.workspace != self.workspace:
            self._index = RunsIndex(self.workspace)
        return self._index

    @property
    def registry(self) -> Registry:
        config, _ = self._load()
        return Registry(config.deploy.path if config else self.folder / "deployed")

    @property
    def own(self) -> pathlib.Path:
        """Where the control center keeps what is its own."""
        return self.root / "control_center"

    @property
    def audit(self) -> AuditLog:
        return AuditLog(self.own / "audit.jsonl")

    def shown(self, path: str) -> str:
        """A path as people of this folder write it: relative where it is inside."""
        prefix = f"{self.folder}/"
        return path.removeprefix(prefix) if path != prefix else path

    def inputs(self, run_id: str) -> Inputs:
        """What a run left, as its report reads it; its config is read once, as YAML is slow."""
        found = Inputs.read(self.workspace, run_id)
        config = self.configs.read(self.workspace, run_id)
        if config:
            found.__dict__["config"] = config  # where its cached property keeps it
        return found

    def run(self, run_id: str) -> Row:
        """A run by its full id.

        Raises:
          ConfigError: UNKNOWN_RUN.
        """
        if run_id not in self.runs.ids():
            raise ConfigError(
                "UNKNOWN_RUN", "There is no such run here.", next="The list of runs has them all."
            )
        return self.runs.row(run_id)


def strict_options(path: pathlib.Path) -> ControlCenterOptions:
    """The options of a config file whose other sections may still be wrong.

    Who may log in must not depend on the rest of the file being right.

    Raises:
      ConfigError: when this section itself is wrong.
    """
    try:
        data: Any = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return ControlCenterOptions()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            "UNREADABLE_CONFIG",
            f"`{path}` cannot be read, so it is not known who may log in: {error}.",
            next="Mend the file; `flywheel runs` says what is wrong with it.",
        ) from None
    section = data.get("control_center") if isinstance(data, dict) else None
    try:
        return ControlCenterOptions.model_validate(section or {})
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"`control_center.{'.'.join(map(str, p['loc']))}`: {p['msg']}"
            for p in error.errors(include_url=False)
        )
        raise ConfigError(
            "WRONG_VALUE",
            f"In {path}: {problems}.",
            next="Every key is described in docs/configuration.md.",
        ) from None
