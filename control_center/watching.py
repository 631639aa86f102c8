"""The monitor's store as pages need it: windows, measures, findings, incidents; pictures of them.

Looking writes nothing: a SQLite store that is not there yet is not made.
"""

from __future__ import annotations

import datetime
import pathlib
import threading
from typing import Any

import numpy as np
import sqlalchemy as sa
from markupsafe import Markup

from control_center.center import Center
from models.errors import ConfigError
from monitoring import prediction_log, summaries
from monitoring.alerts.incidents import Incidents
from monitoring.measure import LABEL, PREDICTION, WINDOW
from monitoring.store import Store
from monitoring.store.incidents import Incident
from monitoring.store.windows import FindingRow, MeasureRow, Window
from pipeline.report import charts, words

MOST_WINDOWS = 120
#: As in `pipeline/monitoring_run.py`, which imports what measures; looking does not need that.
STORE_FILE = "monitoring.sqlite"
_MOST_ROWS = 50_000
_TOP = 12
_DISTANCES = ("psi", "ks", "jsd")
_stores: dict[str, Store] = {}
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


def measures(
    center: Center, window_ids: list[str], feature: str | None = None
) -> list[dict[str, Any]]:
    """Measures of whole windows (no slices), of one feature or all."""
    store = store_of(center)
    if store is None or not window_ids:
        return []
    query = sa.select(
        MeasureRow.window_id,
        MeasureRow.feature,
        MeasureRow.statistic,
        MeasureRow.family,
        MeasureRow.against,
        MeasureRow.value,
        MeasureRow.low,
        MeasureRow.high,
        MeasureRow.n,
        MeasureRow.words,
        MeasureRow.unreliable,
    ).where(MeasureRow.window_id.in_(window_ids), MeasureRow.slice == "")
    if feature is not None:
        query = query.where(MeasureRow.feature == feature)
    with store.session() as session:
        return [dict(row._mapping) for row in session.execute(query)]


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
    ids = [w["id"] for w in found]
    rows = measures(center, ids)
    said = findings(center, ids)
    place = {w: i for i, w in enumerate(ids)}
    features = sorted(
        {r["feature"] for r in rows if r["family"] == "distance" and r["feature"][:1] != "("}
    )
    blamed = [f["feature"] for w in reversed(ids) for f in said.get(w, [])]
    first = next((name for name in blamed if name in features), features[0] if features else None)
    chosen = feature if feature in features else first
    shown = next((w for w in found if w["id"] == window_id), found[-1])
    return {
        "windows": found,
        "findings": said,
        "count": sum(len(f) for f in said.values()),
        "incidents": incidents(center) or [],
        "performance": _performance(rows, place),
        "drift": _drift(rows, place, features, said),
        "features": features,
        "chosen": chosen,
        "shown": shown,
        "series": _series(rows, place, chosen) if chosen else Markup(""),
        "distributions": distributions(center, chosen, shown) if chosen else None,
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
        "words": [
            r["words"] for r in rows if r["window_id"] == ids[-1] and r["family"] == "quality"
        ],
    }


def _tip(window: dict[str, Any]) -> str:
    return f"{window['start'][:16]}: {window['rows']:,} rows"


def _performance(rows: list[dict[str, Any]], place: dict[str, int]) -> dict[str, Any]:
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
    newest = max(place.values())
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
            if place[r["window_id"]] == newest
            and (r["statistic"] in (metric, f"estimated_{metric}") or r["feature"] == LABEL)
        ],
    }


def _drift(
    rows: list[dict[str, Any]],
    place: dict[str, int],
    features: list[str],
    said: dict[str, list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """One row per feature: PSI against training through time, and what was found last."""
    newest = max(place, key=place.get)
    table = []
    for name in features:
        values: dict[int, float] = {
            place[r["window_id"]]: r["value"]
            for r in rows
            if r["feature"] == name
            and r["statistic"] == "psi"
            and r["against"] == "training"
            and r["value"] is not None
        }
        found = [f for f in said.get(newest, []) if f["feature"] == name]
        points = [values.get(i, 0.0) for i in range(len(place))][-40:]
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


def distributions(center: Center, feature: str, window: dict[str, Any]) -> dict[str, Any] | None:
    """A feature's training distribution and the window's, in the same cells.

    Training: the statistics that the deployed version carries. Window: the rows of the log.
    """
    reference = _reference(center, feature, window)
    if reference is None:
        return None
    values, missing, rows = _logged(center, feature, window)
    if not rows:
        return None
    if reference.WhichOneof("stats") == "num_stats":
        edges = summaries.edges_from_statistics(reference, 12)
        before = summaries.bin_statistics(reference, edges)
        now = summaries.bin_values(np.asarray(values, np.float64), edges)
        names = _cells(edges)
        sides = [np.asarray(s.counts, float) for s in (before, now)]
    else:
        buckets = reference.string_stats.rank_histogram.buckets
        named = {b.label: float(b.sample_count) for b in buckets}
        counts: dict[str, float] = {}
        for value in values:
            counts[value] = counts.get(value, 0.0) + 1
        top = sorted(named, key=lambda n: -named[n])[:_TOP]
        fresh = sorted((n for n in counts if n not in named), key=lambda n: -counts[n])[:3]
        names = [*top, *(f"{n} (new)" for n in fresh), "others"]
        sides = []
        for side in (named, counts):
            listed = [side.get(n, 0.0) for n in (*top, *fresh)]
            sides.append(np.array([*listed, max(sum(side.values()) - sum(listed), 0.0)]))
    shares = [s / s.sum() if s.sum() else s for s in sides]
    return {
        "picture": charts.overlay(
            names,
            [float(x) for x in shares[0]],
            [float(x) for x in shares[1]],
            f"{feature}: training and window {window['start'][:16]}",
            sides=("training", "window"),
        ),
        "rows": rows,
        "missing": missing,
        "capped": rows >= _MOST_ROWS,
    }


def _cells(edges: tuple[float, ...]) -> list[str]:
    shown = [words.number(e, 3) for e in edges]
    inner = [f"{a} – {b}" for a, b in zip(shown, shown[1:], strict=False)]
    return [f"≤ {shown[0]}", *inner, f"> {shown[-1]}"] if shown else ["all"]


def _reference(center: Center, feature: str, window: dict[str, Any]) -> Any:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    served = max(window["versions"], key=window["versions"].get, default=None)
    version = served or center.registry.current()
    if version is None or version not in {v.name for v in center.registry.versions()}:
        return None
    path = center.registry.folder(version) / "statistics" / "Split-train" / "FeatureStats.pb"
    try:
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
    except OSError:
        return None
    for stats in found.datasets[0].features:
        if (stats.name or "/".join(stats.path.step)) == feature:
            return stats
    return None


def _logged(center: Center, feature: str, window: dict[str, Any]) -> tuple[list[Any], int, int]:
    """Values, missing ones, rows of the window in the log; at most 50,000 rows."""
    start, end = (datetime.datetime.fromisoformat(window[k]) for k in ("start", "end"))
    column = f"feature.{feature}"
    values: list[Any] = []
    rows = 0
    log = log_folder(center)
    for table in prediction_log.read(log, start, end + datetime.timedelta(microseconds=1)):
        if column in table.column_names:
            values += table.column(column).to_pylist()
            rows += table.num_rows
        if rows >= _MOST_ROWS:
            break
    present = [v for v in values if v is not None and v == v and v != ""]
    return present, rows - len(present), rows


def log_folder(center: Center) -> pathlib.Path:
    path = pathlib.Path(center.config.monitoring.log)
    return path if path.is_absolute() else center.folder / path


def _has_log(center: Center) -> bool:
    return not center.problem and any(log_folder(center).glob("version=*/*/*.parquet"))


def _iso(moment: datetime.datetime | None) -> str | None:
    return moment.isoformat() if moment else None
