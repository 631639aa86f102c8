"""A config as someone edits it on the page: checked as a whole, confined to what a page may change.

A page may change what decides a run. Where things are kept, what they cost and
whom they talk to belongs to the file: `root`, `deploy`, `beam_args`, and every
section about what happens after a run. And data comes from known folders only.
"""

from __future__ import annotations

import pathlib
from typing import Any

import pydantic
import yaml

from control_center.center import Center
from custom_components.example_gen.files import find_files
from custom_components.example_gen.reader import open_dataset
from models.errors import ConfigError
from pipeline import config as config_module
from pipeline.config import Config

#: Only the file says these.
FILE_ONLY = (
    "root",
    "deploy",
    "beam_args",
    "serving",
    "monitoring",
    "alerts",
    "automation",
    "kubeflow",
    "control_center",
)
_MOST_TEXT = 200_000
_PEEK_ROWS = 1000
_DATA_KEYS = (("data", "path"), ("distillation", "extra_data"), ("validation", "schema_path"))


def parse(center: Center, text: str) -> Config:
    """The config that an edited text means, paths absolute.

    Raises:
      ConfigError: every problem, each at its key.
    """
    if len(text) > _MOST_TEXT:
        raise ConfigError("TOO_LARGE", "A config of more than 200,000 characters is not read.")
    try:
        data = yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            "INVALID_YAML",
            f"This is not valid YAML{where}: {getattr(error, 'problem', error)}.",
            next="Mend that line; values with `: ` or `#` in them need quotes.",
            cases=[{"line": mark.line + 1}] if mark else [],
        ) from None
    except (RecursionError, ValueError) as error:
        raise ConfigError("INVALID_YAML", f"This cannot be read as YAML: {error}.") from None
    if not isinstance(data, dict):
        raise ConfigError("INVALID_CONFIG", "The text holds no settings.")
    config = config_module.with_absolute_paths(config_module.parse(data, "the text"), center.folder)
    _confine(center, config)
    return config


def _confine(center: Center, config: Config) -> None:
    cases = []
    present = center.config
    for key in FILE_ONLY:
        if getattr(config, key) != getattr(present, key):
            cases.append({"key": key, "problem": "only the config file itself may change this"})
    for section, key in _DATA_KEYS:
        wanted = getattr(getattr(config, section), key)
        given = getattr(getattr(present, section), key)
        if wanted is not None and wanted != given and not is_allowed(center, wanted):
            problem = "is not in a folder that runs from this page may read"
            cases.append({"key": f"{section}.{key}", "problem": problem})
    if cases:
        raise ConfigError(
            "NOT_FROM_HERE",
            "A run that is started here cannot change "
            + "; ".join(f"`{c['key']}`: {c['problem']}" for c in cases)
            + ".",
            next="Edit the config file, or name folders in `control_center.data_folders`.",
            cases=cases,
        )


def is_allowed(center: Center, path: str) -> bool:
    """Whether a run started from the page may read a path: never a URL, never outside."""
    if path.startswith("demo:"):
        return True
    if "://" in path:
        return False
    folders = [center.folder, center.own / "uploads"]
    present = center.config.data.path
    if "://" not in present and not present.startswith("demo:"):
        folders.append(pathlib.Path(present).parent)
    folders += [
        center.folder / pathlib.Path(folder).expanduser() for folder in center.options.data_folders
    ]
    real = pathlib.Path(_fixed_part(path)).resolve()
    private = center.own.resolve()
    uploads = private / "uploads"
    if real.is_relative_to(private) and not real.is_relative_to(uploads):
        return False
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def _fixed_part(path: str) -> str:
    """A glob's folder: what comes before the first wildcard."""
    parts = pathlib.Path(path).parts
    fixed = []
    for part in parts:
        if any(mark in part for mark in "*?["):
            break
        fixed.append(part)
    return str(pathlib.Path(*fixed)) if fixed else "."


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: nothing in a config needs them, and they can grow without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not read here", mark)
        return super().compose_node(parent, index)


def peek(config: Config) -> None:
    """Looks at the first rows of the data: most mistakes about columns show there.

    Raises:
      FlywheelError: as ExampleGen would, in milliseconds.
    """
    files = find_files(config.data.path)
    if len(files) > 1 or files[0].format == "tfrecord":
        return  # later files may add columns; TFRecord needs TensorFlow
    open_dataset(
        config.data.path,
        kinds={**config.features, config.task.label: "label"},
        derived=config.data.derive,
        max_rows=_PEEK_ROWS,
    )


def describe_keys() -> dict[str, dict[str, Any]]:
    """Dotted key to description, type and default: what an editor shows beside the cursor."""
    found: dict[str, dict[str, Any]] = {}

    def walk(model: type[pydantic.BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            key = f"{prefix}{name}"
            inner = field.annotation
            is_section = isinstance(inner, type) and issubclass(inner, pydantic.BaseModel)
            about = field.description or (inner.__doc__ or "").strip().split("\n")[0]
            default = None if field.is_required() or is_section else field.get_default()
            found[key] = {
                "description": about,
                "default": None if default is None else _plain(default),
                "required": field.is_required(),
            }
            if is_section:
                walk(inner, key + ".")

    walk(Config, "")
    return found


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_plain(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if not isinstance(value, pydantic.BaseModel) else ""
