"""How pages are written: one Jinja environment, the report's filters, times relative and exact."""

from __future__ import annotations

import datetime
import pathlib
import time
from typing import Any

import jinja2
from markupsafe import Markup

import pipeline.report
from pipeline.report import charts, words
from pipeline.report.inputs import cases_table, severity_of

_HERE = pathlib.Path(__file__).parent
REPORT = pathlib.Path(pipeline.report.__file__).parent
_FILTERS = (
    "breakable cell fixed count metric metric_name microseconds number percent prose seconds "
    "short signed size"
).split()
STATES = {
    "pushed": ("✓ pushed", "good"),
    "not_blessed": ("✗ not blessed", "warn"),
    "blocked_by_data": ("✗ blocked by data", "warn"),
    "failed": ("✗ failed", "bad"),
    "lost": ("✗ killed", "bad"),
    "running": ("… running", "live"),
}
#: Kubeflow's states of runs.
CLUSTER_STATES = {
    "SUCCEEDED": ("✓ succeeded", "good"),
    "FAILED": ("✗ failed", "bad"),
    "CANCELED": ("canceled", "warn"),
    "RUNNING": ("… running", "live"),
}


def environment() -> jinja2.Environment:
    """Templates of ours and of the report's sections; everything is escaped."""
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.FileSystemLoader(_HERE / "templates"),
                jinja2.PrefixLoader({"report": jinja2.FileSystemLoader(REPORT)}),
                jinja2.FileSystemLoader(REPORT),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update({name: getattr(words, name) for name in _FILTERS})
    found.filters.update(ago=ago, megabytes=megabytes, interval=interval)
    found.filters.update(state_badge=state_badge, cluster_badge=cluster_badge)
    found.globals.update(
        figure=words.figure,
        is_number=words.is_number,
        cases_table=cases_table,
        severity_of=severity_of,
        swatch=charts.swatch,
        missing=lambda component: f"{component} did not get that far.",
    )
    return found


def epoch(value: Any) -> float | None:
    """Seconds since the epoch of a number, a datetime or an ISO text."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if words.is_number(value):
        return float(value)
    if isinstance(value, str) and value:
        try:
            when = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.timezone.utc)
        return when.timestamp()
    return None


def ago(value: Any, now: float | None = None) -> Markup:
    """A moment as people say it, exact on hover; a script keeps it true."""
    when = epoch(value)
    if not when:
        return Markup(words.NOTHING)
    try:
        moment = datetime.datetime.fromtimestamp(when, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return Markup(words.NOTHING)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), words.moment(when), relative(when, now)
    )


def relative(when: float, now: float | None = None) -> str:
    """`just now`, `3 min ago`, `in 2 h`, `5 days ago`."""
    past = (time.time() if now is None else now) - when
    size = abs(past)
    if size < 10:
        return "just now"
    for limit, unit, name in (
        (90, 1, "s"),
        (5400, 60, "min"),
        (129_600, 3600, "h"),
        (5_184_000, 86_400, "days"),
        (63_072_000, 2_629_800, "months"),
        (float("inf"), 31_557_600, "years"),
    ):
        if size < limit:
            text = f"{round(size / unit)}\N{NO-BREAK SPACE}{name}"
            return f"{text} ago" if past > 0 else f"in {text}"
    return ""


def megabytes(value: Any) -> str:
    """Memory and files: `512 B`, `14 kB`, `1.2 GB`."""
    if not words.is_number(value):
        return words.NOTHING
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            amount = value / size
            return (
                f"{amount:.1f}\N{NO-BREAK SPACE}{unit}"
                if amount < 10
                else (f"{amount:,.0f}\N{NO-BREAK SPACE}{unit}")
            )
    return f"{value:,.0f}\N{NO-BREAK SPACE}B"


def state_badge(state: str) -> Markup:
    text, tone = STATES.get(state, (state.replace("_", " "), "neutral"))
    return Markup('<span class="badge {}">{}</span>').format(tone, text)


def cluster_badge(state: str) -> Markup:
    text, tone = CLUSTER_STATES.get(state, (state.lower().replace("_", " "), "neutral"))
    return Markup('<span class="badge {}">{}</span>').format(tone, text)


def interval(change: dict[str, Any] | None) -> str:
    """A change with its interval: `+0.0012 (−0.0004 to +0.0028)`."""
    if not change:
        return words.NOTHING
    text = words.signed(change["change"])
    if change.get("low") is None:
        return text
    return f"{text} ({words.signed(change['low'])} to {words.signed(change['high'])})"
