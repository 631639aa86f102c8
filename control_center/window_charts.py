"""Pictures of windows over time: performance, drift, distances, latency, volume."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from monitoring.measure import LABEL, PREDICTION
from pipeline.report import charts, words

DISTANCES = ("psi", "ks", "jsd")
_NAMES = {
    "psi": "PSI", "ks": "KS", "jsd": "JSD",
    "latency_p50_ms": "p50", "latency_p95_ms": "p95", "latency_p99_ms": "p99",
}  # fmt: skip


def volume(windows: list[dict[str, Any]]) -> Markup:
    """Rows per window."""
    line = charts.Series(
        "rows",
        [(i, w["rows"]) for i, w in enumerate(windows)],
        "shipped",
        marks=[(i, w["rows"], _tip(w)) for i, w in enumerate(windows)],
    )
    return charts.line_chart([line], "rows per window", "window", "rows")


def _tip(window: dict[str, Any]) -> str:
    return f"{window['start'][:16]}: {window['rows']:,} rows"


def performance(rows: list[dict[str, Any]], place: dict[str, int], newest: str) -> dict[str, Any]:
    """Realised and estimated, in one plot; with their bands in the table."""
    names = {r["statistic"] for r in rows if r["family"] in ("performance", "estimate")}
    metric = next(
        (m for m in ("auc", "accuracy", "r2", "rmse") if m in names or f"estimated_{m}" in names),
        None,
    )
    if metric is None:
        return {}
    lines = []
    for statistic, kind, shape in (
        (metric, "shipped", "circle"),
        (f"estimated_{metric}", "teacher", "square"),
    ):
        points = [
            (place[r["window_id"]], r["value"], r)
            for r in rows
            if r["statistic"] == statistic
            and r["feature"] == PREDICTION
            and r["value"] is not None
            and r["family"] in ("performance", "estimate")
        ]
        points.sort(key=lambda p: p[0])
        if points:
            lines.append(
                charts.Series(
                    statistic,
                    [(x, y) for x, y, _ in points],
                    kind,
                    shape,
                    [(x, y, r["words"]) for x, y, r in points],
                )
            )
    drawn = {line.name for line in lines}
    return {
        "metric": metric,
        "realised": metric in drawn,
        "estimated": f"estimated_{metric}" in drawn,
        "picture": charts.line_chart(
            lines,
            f"{metric} by window: realised and estimated",
            "window",
            words.metric_name(metric),
        ),
        "now": [
            r
            for r in rows
            if r["window_id"] == newest
            and (r["statistic"] in (metric, f"estimated_{metric}") or r["feature"] == LABEL)
        ],
    }


def drift(
    rows: list[dict[str, Any]],
    place: dict[str, int],
    features: list[str],
    said: dict[str, list[dict[str, Any]]],
    newest: str,
) -> list[dict[str, Any]]:
    """One row per feature: PSI against training through time, and what was found last."""
    series: dict[str, dict[int, float]] = {}
    for r in rows:
        if r["value"] is not None:
            series.setdefault(r["feature"], {})[place[r["window_id"]]] = r["value"]
    table = []
    for name in features:
        values = series.get(name, {})
        found = [f for f in said.get(newest, []) if f["feature"] == name]
        points = [values.get(i, 0.0) for i in range(place[newest] + 1)][-40:]
        table.append(
            {
                "name": name,
                "value": values.get(place[newest]),
                "picture": charts.columns(points, [], f"PSI of {name} by window", gap=1),
                "finding": found[0] if found else None,
            }
        )
    return sorted(table, key=lambda r: (r["finding"] is None, -(r["value"] or 0.0)))


def distances(
    rows: list[dict[str, Any]], place: dict[str, int], feature: str
) -> dict[str, Any] | None:
    """How far a feature is from training."""
    return lines(rows, place, feature, DISTANCES, feature, "distance", against="training")


def lines(
    rows: list[dict[str, Any]],
    place: dict[str, int],
    feature: str,
    statistics: tuple[str, ...],
    label: str,
    axis: str,
    against: str | None = None,
) -> dict[str, Any] | None:
    """A picture and its legend; None where nothing of it was measured."""
    kinds = (("shipped", "circle"), ("teacher", "square"), ("champion", "diamond"))
    found = []
    for statistic, (kind, shape) in zip(statistics, kinds, strict=False):
        points = sorted(
            (place[r["window_id"]], r["value"], r["words"])
            for r in rows
            if r["feature"] == feature
            and r["statistic"] == statistic
            and r["value"] is not None
            and (against is None or r["against"] == against)
            and (r["against"] in ("training", "none"))
        )
        if points:
            found.append(
                charts.Series(
                    statistic,
                    [(x, y) for x, y, _ in points],
                    kind,
                    shape,
                    [(x, y, f"{statistic}: {text}") for x, y, text in points],
                )
            )
    if not found:
        return None
    return {
        "picture": charts.line_chart(found, f"{label} by window", "window", axis),
        "legend": [(_NAMES.get(one.name, one.name), one.class_, one.shape) for one in found],
    }
