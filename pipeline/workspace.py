"""Where runs leave what they leave: one folder, the same for every reader.

<root>/
  metadata.sqlite          ML Metadata
  artifacts/               the pipeline root
  runs/<run id>/
    config.yaml            the config as it was
    events.jsonl           what happened, as it happened
    log.txt                everything components and libraries said
    result.json            how it ended
    report.html            the same for people
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

from models.errors import ConfigError, FlywheelError
from models.text import did_you_mean

DEFAULT_FILE = "flywheel.yaml"
#: What a worker's libraries print before it has a run, in its temporary folder.
FIRST_LOG = "log.txt"


@dataclasses.dataclass(frozen=True)
class Workspace:
    """The folder of runs.

    Attributes:
      root: May not exist yet.
    """

    root: pathlib.Path

    @property
    def metadata(self) -> pathlib.Path:
        return self.root / "metadata.sqlite"

    @property
    def artifacts(self) -> pathlib.Path:
        return self.root / "artifacts"

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.root / "runs" / run_id)

    def run_ids(self) -> list[str]:
        """Newest first."""
        folder = self.root / "runs"
        names = [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
        return sorted(names, reverse=True)

    def resolve(self, run_id: str | None) -> str:
        """The full id from its beginning; the newest run by default.

        Raises:
          ConfigError: NO_RUNS, UNKNOWN_RUN.
        """
        ids = self.run_ids()
        if not ids:
            raise ConfigError(
                "NO_RUNS",
                f"There are no runs in `{self.root}` yet.",
                next="Start one: `flywheel run`.",
            )
        if run_id is None:
            return ids[0]
        matches = [i for i in ids if i.startswith(run_id)]
        if len(matches) != 1:
            if matches:
                problem = f"Several runs begin with `{run_id}`: {', '.join(matches)}."
            else:
                close = did_you_mean(run_id, ids)
                problem = f"There is no run `{run_id}` in `{self.root}`.{close}"
            raise ConfigError(
                "UNKNOWN_RUN",
                problem,
                next="List them with `flywheel runs`.",
            )
        return matches[0]

    def new_run(self) -> RunFolder:
        """A fresh folder named by the time."""
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
        folder = self.root / "runs" / f"{stamp}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        return RunFolder(folder)

    @contextlib.contextmanager
    def locked(self, run_id: str) -> Iterator[None]:
        """One run at a time.

        Raises:
          FlywheelError: ALREADY_RUNNING, naming the run.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".lock", "a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise FlywheelError(
                    "ALREADY_RUNNING",
                    f"Run {lock.read().strip() or 'another'} is using `{self.root}` now.",
                    next="Wait for it to end, or use another `root` in flywheel.yaml.",
                ) from None
            lock.truncate(0)
            lock.write(run_id)
            lock.flush()
            yield


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: pathlib.Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def config(self) -> pathlib.Path:
        return self.path / "config.yaml"

    @property
    def events(self) -> pathlib.Path:
        return self.path / "events.jsonl"

    @property
    def memory(self) -> pathlib.Path:
        return self.path / "memory.json"

    @property
    def log(self) -> pathlib.Path:
        return self.path / "log.txt"

    @property
    def result(self) -> pathlib.Path:
        return self.path / "result.json"

    @property
    def report(self) -> pathlib.Path:
        return self.path / "report.html"

    def read_result(self) -> dict[str, Any] | None:
        """How the run ended; None while it runs or when it was killed."""
        try:
            return json.loads(self.result.read_text("utf-8"))
        except FileNotFoundError:
            return None

    def write_result(self, result: dict[str, Any]) -> None:
        """Replaces the result in one step."""
        temporary = self.result.with_suffix(".tmp")
        temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
        temporary.replace(self.result)
