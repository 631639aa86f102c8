"""The errors a user of Flywheel can meet, and the reasons every verdict carries.

An error is one paragraph: what happened, where, why, and what to do next.
It carries the state in which a run ends and the exit code of the command.
"""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Reason:
    """One reason of a verdict, as data.

    Attributes:
      code: Upper snake case, stable: `NO_BASELINE`, `COLUMN_MISSING`.
      message: One sentence for people: what, where, why.
      cases: The failing cases as rows of a table (each a flat dict); at most a
        few dozen, the message says how many there are in all.
      next: What to do or to type next.
      severity: `block`, `warn` or `info`.
    """

    code: str
    message: str
    cases: tuple[dict[str, Any], ...] = ()
    next: str = ""
    severity: str = "info"

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "cases": list(self.cases)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reason:
        return cls(**{**data, "cases": tuple(data.get("cases", ()))})


class FlywheelError(Exception):
    """Something failed and the user can do something about it.

    Args:
      code: Reason code, upper snake case.
      message: What, where and why.
      next: What to do next.
      cases: Failing cases, each a flat dict.
    """

    state = "failed"
    exit_code = 1

    def __init__(
        self,
        code: str,
        message: str,
        *,
        next: str = "",
        cases: list[dict[str, Any]] | tuple[dict[str, Any], ...] = (),
    ):
        super().__init__(message)
        self.reason = Reason(code, message, tuple(cases), next, "block")

    def __str__(self) -> str:
        return " ".join(part for part in (self.reason.message, self.reason.next) if part)


class ConfigError(FlywheelError):
    """The config or the command line is wrong; nothing was run."""

    exit_code = 2


class DataError(FlywheelError):
    """The data cannot be used as the config says; nothing was trained."""

    state = "blocked_by_data"
    exit_code = 3

    def __init__(self, code: str, message: str, *, reasons: tuple[Reason, ...] = (), **kwargs: Any):
        super().__init__(code, message, **kwargs)
        self.reasons = reasons or (self.reason,)


def disk_full(what: str) -> FlywheelError:
    """The error for a file system without space; `what` cannot be written to it, a sentence."""
    return FlywheelError(
        "DISK_FULL",
        f"The disk is full: {what}",
        next="Free space and go on with `flywheel run`, or set `root` in flywheel.yaml to "
        "a folder on another disk.",
    )
