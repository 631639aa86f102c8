"""The window as a whole: how many rows came, how fresh, how often the same, how answered."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np

from monitoring.log_rows import OK
from monitoring.measure import WINDOW, Measure
from monitoring.window_summary import WindowSummary


def measure(
    current: WindowSummary,
    *,
    earlier_rows: Sequence[int] = (),
    now: datetime.datetime | None = None,
    slice: str = "",
    window_id: str = "",
) -> list[Measure]:
    """Volume, repeats, errors, latency.

    Args:
      current: The window's counts.
      earlier_rows: Rows of the windows before, newest last, for the words.
      now: For freshness; None leaves it out (it is about the log, not about a window).
      slice, window_id: Of the window.
    """
    n = current.rows

    def made(statistic: str, value: float, words: str, **more: object) -> Measure:
        family = "shipped" if statistic.startswith(("latency", "error", "nonfinite")) else "quality"
        return Measure(
            WINDOW, statistic, float(value), n, 0, slice, window_id, words, family, **more
        )

    usual = float(np.median(earlier_rows)) if len(earlier_rows) else None
    before = "" if usual is None else f", usually {usual:,.0f}"
    found = [made("rows", n, f"{n:,} rows{before}")]
    if not n:
        return found
    repeats = current.repeats.rate
    found.append(made("duplicate_rate", repeats, f"{repeats:.1%} of the rows repeat an id"))
    failed = n - current.outcomes.get(OK, 0)
    kinds = ", ".join(
        f"{name} {rows:,}" for name, rows in sorted(current.outcomes.items()) if name != OK
    )
    words = f"{failed / n:.1%} of the requests failed" + (f" ({kinds})" if kinds else "")
    found.append(made("error_rate", failed / n, words))
    wrong = current.nonfinite / n
    found.append(made("nonfinite_rate", wrong, f"{wrong:.1%} of the answers are not finite"))
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        milliseconds = current.latency_ms(share)
        if milliseconds is not None:
            words = f"latency {name} {milliseconds:.3g} ms"
            found.append(made(f"latency_{name}_ms", milliseconds, words))
    if now is not None and current.last is not None:
        age = (now - current.last).total_seconds()
        found.append(made("freshness_s", age, f"the newest row is {spoken(age)} old"))
    return found


def spoken(seconds: float) -> str:
    """`90 s`, `5 min`, `3 h`, `12 days`."""
    for size, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds:,.0f} s"
