"""The pages of the monitor: one per window, and a rolling one. Offline, like the run's report."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from monitoring import drift, report
from monitoring.counting import Counts, Numbers
from monitoring.decisions.thresholds import Thresholds
from monitoring.measure import Measure
from monitoring.monitor import WindowResult
from monitoring.window_summary import WindowSummary
from pipeline.report import charts, page, words
from pipeline.report.charts import Rule, Series

_HERE = pathlib.Path(__file__).parent
_METRICS = ("auc", "accuracy", "log_loss", "mae", "rmse", "r2")
_PICTURES = 30
_VALUES = 12
#: Lines of the table of slices that have moved most.
_SLICES = 20


@dataclasses.dataclass(frozen=True)
class _Row:
    """A feature in the table of a window."""

    feature: str
    found: str
    importance: float | None
    values: dict[str, float]
    words: str
    visible: str


def window_page(
    result: WindowResult,
    summary: WindowSummary | None,
    reference: WindowSummary | None,
    thresholds: Thresholds | None,
) -> str:
    """One window: findings, quality, every feature with its two distributions."""
    by_name: dict[str, dict[str, Measure]] = {}
    for measure in result.measures:
        if measure.slice or measure.against not in ("training", "none"):
            continue
        by_name.setdefault(measure.feature, {})[measure.statistic] = measure
    found = {f.feature for f in result.findings if not f.slice}
    rows = []
    for name, measures in by_name.items():
        if name == "(window)":
            continue
        shown = {s: m.value for s, m in measures.items() if s in ("psi", "jsd", "ks", "linf")}
        if not shown:
            continue
        importance = None if thresholds is None else thresholds.importance.get(name)
        said = next(m.words for s, m in measures.items() if s in shown)
        visible = {} if thresholds is None else thresholds.detectable.get(name, {})
        text = ", ".join(
            f"a shift of {value:.2g} standard deviations"
            if key == "shift"
            else f"{key} {value:.3g}"
            for key, value in sorted(visible.items(), key=lambda item: item[0] != "shift")
            if np.isfinite(value)
        )
        rows.append(_Row(name, "found" if name in found else "", importance, shown, said, text))
    rows.sort(key=lambda row: (row.found == "", -(row.importance or 0.0), row.feature))
    pictures = []
    if summary is not None and reference is not None:
        for row in rows[:_PICTURES]:
            drawn = _distributions(row.feature, reference, summary)
            if drawn:
                pictures.append((row.feature, row.words, drawn))
    others = [
        m
        for m in result.measures
        if not m.slice
        and (m.feature == "(window)" or m.family in ("performance", "estimate", "multivariate"))
    ]
    slices = [m for m in result.measures if m.slice and m.family == "performance"]
    apart = [m for m in result.measures if m.slice and m.statistic == "psi"]
    apart = sorted(apart, key=lambda m: -m.value)[:_SLICES]
    return _render(
        "monitoring.html",
        title=result.window.id,
        rolling=False,
        windows=[_line(result)],
        findings=result.findings,
        notes=result.notes,
        others=others,
        slices=slices,
        apart=apart,
        rows=rows,
        pictures=pictures,
        timelines=[],
    )


def rolling_page(name: str, results: Sequence[WindowResult]) -> str:
    """All windows on a line: quality, estimated and realised in one picture, and each feature."""
    timelines = []
    marks = {
        i: "; ".join(f.words for f in r.findings if f.severity != "info")
        for i, r in enumerate(results)
    }
    for metric in _METRICS:
        realised = _series(results, "(prediction)", metric)
        guessed = _series(results, "(prediction)", f"estimated_{metric}")
        if not realised and not guessed:
            continue
        points = dict(realised) or dict(guessed)
        incidents = [(i, points[i], f"{results[i].window.id}: {text}") for i, text in marks.items()
                     if text and i in points]  # fmt: skip
        lines = [
            Series("realised", realised, "shipped", marks=incidents),
            Series("estimated", guessed, "teacher"),
            *(
                Series(f"{side} of the estimate's band", points, "control")
                for side, points in zip(("low", "high"), _band(results, metric), strict=True)
            ),
        ]
        title = words.metric_name(metric)
        timelines.append(
            (
                f"{title}: realised (blue), estimated (orange) with its band; marks are findings",
                charts.line_chart(lines, f"{title} by window", "window", title),
            )
        )
    features = dict.fromkeys(
        m.feature for r in results for m in r.measures if m.statistic == "psi" and not m.slice
    )
    for feature in list(features)[:_PICTURES]:
        points = _series(results, feature, "psi")
        tips = [
            (i, value, f"{results[i].window.id}: {_said(results[i], feature)}")
            for i, value in points
            if any(f.feature == feature and f.severity != "info" for f in results[i].findings)
        ]
        limits = [
            f.limit
            for r in results
            for f in r.findings
            if f.feature == feature and f.statistic == "psi" and np.isfinite(f.limit)
        ]
        rules = [Rule(float(np.median(limits)), "limit")] if limits else []
        chart = charts.line_chart(
            [Series(feature, points, "shipped", marks=tips)],
            f"PSI of {feature} by window",
            "window",
            "PSI",
            rules=rules,
        )
        timelines.append((f"{feature}: PSI against the reference", chart))
    newest = results[-1] if results else None
    return _render(
        "monitoring.html",
        title=name,
        rolling=True,
        windows=[_line(r) for r in reversed(results)],
        findings=newest.findings if newest else [],
        notes=newest.notes if newest else (),
        others=[],
        slices=[],
        apart=[],
        rows=[],
        pictures=[],
        timelines=timelines,
    )


def _line(result: WindowResult) -> dict[str, Any]:
    window = result.window
    serious = [f for f in result.findings if f.severity != "info"]
    return {
        "id": window.id,
        "file": f"{report.file_name(window.id)}.html",
        "state": window.state,
        "start": f"{window.start:%Y-%m-%d %H:%M}",
        "end": f"{window.end:%Y-%m-%d %H:%M}",
        "rows": window.rows,
        "late": window.late_rows,
        "version": result.version,
        "found": len(serious),
        "words": serious[0].words if serious else "",
    }


def _series(
    results: Sequence[WindowResult], feature: str, statistic: str
) -> list[tuple[float, float]]:
    found = []
    for place, result in enumerate(results):
        for m in result.measures:
            if (
                m.feature == feature
                and m.statistic == statistic
                and not m.slice
                and m.against in ("training", "none")
            ):
                found.append((place, m.value))
                break
    return found


def _band(
    results: Sequence[WindowResult], metric: str
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    low, high = [], []
    for place, result in enumerate(results):
        for m in result.measures:
            if m.statistic == f"estimated_{metric}" and not m.slice and m.low is not None:
                low.append((place, m.low))
                high.append((place, m.high))
    return low, high


def _said(result: WindowResult, feature: str) -> str:
    return next((f.words for f in result.findings if f.feature == feature), "")


def _distributions(feature: str, reference: WindowSummary, summary: WindowSummary) -> Markup:
    before, now = reference.features.get(feature), summary.features.get(feature)
    if before is None or now is None or not before.rows or not now.rows:
        return Markup("")
    return charts.overlay(
        *shares(before, now), f"{feature}: reference and window", sides=("reference", "window")
    )


def shares(before: Counts, now: Counts) -> tuple[list[str], list[float], list[float]]:
    """Names of the cells, and both sides' shares of them; the commonest values of a category."""
    if isinstance(before, Numbers) and isinstance(now, Numbers):
        names = [*drift.bin_labels(before.cells.coarse_edges), drift.MISSING]
        sides = [(*c.binned().counts, c.missing) for c in (before, now)]
    else:
        names = [*before.cells.names[:_VALUES], drift.OTHER, drift.MISSING]
        sides = [
            (*c.counts[:_VALUES], c.counts[_VALUES:].sum() + c.other, c.missing)
            for c in (before, now)
        ]
    p, q = (np.asarray(side, float) / max(float(np.sum(side)), 1.0) for side in sides)
    return names, p.tolist(), q.tolist()


def _render(template: str, **content: Any) -> str:
    light, dark, script = (
        (_HERE / name).read_text("utf-8") for name in ("style.css", "dark.css", "theme.js")
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(short=words.short, percent=words.percent, count=words.count)
    html = environment.get_template(template).render(
        policy=page.policy(styles=(light, dark), script=script),
        light=Markup(light),
        dark=Markup(dark),
        script=Markup(script),
        **content,
    )
    return words.printable(html)
