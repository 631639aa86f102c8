"""A compiled spec goes to a cluster: uploaded once, run or scheduled."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

import yaml

from models.errors import ConfigError
from models.text import did_you_mean

_VERSION_LENGTH = 12
_ABBREVIATIONS = {
    "@hourly": "0 0 * * * *",
    "@daily": "0 0 0 * * *",
    "@weekly": "0 0 0 * * 0",
    "@monthly": "0 0 0 1 * *",
}
_NAMES = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|SUN|MON|TUE|WED|THU|FRI|SAT"
#: Second, minute, hour, day of month, month, day of week.
_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")


@dataclasses.dataclass(frozen=True)
class Package:
    """A compiled spec as a file.

    Attributes:
      path: The YAML file.
      name: `pipelineInfo.name` in it.
      version: The beginning of the SHA-256 of its content.
      parameters: Runtime parameters it knows, with KFP's names of their types.
    """

    path: pathlib.Path
    name: str
    version: str
    parameters: dict[str, str]


def read_package(path: pathlib.Path) -> Package:
    """Reads what a cluster needs to know about a compiled spec.

    Raises:
      ConfigError: NO_SPEC, NOT_A_SPEC.
    """
    if not path.is_file():
        raise ConfigError(
            "NO_SPEC",
            f"There is no compiled spec `{path}`.",
            next="Write one: `flywheel compile --target kfp -o pipeline.yaml`.",
        )
    content = path.read_bytes()
    try:
        return package_of(path, content, next(iter(yaml.safe_load_all(content))))
    except (yaml.YAMLError, StopIteration, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "NOT_A_SPEC",
            f"`{path}` is not a pipeline spec of Kubeflow Pipelines v2 "
            f"({type(error).__name__}: {error}).",
            next="Write one: `flywheel compile --target kfp -o pipeline.yaml`. The JSON for Vertex "
            "goes up with `--target vertex`.",
        ) from None


def package_of(path: pathlib.Path, content: bytes, spec: dict[str, Any]) -> Package:
    """What is to be known about a PipelineSpec.

    Args:
      path: Where it was read.
      content: The whole file.
      spec: The specification in it; KeyError, TypeError or AttributeError when it is none.
    """
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return Package(
        path,
        spec["pipelineInfo"]["name"],
        hashlib.sha256(content).hexdigest()[:_VERSION_LENGTH],
        {key: inputs[key].get("parameterType", "STRING") for key in sorted(inputs)},
    )


def parameter_values(package: Package, given: dict[str, str]) -> dict[str, Any]:
    """Texts as the spec's runtime parameters want them.

    Raises:
      ConfigError: UNKNOWN_PARAMETER, WRONG_PARAMETER.
    """
    values = {}
    for name, text in given.items():
        if name not in package.parameters:
            raise ConfigError(
                "UNKNOWN_PARAMETER",
                f"`{package.path}` has no runtime parameter {name!r}."
                f"{did_you_mean(name, package.parameters)}",
                next=f"It has: {', '.join(package.parameters) or 'none'}.",
            )
        kind = package.parameters[name]
        try:
            values[name] = _READERS.get(kind, str)(text)
        except ValueError:
            raise ConfigError(
                "WRONG_PARAMETER",
                f"The runtime parameter {name!r} is {kind}, and {text!r} is not.",
                next="Lists and structs are written as JSON, booleans as true or false.",
            ) from None
    return values


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_READERS: dict[str, Callable[[str], Any]] = {
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": _boolean,
    "LIST": json.loads,
    "STRUCT": json.loads,
}


def six_fields(cron: str) -> str:
    """A cron expression as Kubeflow Pipelines wants it: with seconds first.

    Five fields, as crontab has them, get a leading 0.

    Raises:
      ConfigError: WRONG_CRON.
    """
    text = _ABBREVIATIONS.get(cron.strip().lower(), cron)
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    problem = None
    if len(fields) != 6:
        problem = f"has {len(fields)} fields"
    else:
        for field, limits, name in zip(fields, _RANGES, _FIELDS, strict=True):
            if not _field_is_valid(field, *limits):
                problem = f"has {field!r} as {name}, which is {limits[0]} to {limits[1]}"
                break
    if problem:
        raise ConfigError(
            "WRONG_CRON",
            f"The schedule {cron!r} {problem}.",
            next="Five fields as in crontab (minute hour day-of-month month day-of-week: "
            "`30 4 * * 1` is Mondays 4:30 UTC), or six with seconds first.",
        )
    return " ".join(fields)


def _field_is_valid(field: str, low: int, high: int) -> bool:
    for part in field.upper().split(","):
        match = re.fullmatch(
            rf"(?:(?P<any>[*?])|(?P<a>\d+|{_NAMES})(?:-(?P<b>\d+|{_NAMES}))?)(?:/(?P<step>\d+))?",
            part,
        )
        if not match or match["step"] == "0":
            return False
        numbers = [int(n) for n in (match["a"], match["b"]) if n and n.isdigit()]
        if any(not low <= n <= high for n in numbers) or numbers != sorted(numbers):
            return False
    return True
