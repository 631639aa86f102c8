"""Parameter values: their types, their text, and JSON as the backend writes it."""

from __future__ import annotations

import decimal
import json
from typing import Any

from models.errors import FlywheelError, Reason

_NAMES = {bool: "bool", int: "number", float: "number", str: "string", list: "list", dict: "struct"}
_TAKES = {
    "NUMBER_INTEGER": "number",
    "NUMBER_DOUBLE": "number",
    "BOOLEAN": "bool",
    "LIST": "list",
    "STRUCT": "struct",
    "TASK_FINAL_STATUS": "struct",
    "TASK_CONFIG": "struct",
}


class TaskError(FlywheelError):
    """The backend refuses to start a task, or a task failed or broke its contract.

    Args:
      code: As for any `FlywheelError`, like the rest.
      message: What, where and why.
      reasons: What the task itself gave as its reasons, if it did.
      state: In which a run ends by the task's own word.
      **details: `next`, `cases`.

    Attributes:
      told: Whether a launcher has recorded the failure, so that an exit handler reads of it.
    """

    told = False

    def __init__(
        self,
        code: str,
        message: str,
        *,
        reasons: tuple[Reason, ...] = (),
        state: str = "failed",
        **details: Any,
    ):
        super().__init__(code, message, **details)
        self.reasons = reasons or (self.reason,)
        self.state = state


def number(value: float) -> str:
    """A number as the backend writes it: without exponent, integers without a point."""
    if isinstance(value, int) or value.is_integer():
        return str(int(value))
    return format(decimal.Decimal(repr(value)), "f")


def to_json(value: Any) -> str:
    """JSON as the backend writes it: compact, and 3.0 is `3`."""
    return json.dumps(_integral(value), separators=(",", ":"), ensure_ascii=False)


def _integral(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


def to_text(value: Any) -> str:
    """A value as it is put into a command line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number(value)
    return value if isinstance(value, str) else to_json(value)


def from_text(text: str, kind: str) -> Any:
    """What a task wrote into the file of an output parameter.

    Raises:
      ValueError: when the text is no such value.
    """
    if kind == "STRING":
        return text
    if kind == "NUMBER_INTEGER":
        return int(text.strip())
    if kind == "NUMBER_DOUBLE":
        return float(text.strip())
    if kind == "BOOLEAN":
        word = text.strip()
        if word in ("1", "t", "T", "TRUE", "true", "True"):
            return True
        if word in ("0", "f", "F", "FALSE", "false", "False"):
            return False
        raise ValueError(f"{word!r} is not a boolean")
    value = json.loads(text)
    if kind == "LIST" and isinstance(value, list) or kind == "STRUCT" and isinstance(value, dict):
        return value
    raise ValueError(f"{text[:60]!r} is not a {kind}")


def checked(name: str, value: Any, kind: str) -> Any:
    """An input as a task gets it: strings take every value as text, nothing else is converted.

    Raises:
      TaskError: PARAMETER_TYPE.
    """
    if kind in ("STRING", "PARAMETER_TYPE_ENUM_UNSPECIFIED", ""):
        return to_text(value)
    found = "null" if value is None else _NAMES[type(value)]
    expected = _TAKES.get(kind)
    if found != expected:
        raise TaskError(
            "PARAMETER_TYPE",
            f"Input parameter `{name}` must be {kind}, and what arrives is a {found}: "
            f"{to_text(value)[:80]!r}.",
            next="The backend converts nothing but to strings: mend the type where it is declared "
            "or the task that produces it.",
        )
    return value
