"""How a task says that it failed: to people, to Kubernetes, and to programs."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

from models.errors import DataError, FlywheelError

#: Begins the line on stderr that tells programs of a failure: JSON with `component`, `state` and
#: `reasons`.
FAILURE = "FLYWHEEL_FAILURE "
#: What Kubernetes shows of a pod that ended; it keeps 4096 bytes.
TERMINATION_LOG = pathlib.Path("/dev/termination-log")
_TERMINATION_BYTES = 4096


def report(
    component: str, problem: Exception, termination_log: pathlib.Path = TERMINATION_LOG
) -> int:
    """Says what failed.

    Args:
      component: Whose task it is.
      problem: What was raised.
      termination_log: Is written where it exists: Kubernetes makes it.

    Returns:
      The exit code.
    """
    error = problem if isinstance(problem, FlywheelError) else _unforeseen(problem)
    reasons = error.reasons if isinstance(error, DataError) else (error.reason,)
    text = "\n".join(
        f"{component} failed: {reason.code}: {reason.message}"
        + (f" -> {reason.next}" if reason.next else "")
        for reason in reasons
    )
    record: dict[str, Any] = {
        "component": component,
        "state": error.state,
        "reasons": [reason.to_dict() for reason in reasons],
    }
    sys.stderr.write(f"{text}\n{FAILURE}{json.dumps(record, default=str)}\n")
    sys.stderr.flush()
    try:
        if termination_log.exists():
            termination_log.write_bytes(text.encode()[:_TERMINATION_BYTES])
    except OSError:  # not ours to write
        pass
    return error.exit_code


def _unforeseen(problem: Exception) -> FlywheelError:
    text = (str(problem).strip().splitlines() or [""])[0][:500]
    return FlywheelError(
        "COMPONENT_FAILED",
        f"{type(problem).__name__}: {text}",
        next="The stack trace is above, in the task's log.",
    )
