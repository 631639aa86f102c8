"""A look at the prediction log: windows that are complete are judged, alerts are published."""

from __future__ import annotations

import datetime
from typing import Any

import flask
import functions_framework
import sqlalchemy as sa

from cloud_functions import endpoint, topics
from cloud_functions.events import CheckRequest
from models.errors import FlywheelError
from models.registry import Registry
from monitoring.alerts.incidents import Incidents, message_of
from monitoring.monitor import Monitor
from monitoring.store.incidents import Incident
from monitoring.store.store import Store


def handle(call: endpoint.Call[CheckRequest]) -> dict[str, Any]:
    """One look. What is to be told is kept with what was found, until it is published."""
    settings, model = call.settings, call.payload.model
    if model not in (None, settings.name):
        raise endpoint.Permanent("UNKNOWN_MODEL", f"This watches {settings.name}, not {model}.")
    if settings.store is None:
        raise endpoint.Permanent("NO_STORE", "The settings name no store of windows.")
    now = call.payload.now or call.now
    store = Store(settings.store)
    try:
        registry = Registry(settings.deployed)
        monitor = Monitor(registry, settings.monitoring, store, settings.name, log=settings.log)
        incidents = Incidents(store, settings.alerts)
        try:
            look = monitor.look(now)
        except FlywheelError as error:
            if error.reason.code == "MONITOR_RUNNING":
                raise endpoint.Later(10.0, str(error)) from None
            raise
        for result in look.windows:
            incidents.update(result.findings, result.window.id, now)
        published = _publish(call, store, incidents)
    finally:
        store.close()
    windows = [
        {
            "window": result.window.id,
            "rows": result.window.rows,
            "findings": [finding.words for finding in result.findings[:5]],
        }
        for result in look.windows
    ]
    return {"state": "looked", "windows": windows, "alerts": published}


def _publish(
    call: endpoint.Call[CheckRequest], store: Store, incidents: Incidents
) -> list[dict[str, Any]]:
    """Publishes what is pending; told directly where there is no topic."""
    with store.session() as session:
        waiting = list(session.scalars(sa.select(Incident).where(Incident.pending != "")))
    told = [{"key": i.key, "severity": i.severity, "title": i.title} for i in waiting]
    topic = call.settings.automation.topics.alerts
    if topic is None:
        incidents.notify()
        return told
    for incident in waiting:
        message = message_of(incident).to_dict()
        # The same when it is published twice, because the note of it was lost.
        message["id"] = f"incident-{incident.id}-{incident.pending}-{incident.last_window}"
        payload = {"model": call.settings.name, "kind": incident.kind, "message": message}
        topics.publish(topic, payload)
        with store.session() as session:
            session.execute(
                sa.update(Incident)
                .where(Incident.id == incident.id, Incident.pending == incident.pending)
                .values(pending="", told_at=datetime.datetime.now(datetime.timezone.utc))
            )
    return told


@functions_framework.http
def check_drift(request: flask.Request) -> flask.Response:
    """Cloud Scheduler, by HTTP or by way of a topic."""
    return endpoint.serve("check_drift", CheckRequest, handle, request)
