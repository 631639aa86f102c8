"""Watching the deployed model: windows of the prediction log, measures, findings, alerts.

`monitoring.compare(reference, current)` compares two tables in a notebook. Nothing is imported
before it is asked for, because components and functions use parts of this package alone.
"""

from __future__ import annotations

from typing import Any

__all__ = ["compare"]


def compare(reference: Any, current: Any, **options: Any) -> Any:
    """See `monitoring.comparison.compare`."""
    from monitoring import comparison

    return comparison.compare(reference, current, **options)
