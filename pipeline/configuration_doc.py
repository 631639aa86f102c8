"""Writes docs/configuration.md from the typed config: `python -m pipeline.configuration_doc`.

The options classes are the one place where a key, its type, its default and its meaning are
written down; this walks through them and adds nothing of its own but the order and the frame.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import annotated_types
import pydantic
from pydantic.fields import FieldInfo

from models.options import Options
from pipeline.config import Config

#: What stands in the example where a key has no default, or an empty one says little.
EXAMPLE: dict[str, Any] = {
    "name": "trips",
    "data.path": "trips/*.csv",
    "data.derive": {"big_tipper": "tips > 0.2 * fare"},
    "data.split.by": "time",
    "data.split.column": "started_at",
    "task.label": "big_tipper",
    "task.type": "binary",
    "features": {
        "fare": "numeric",
        "payment_type": "categorical",
        "tips": "ignore",
        "started_at": "ignore",
    },
    "validation.policy": {"DRIFT_NUMERIC": "block", "COLUMN_NEW": "ignore"},
    "quantizer.custom_recipes": {
        "int8_narrow": {
            "weights": "int8",
            "activations": "int8",
            "ranges": "aware",
            "tables": {"width": 2},
        }
    },
    "evaluation.slices": [["payment_type"]],
    "evaluation.thresholds": {"auc": 0.8, "log_loss": 0.5},
}

_HEAD = """\
# Configuration

One YAML file, `flywheel.yaml`, says everything a run depends on. `flywheel init DATA` writes a
short one; every key below that is not in it has the default shown. Unknown keys are refused with
the closest known name, and all problems are told at once. Relative paths are taken from the
file's folder. A run keeps the whole config, defaults written out, as
`.flywheel/runs/<run>/config.yaml`.

This page is generated from the typed config: change the descriptions in the `options.py` files
and `pipeline/config.py`, then `make docs`.

## A complete example

Every key. Where the value is not the default, the comment ends with the default.
"""

_PLAIN = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}
_WIDTH = 96


def markdown() -> str:
    """The whole page."""
    parts = [_HEAD, "```yaml", *_example(Config, EXAMPLE), "```", "", "## Keys", ""]
    parts += ["### At the top", "", *_table(_own_keys(Config))]
    for path, model in _sections(Config):
        title = f"### `{path}`"
        parts += ["", title, "", *_prose(model), *_table(_own_keys(model), path)]
    return "\n".join(parts) + "\n"


def example() -> str:
    """The complete example alone, as YAML."""
    return "\n".join(_example(Config, EXAMPLE)) + "\n"


def keys(model: type[Options] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that holds a value, by its path: `data.split.by`."""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section:
            yield from keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _section(field: FieldInfo) -> type[Options] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel) else None


def _sections(model: type[Options], prefix: str = "") -> Iterator[tuple[str, type[Options]]]:
    """Every group of keys, parents before children."""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section:
            yield f"{prefix}{name}", section
            yield from _sections(section, f"{prefix}{name}.")


def _own_keys(model: type[Options]) -> dict[str, FieldInfo]:
    return {name: field for name, field in model.model_fields.items() if not _section(field)}


def _prose(model: type[Options]) -> list[str]:
    """The class's docstring: what the group is about."""
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", (model.__doc__ or "").strip())
    return [text, ""] if text else []


def _table(fields: Mapping[str, FieldInfo], path: str = "") -> list[str]:
    if not fields:
        return []
    rows = ["| key | type | default | what it does |", "|---|---|---|---|"]
    for name, field in fields.items():
        key = f"{path}.{name}" if path else name
        cells = (f"`{key}`", type_words(field), _default_words(field), field.description or "")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def type_words(field: FieldInfo) -> str:
    """A field's type for people: `whole number, 1 to 256`."""
    return _words(field.annotation, tuple(field.metadata))


def _words(kind: Any, limits: tuple[Any, ...] = ()) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _words(inner[0], (*_flat(inner[1:]), *limits))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_words(part, limits) for part in inner if part is not type(None)) + (
            ", or nothing" if type(None) in inner else ""
        )
    if origin is tuple:
        return f"list of {_many(_words(inner[0]))}"
    if origin is dict:
        return f"map of {_many(_words(inner[0]))} to {_many(_words(inner[1]))}"
    return _PLAIN.get(kind, getattr(kind, "__name__", str(kind))) + _limit_words(limits)


def _many(words: str) -> str:
    """The plural of a type: `whole numbers, 1 to 256`."""
    head, _, rest = words.partition(", ")
    head = re.sub(r"^(whole number|number)$", r"\1s", head)
    head = re.sub(r"^list of ", "lists of ", head)
    return f"{head}, {rest}" if rest else head


def _flat(metadata: tuple[Any, ...]) -> tuple[Any, ...]:
    """Constraints, also those that pydantic's `Field(...)` holds."""
    found: list[Any] = []
    for item in metadata:
        found += item.metadata if isinstance(item, FieldInfo) else [item]
    return tuple(found)


def _limit_words(limits: tuple[Any, ...]) -> str:
    low, high, words = "", "", ""
    for limit in limits:
        if isinstance(limit, annotated_types.Ge):
            low = f"at least {_number(limit.ge)}"
        elif isinstance(limit, annotated_types.Gt):
            low = f"above {_number(limit.gt)}"
        elif isinstance(limit, annotated_types.Le):
            high = f"at most {_number(limit.le)}"
        elif isinstance(limit, annotated_types.Lt):
            high = f"below {_number(limit.lt)}"
        elif getattr(limit, "pattern", None):
            words = f", matching `{limit.pattern}`"
    both = " and ".join(part for part in (low, high) if part)
    return (f", {both}" if both else "") + words


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _default_words(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = _default(field)
    return "–" if value is None else f"`{_yaml(value)}`"


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return list(value) if isinstance(value, tuple) else value


def _yaml(value: Any) -> str:
    """A value on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if "e" not in f"{value:g}" else f"{value:.10f}".rstrip("0")
    if isinstance(value, int):
        return str(value)
    return value if re.fullmatch(r"[\w./~-][\w./ -]*", value) else json.dumps(value)


def _example(model: type[Options], values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """YAML with every key, each with the first words of its description."""
    lines: list[str] = []
    indent = "  " * prefix.count(".")
    after_section = False
    for name, field in model.model_fields.items():
        path, section = f"{prefix}{name}", _section(field)
        if not prefix and lines and (section or after_section):
            lines.append("")
        after_section = section is not None
        if section:
            title = (section.__doc__ or "").strip().splitlines()[0].rstrip(".")
            lines += [
                f"{indent}# {title}",
                f"{indent}{name}:",
                *_example(section, values, f"{path}."),
            ]
            continue
        default = None if field.is_required() else _default(field)
        value = values.get(path, default)
        note = _first_words(field)
        if path in values and not field.is_required():
            note += f" (default: {_yaml(default) if default is not None else 'none'})"
        if isinstance(value, dict) and value:
            lines += [*_comment(note, indent), f"{indent}{name}:"]
            lines += [f"{indent}  {key}: {_yaml(item)}" for key, item in value.items()]
            continue
        line = f"{indent}{name}: {_yaml(value)}"
        together = f"{line}  # {note}"
        lines += [together] if len(together) <= _WIDTH else [*_comment(note, indent), line]
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH - len(indent) - 2)]


def _first_words(field: FieldInfo) -> str:
    """The choices if there are any, and the first sentence up to a semicolon."""
    description = field.description or ""
    outside = re.sub(r"\([^)]*\)", lambda m: m.group().replace(";", ","), description)
    sentence = re.split(r"(?<!e\.g)\.(?:\s|$)|;\s", outside, maxsplit=1)[0].replace("`", "")
    choices = [str(value) for value in typing.get_args(field.annotation)]
    if typing.get_origin(field.annotation) is not Literal or len(choices) < 2:
        return sentence
    listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return listed if description.startswith("`") else f"{sentence}: {listed}"


def main() -> None:
    sys.stdout.write(markdown())


if __name__ == "__main__":
    main()
