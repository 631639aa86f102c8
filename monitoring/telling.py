"""What a look found, in one paragraph."""

from __future__ import annotations

from monitoring.measures.quality import spoken
from monitoring.monitor import Look, WindowResult
from monitoring.performance import HIGHER_IS_BETTER


def paragraph(look: Look) -> str:
    """What was read, what was measured, what was found, and what to look at first."""
    read = look.read
    parts = []
    if read.rows:
        parts.append(f"{read.rows:,} new rows were read.")
    elif look.all_windows:
        parts.append("No new rows.")
    else:
        return (
            "The prediction log is empty: there is nothing to look at. `flywheel predict` and the "
            "predict function write it; rows from elsewhere come in with `--log FILE`."
        )
    if read.late_rows:
        reopened = _count(len(read.revised), "window")
        parts.append(f"{read.late_rows:,} of them came late and reopened {reopened}.")
    if look.new_labels:
        parts.append(f"Labels came in {_count(look.new_labels, 'file')}.")
    for version, rows in read.unknown.items():
        parts.append(
            f"{rows:,} rows are of version {version}, which the registry does not have: they are "
            "only counted."
        )
    if not look.windows:
        waiting = sum(w.state == "OPEN" for w in look.all_windows)
        parts.append(f"No window was complete; {_count(waiting, 'window')} open.")
        return " ".join(parts)
    parts.append(f"{_count(len(look.windows), 'window')} measured:")
    alarmed = [w for w in look.windows if any(f.severity != "info" for f in w.findings)]
    if not alarmed:
        parts.append("nothing more than chance.")
    else:
        newest = alarmed[-1]
        first = next(f for f in newest.findings if f.severity != "info")
        others = len([f for f in newest.findings if f.severity != "info"]) - 1
        more = f" and {_count(others, 'more finding')}" if others else ""
        parts.append(
            f"{len(alarmed)} with findings. The newest, {_short(newest)}: {first.words}{more}."
        )
    parts += _performance(look.windows[-1])
    return " ".join(parts)


def _performance(result: WindowResult) -> list[str]:
    by_name = {m.statistic: m for m in result.measures if not m.slice}
    coverage = by_name.get("coverage")
    found = []
    for name in ("auc", "accuracy", "mae", "r2"):
        realised, estimated = by_name.get(name), by_name.get(f"estimated_{name}")
        if realised is not None and coverage is not None and coverage.value > 0:
            found.append(f"With {coverage.value:.0%} of its labels, {realised.words}.")
            break
        if estimated is not None:
            doubt = f" (unreliable: {estimated.unreliable})" if estimated.unreliable else ""
            found.append(f"Without labels, {estimated.words}{doubt}.")
            break
    fresh = by_name.get("freshness_s")
    if fresh is not None:
        found.append(f"The newest row is {spoken(fresh.value)} old.")
    return found


def better(name: str) -> bool:
    """Whether more of a metric is better."""
    return name.removeprefix("estimated_") in HIGHER_IS_BETTER


def _short(result: WindowResult) -> str:
    return result.window.id.split("/", 1)[-1]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
