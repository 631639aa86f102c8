"""The monitor's store as pages need it: windows, measures, findings, incidents; pictures of them.

Looking writes nothing: a SQLite store that is not there yet is not made.
"""

from __future__ import annotations

import datetime
import pathlib
import threading
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from markupsafe import Markup

from control_center import distributions
from control_center.center import Center
from models.errors import ConfigError
from monitoring.alerts.incidents import Incidents
from monitoring.measure import LABEL, PREDICTION, WINDOW
from monitoring.store import Store
from monitoring.store.incidents import Incident
from monitoring.store.windows import FindingRow, MeasureRow, Window
from pipeline.report import charts, words

MOST_WINDOWS = 120
#: As in `pipeline/monitoring_run.py`, which imports what measures; looking does not need that.
STORE_FILE = "monitoring.sqlite"
_COLUMNS = (
    "window_id", "feature", "statistic", "family", "against", "value", "low", "high", "n", "words",
    "unreliable",
)  # fmt: skip
_DISTANCES = ("psi", "ks", "jsd")
_MOST_DRAWN = 12
_stores: dict[str, Store] = {}
_drawn: dict[tuple[Any, ...], dict[str, Any]] = {}
_lock = threading.Lock()


def store_of(center: Center) -> Store | None:
    """The monitor's store; None while nothing has been looked at."""
    if center.problem:
        return None
    default = f"sqlite:///{center.root.resolve() / STORE_FILE}"
    url = center.config.monitoring.store or default
    if url.startswith("sqlite:///") and not pathlib.Path(url.removeprefix("sqlite:///")).exists():
        return None
    with _lock:
        if url not in _stores:
            _stores[url] = Store(url)
        return _stores[url]


def incidents_of(center: Center) -> Incidents:
    """Incidents, to be changed.

    Raises:
      ConfigError: NO_STORE.
    """
    store = store_of(center)
    if store is None:
        raise ConfigError(
            "NO_STORE", "Nothing has been monitored yet.", next="Look with `flywheel monitor`."
        )
    return Incidents(store, center.config.alerts)


def incidents(center: Center, limit: int = 100) -> list[dict[str, Any]] | None:
    """Incidents, those that still matter first; None while there is no store."""
    store = store_of(center)
    if store is None:
        return None
    with store.session() as session:
        query = sa.select(Incident).order_by(Incident.seen_at.desc(), Incident.id.desc())
        found = [as_dict(i) for i in session.scalars(query.limit(limit))]
    order = {"open": 0, "acknowledged": 1, "silenced": 2, "resolved": 3}
    return sorted(found, key=lambda i: order.get(i["state"], 4))


def as_dict(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "key": incident.key,
        "kind": incident.kind,
        "severity": incident.severity,
        "state": incident.state,
        "title": incident.title,
        "features": list(incident.features),
        "findings": list(incident.findings),
        "windows": incident.windows,
        "first_window": incident.first_window,
        "last_window": incident.last_window,
        "opened_at": _iso(incident.opened_at),
        "seen_at": _iso(incident.seen_at),
        "resolved_at": _iso(incident.resolved_at),
        "silenced_until": _iso(incident.silenced_until),
        "comments": list(incident.comments),
    }


def windows(center: Center, limit: int = MOST_WINDOWS) -> list[dict[str, Any]]:
    """Windows of this pipeline, oldest first."""
    store = store_of(center)
    if store is None:
        return []
    with store.session() as session:
        query = (
            sa.select(Window)
            .where(Window.scope == center.config.name)
            .order_by(Window.number.desc())
            .limit(limit)
        )
        found = [
            {
                "id": w.id,
                "start": _iso(w.start),
                "end": _iso(w.end),
                "state": w.state,
                "rows": w.rows,
                "late_rows": w.late_rows,
                "versions": dict(w.versions or {}),
                "measured_at": _iso(w.measured_at),
            }
            for w in session.scalars(query)
        ]
    return found[::-1]


def newest(center: Center) -> dict[str, Any] | None:
    """The newest window that was measured, or, before that, the newest; None without any."""
    found = windows(center, 10)
    return next((w for w in reversed(found) if w["measured_at"]), found[-1] if found else None)


def measures(
    center: Center, window_ids: list[str], *features: str, statistic: str | None = None
) -> list[dict[str, Any]]:
    """Measures of whole windows (no slices).

    Args:
      center: Whose.
      window_ids: Of which windows.
      *features: Of which features; of all without any.
      statistic: Only this one, against training.
    """
    store = store_of(center)
    if store is None or not window_ids:
        return []
    columns = [getattr(MeasureRow, name) for name in _COLUMNS]
    query = sa.select(*columns).where(MeasureRow.window_id.in_(window_ids), MeasureRow.slice == "")
    if features:
        query = query.where(MeasureRow.feature.in_(features))
    if statistic is not None:
        query = query.where(MeasureRow.statistic == statistic, MeasureRow.against == "training")
    with store.session() as session:
        # `Row._mapping` costs several times what the query does.
        return [dict(zip(_COLUMNS, row, strict=True)) for row in session.execute(query)]


def findings(center: Center, window_ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Window to what was found in it."""
    store = store_of(center)
    if store is None or not window_ids:
        return {}
    query = sa.select(FindingRow).where(FindingRow.window_id.in_(window_ids))
    found: dict[str, list[dict[str, Any]]] = {}
    with store.session() as session:
        for row in session.scalars(query):
            found.setdefault(row.window_id, []).append(dict(row.content))
    return found


def page(center: Center, feature: str | None, window_id: str | None) -> dict[str, Any]:
    """Everything the page shows.

    Args:
      center: Whose monitor.
      feature: The one to look at closely; the first that drifted by default.
      window_id: The window to compare; the newest by default.
    """
    found = windows(center)
    if not found:
        return {"windows": [], "has_log": _has_log(center)}
    # What was measured is drawn once: a window that is measured again changes the key.
    state = tuple((w["id"], w["state"], w["rows"], w["measured_at"]) for w in found)
    key = (str(center.root), feature, window_id, state)
    with _lock:
        kept = _drawn.get(key)
    if kept is None:
        kept = _draw(center, found, feature, window_id)
        with _lock:
            while len(_drawn) >= _MOST_DRAWN:
                _drawn.pop(next(iter(_drawn)))
            _drawn[key] = kept
    return {**kept, "windows": found, "incidents": incidents(center) or []}


def _draw(
    center: Center, found: list[dict[str, Any]], feature: str | None, window_id: str | None
) -> dict[str, Any]:
    """What the page shows of windows that there are."""
    ids = [w["id"] for w in found]
    psi = measures(center, ids, statistic="psi")
    said = findings(center, ids)
    place = {w: i for i, w in enumerate(ids)}
    features = sorted({r["feature"] for r in psi if r["feature"][:1] != "("})
    blamed = [f["feature"] for w in reversed(ids) for f in said.get(w, [])]
    first = next((name for name in blamed if name in features), features[0] if features else None)
    chosen = feature if feature in features else first
    rows = measures(center, ids, WINDOW, PREDICTION, LABEL, *([chosen] if chosen else ()))
    measured = {r["window_id"] for r in rows} | said.keys()
    newest = next((w for w in reversed(found) if w["id"] in measured), found[-1])
    shown = next((w for w in found if w["id"] == window_id), newest)
    return {
        "findings": said,
        "count": sum(len(f) for f in said.values()),
        "newest": newest,
        "performance": _performance(rows, place, newest["id"]),
        "drift": _drift(psi, place, features, said, newest["id"]),
        "features": features,
        "chosen": chosen,
        "shown": shown,
        "series": _series(rows, place, chosen) if chosen else Markup(""),
        "distributions": distributions.of_window(center, chosen, shown) if chosen else None,
        "prediction": _lines(rows, place, PREDICTION, _DISTANCES, "prediction drift", "distance"),
        "latency": _lines(
            rows,
            place,
            WINDOW,
            ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
            "latency",
            "ms",
        ),
        "volume": charts.line_chart(
            [
                charts.Series(
                    "rows",
                    [(i, w["rows"]) for i, w in enumerate(found)],
                    "shipped",
                    marks=[(i, w["rows"], _tip(w)) for i, w in enumerate(found)],
                )
            ],
            "rows per window",
            "window",
            "rows",
        ),
        "words": _distinct(
            r["words"]
            for r in rows
            if r["window_id"] == newest["id"]
            and r["family"] == "quality"
            # of the whole window, or of a feature that something is amiss with
            and (r["feature"] == WINDOW or (r["value"] or 0.0) > 0.0)
        ),
    }


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))


def _tip(window: dict[str, Any]) -> str:
    return f"{window['start'][:16]}: {window['rows']:,} rows"


def _performance(rows: list[dict[str, Any]], place: dict[str, int], newest: str) -> dict[str, Any]:
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
    return {
        "metric": metric,
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


def _drift(
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


def _series(rows: list[dict[str, Any]], place: dict[str, int], feature: str) -> Markup:
    return _lines(rows, place, feature, _DISTANCES, feature, "distance", against="training")


def _lines(
    rows: list[dict[str, Any]],
    place: dict[str, int],
    feature: str,
    statistics: tuple[str, ...],
    label: str,
    axis: str,
    against: str | None = None,
) -> Markup:
    kinds = ("shipped", "teacher", "champion")
    lines = []
    for statistic, kind in zip(statistics, kinds, strict=False):
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
            lines.append(
                charts.Series(
                    statistic,
                    [(x, y) for x, y, _ in points],
                    kind,
                    marks=[(x, y, f"{statistic}: {text}") for x, y, text in points],
                )
            )
    if not lines:
        return Markup("")
    return charts.line_chart(lines, f"{label} by window", "window", axis)


def _has_log(center: Center) -> bool:
    return not center.problem and any(
        distributions.log_folder(center).glob("version=*/*/*.parquet")
    )


def _iso(moment: datetime.datetime | None) -> str | None:
    return moment.isoformat() if moment else None
