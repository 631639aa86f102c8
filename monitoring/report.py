"""A window as data: what the JSON beside a report holds, and what a page draws from."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitoring.monitor import WindowResult

#: Windows in the rolling report.
MOST_WINDOWS = 60


def as_dict(result: WindowResult) -> dict[str, Any]:
    """JSON-ready: NaN is null."""
    window = result.window
    return {
        "id": window.id,
        "state": window.state,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "rows": window.rows,
        "late_rows": window.late_rows,
        "revision": window.revision,
        "version": result.version,
        "versions": window.versions,
        "notes": list(result.notes),
        "findings": [_finite(f.to_dict()) for f in result.findings],
        "measures": [_finite(m.to_dict()) for m in result.measures],
    }


def file_name(window_id: str) -> str:
    """A window's id as the name of a file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", window_id.split("/", 1)[-1])


def _finite(content: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in content.items()
    }
