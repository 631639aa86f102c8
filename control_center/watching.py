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

from control_center import distributions, window_charts
from control_center.center import Center
from models.errors import ConfigError
from monitoring.alerts.incidents import Incidents
from monitoring.measure import LABEL, PREDICTION, WINDOW
from monitoring.store import Store
from monitoring.store.incidents import Incident
from monitoring.store.windows import FindingRow, MeasureRow, Window

MOST_WINDOWS = 120
#: As in `pipeline/monitoring_run.py`, which imports what measures; looking does not need that.
STORE_FILE = "monitoring.sqlite"
_COLUMNS = (
    "window_id", "feature", "statistic", "family", "against", "value", "low", "high", "n", "words",
    "unreliable",
)  # fmt: skip
_MOST_DRAWN = 12
_stores: dict[str, Store] = {}
_drawn: dict[tuple[Any, ...], dict[str, Any]] = {}
_lock = threading.Lock()


def store_of(center: Center) -> Store | None:
    """The monitor's store; None while nothing has been looked at.

    Raises:
      ConfigError: UNREADABLE_STORE.
    """
    if center.problem:
        return None
    default = f"sqlite:///{center.root.resolve() / STORE_FILE}"
    url = center.config.monitoring.store or default
    if url.startswith("sqlite:///") and not pathlib.Path(url.removeprefix("sqlite:///")).exists():
        return None
    with _lock:
        if url not in _stores:
            try:
                _stores[url] = Store(url)
            except sa.exc.SQLAlchemyError as error:  # its text may hold the address, and a password
                cause = getattr(error, "orig", None) or type(error).__name__
                raise ConfigError(
                    "UNREADABLE_STORE",
                    f"The monitor's store cannot be read: {cause}.",
                    next="See `monitoring.store` in the config, and what became of that file.",
                ) from None
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
        "performance": window_charts.performance(rows, place, newest["id"]),
        "drift": window_charts.drift(psi, place, features, said, newest["id"]),
        "features": features,
        "chosen": chosen,
        "shown": shown,
        "series": window_charts.distances(rows, place, chosen) if chosen else None,
        "distributions": distributions.of_window(center, chosen, shown) if chosen else None,
        "prediction": window_charts.lines(
            rows, place, PREDICTION, window_charts.DISTANCES, "prediction drift", "distance"
        ),
        "latency": window_charts.lines(
            rows,
            place,
            WINDOW,
            ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
            "latency",
            "ms",
        ),
        "volume": window_charts.volume(found),
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


def _has_log(center: Center) -> bool:
    return not center.problem and any(
        distributions.log_folder(center).glob("version=*/*/*.parquet")
    )


def _iso(moment: datetime.datetime | None) -> str | None:
    return moment.isoformat() if moment else None
