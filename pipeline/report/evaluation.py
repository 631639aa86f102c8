"""Evaluation on test: models side by side, slice by slice, and every limit that applied."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.report import charts, words
from pipeline.report.inputs import Inputs

#: Model to shape; the colour has the model's name.
SHAPES = {"teacher": "square", "champion": "diamond", "shipped": "circle"}
ORDER = ("shipped", "student", "teacher", "champion")
#: Models that are shown slice by slice; the float student is hardly ever told from the shipped.
JUDGES = ("shipped", "teacher", "champion")
SLICES_SHOWN = 60
MOST_CLASSES = 30
WORST_PAIRS = 20
SHADES = 6
#: Bins of the calibration plot with fewer rows are left out.
FEWEST_ROWS = 10


def section(inputs: Inputs) -> dict[str, Any]:
    """What the template needs; `{}` when nothing was evaluated."""
    verdict = inputs.files["evaluation"]
    if not verdict:
        return {}
    every = [m for m in ORDER if m in verdict["metrics"]]
    models = [m for m in JUDGES if m in every]
    return {
        "blessed": verdict["blessed"],
        "task": verdict["task"],
        "rows": verdict["rows"],
        "quality": verdict["quality"],
        "every": every,
        "models": models,
        "legend": [(charts.swatch(m, SHAPES[m]), m) for m in models],
        "line_legend": [(charts.swatch(m), m) for m in models],
        "metrics": _overall(verdict, every),
        "slices": _slices(verdict, models),
        "thresholds": [_threshold(t) for t in _ordered(verdict["thresholds"])],
        "failed": sum(1 for t in verdict["thresholds"] if not t["passed"]),
        "roc": _roc(verdict, models),
        "calibration": _calibration(verdict, models),
        "fewest_rows": FEWEST_ROWS if _has_small_bins(verdict) else None,
        "confusion": _confusion(verdict),
        "notes": [r for r in verdict.get("reasons") or [] if r.get("severity") in ("warn", "info")],
        "engine": verdict.get("engine") or {},
        "pictures": inputs.files["pictures"],
    }


def _overall(verdict: dict[str, Any], models: list[str]) -> list[dict[str, Any]]:
    """One row per metric with every model's value and the differences from the others."""
    shipped = verdict["metrics"].get("shipped") or {}
    return [
        {
            "name": name,
            "values": {m: verdict["metrics"][m].get(name) for m in models},
            "deltas": {
                m: _difference(shipped.get(name), verdict["metrics"][m].get(name))
                for m in models
                if m != "shipped"
            },
            "lower": name in words.LOWER_IS_BETTER,
            "neutral": name in words.NEUTRAL,
        }
        for name in shipped
        if name != "example_count"
    ]


def _slices(verdict: dict[str, Any], models: list[str]) -> dict[str, Any]:
    """The table of slices with one strip per row, all over one scale."""
    quality = verdict["quality"]
    overall = {
        "slice": {},
        "rows": verdict["rows"].get("evaluated"),
        "judged": True,
        "metrics": verdict["metrics"],
    }
    rows = [overall, *verdict["slices"]]
    limits: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for threshold in verdict["thresholds"]:
        if threshold["metric"] == quality:
            limits.setdefault(_key(threshold["slice"]), []).append(threshold)
    shown = rows[: SLICES_SHOWN + 1]
    scale = charts.strip_scale(
        _span(shown, limits, models, quality), 316 if len(models) < 3 else 236
    )
    return {
        "axis": charts.strip_axis(scale, f"scale of {words.metric_name(quality)}"),
        "rows": [
            _slice(row, limits.get(_key(row["slice"]), []), models, quality, scale) for row in shown
        ],
        "left": len(rows) - len(shown),
        "any": bool(verdict["slices"]),
    }


def _span(
    rows: list[dict[str, Any]],
    limits: dict[tuple[Any, ...], list[dict[str, Any]]],
    models: list[str],
    quality: str,
) -> list[float]:
    """The values that the strips must hold; a bound only where it does not squeeze the rest."""
    values = [row["metrics"].get(m, {}).get(quality) for row in rows for m in models]
    applied = [t for row in rows for t in limits.get(_key(row["slice"]), ())]
    values += [_floor(t) for t in applied if t["kind"] != "bound"]
    known = [v for v in values if words.is_number(v)]
    if not known:
        return known
    low, high = min(known), max(known)
    bounds = [t["limit"] for t in applied if t["kind"] == "bound"]
    return known + [b for b in bounds if max(high, b) - min(low, b) <= 2 * (high - low)]


def _slice(
    row: dict[str, Any],
    limits: list[dict[str, Any]],
    models: list[str],
    quality: str,
    scale: Any,
) -> dict[str, Any]:
    name = words.slice_name(row["slice"])
    values = {m: row["metrics"].get(m, {}).get(quality) for m in models}
    failed = [t for t in limits if not t["passed"]]
    marks = [
        (
            values[m],
            m + (" bad" if m == "shipped" and failed else ""),
            SHAPES[m],
            f"{m}: {words.metric_name(quality)} {words.metric(values[m])}",
        )
        for m in SHAPES
        if m in models
    ]
    ticks = [
        (_floor(t), t["kind"], f"{_limit_words(t)}: {words.metric(_floor(t))}")
        for t in limits
        if words.is_number(_floor(t))
    ]
    spoken = ", ".join(f"{m} {words.metric(values[m])}" for m in models)
    return {
        "name": name,
        "overall": not row["slice"],
        "rows": row["rows"],
        "judged": row["judged"],
        "values": values,
        "deltas": {
            m: _difference(values.get("shipped"), values[m]) for m in models if m != "shipped"
        },
        "failed": [t["kind"] for t in failed],
        "strip": charts.strip(scale, marks, ticks, f"{words.short(name, 60)}: {spoken}"),
    }


def _ordered(thresholds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Failed ones first, else as they were made."""
    return sorted(thresholds, key=lambda t: t["passed"])


def _threshold(threshold: dict[str, Any]) -> dict[str, Any]:
    return {
        "metric": threshold["metric"],
        "kind": threshold["kind"],
        "what": _limit_words(threshold),
        "slice": words.slice_name(threshold["slice"]),
        "limit": threshold["limit"],
        "value": threshold["value"],
        "reference": threshold.get("reference"),
        "chance": threshold.get("chance"),
        "passed": threshold["passed"],
        "upper": threshold["metric"] in words.LOWER_IS_BETTER,
    }


def _limit_words(threshold: dict[str, Any]) -> str:
    if threshold["kind"] == "bound":
        return "at most" if threshold["metric"] in words.LOWER_IS_BETTER else "at least"
    return f"change against the {threshold['kind']}, at least"


def _floor(threshold: dict[str, Any]) -> float | None:
    """The limit as a value of the metric itself."""
    if threshold["kind"] == "bound":
        return threshold["limit"]
    reference = threshold.get("reference")
    return reference + threshold["limit"] if words.is_number(reference) else None


def _roc(verdict: dict[str, Any], models: list[str]) -> Markup:
    series = []
    for model in reversed(models):
        points = (verdict["plots"].get(model) or {}).get("roc") or []
        marks = []
        if model == "shipped" and points:
            near = min(points, key=lambda p: abs(p["threshold"] - 0.5))
            marks.append(
                (
                    near["fpr"],
                    near["tpr"],
                    f"threshold {near['threshold']:.2f}: true positives "
                    f"{words.percent(near['tpr'])}, false positives {words.percent(near['fpr'])}",
                )
            )
        series.append(
            charts.Series(
                model, [(p["fpr"], p["tpr"]) for p in points], model, SHAPES[model], marks
            )
        )
    if not any(s.points for s in series):
        return Markup("")
    return charts.line_chart(
        series,
        "ROC curve of " + ", ".join(models),
        "false positive rate",
        "true positive rate",
        square=(0.0, 1.0),
        diagonal=True,
    )


def _calibration(verdict: dict[str, Any], models: list[str]) -> Markup:
    """Mean prediction against what really happened, in bins of predictions."""
    series, ends = [], []
    for model in reversed(models):
        bins = _full_bins((verdict["plots"].get(model) or {}).get("calibration") or [])
        points = [(b["predicted"], b["actual"]) for b in bins]
        ends += [v for point in points for v in point if words.is_number(v)]
        marks = [
            (
                b["predicted"],
                b["actual"],
                f"{words.count(b['rows'])} rows: predicted {words.metric(b['predicted'])}, "
                f"actual {words.metric(b['actual'])}",
            )
            for b in bins
            if model == "shipped"
        ]
        series.append(charts.Series(model, points, model, SHAPES[model], marks))
    if not ends:
        return Markup("")
    binary = verdict["task"] == "binary"
    low, high = (0.0, 1.0) if binary else (min(ends), max(ends))
    if high <= low:
        return Markup("")
    return charts.line_chart(
        series,
        "Calibration: mean prediction against mean label, " + ", ".join(models),
        "mean prediction" if not binary else "predicted probability",
        "mean label" if not binary else "share of positives",
        square=(low, high),
        diagonal=True,
    )


def _full_bins(bins: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without bins of a handful of rows, whose share of positives says nothing."""
    full = [b for b in bins if b["rows"] >= FEWEST_ROWS]
    return full if len(full) >= 3 else bins


def _has_small_bins(verdict: dict[str, Any]) -> bool:
    """Whether the calibration plot leaves bins out."""
    found = (plots.get("calibration") or [] for plots in verdict["plots"].values())
    return any(len(_full_bins(bins)) < len(bins) for bins in found)


def _confusion(verdict: dict[str, Any]) -> dict[str, Any]:
    """The shipped model's confusion matrix; with many classes, its most frequent mistakes."""
    found = (verdict["plots"].get("shipped") or {}).get("confusion")
    if not found:
        return {}
    classes, matrix = [str(c) for c in found["classes"]], found["matrix"]
    sums = [sum(row) for row in matrix]
    mistakes = sorted(
        (
            {"actual": classes[i], "predicted": classes[j], "rows": n, "share": n / sums[i]}
            for i, row in enumerate(matrix)
            for j, n in enumerate(row)
            if i != j and n > 0
        ),
        key=lambda m: -m["rows"],
    )
    return {
        "threshold": found.get("threshold"),
        "classes": classes,
        "small": len(classes) <= MOST_CLASSES,
        "rows": [
            {
                "actual": classes[i],
                "sum": sums[i],
                "cells": [
                    {
                        "rows": n,
                        "share": n / sums[i] if sums[i] else None,
                        "shade": _shade(n / sums[i] if sums[i] else 0.0),
                        "right": i == j,
                    }
                    for j, n in enumerate(row)
                ],
            }
            for i, row in enumerate(matrix)
        ],
        "mistakes": mistakes[:WORST_PAIRS],
    }


def _shade(share: float) -> int:
    return 0 if share <= 0 else 1 + min(int(share * SHADES), SHADES - 1)


def _difference(value: float | None, other: float | None) -> float | None:
    return value - other if words.is_number(value) and words.is_number(other) else None


def _key(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple((column, str(value)) for column, value in values.items())
