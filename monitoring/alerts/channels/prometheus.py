"""Incidents as metrics, one group or file per incident, so that no state is needed here.

    flywheel_incident_open{incident="…", severity="warning", title="…"} 1
    flywheel_incident_changed_timestamp_seconds{incident="…"} 1.7e9

A resolved incident leaves the Pushgateway; its file stays with the value 0, as a metric that
vanishes is read as "unknown".
"""

from __future__ import annotations

import datetime
import hashlib
import pathlib
import urllib.error

from monitoring.alerts.channels.errors import Undelivered
from monitoring.alerts.message import Message
from monitoring.alerts.options import PrometheusChannel

JOB = "flywheel"


def deliver(message: Message, options: PrometheusChannel) -> None:
    from prometheus_client import (
        CollectorRegistry,
        Gauge,
        delete_from_gateway,
        push_to_gateway,
        write_to_textfile,
    )

    key = message.key or message.id
    registry = CollectorRegistry()
    is_open = Gauge(
        "flywheel_incident_open",
        "Whether a monitoring incident is open.",
        ["incident", "severity", "title"],
        registry=registry,
    )
    is_open.labels(key, message.severity, message.title).set(message.status == "firing")
    changed = Gauge(
        "flywheel_incident_changed_timestamp_seconds",
        "When the last message about the incident was made.",
        ["incident"],
        registry=registry,
    )
    changed.labels(key).set(datetime.datetime.fromisoformat(message.time).timestamp())
    try:
        if options.folder is not None:
            folder = pathlib.Path(options.folder)
            folder.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(key.encode()).hexdigest()[:16]
            write_to_textfile(str(folder / f"{JOB}_{name}.prom"), registry)
            return
        group = {"incident": key}
        where = {"job": JOB, "grouping_key": group, "timeout": options.timeout_seconds}
        if message.status == "resolved":
            delete_from_gateway(options.gateway, **where)
        else:
            push_to_gateway(options.gateway, registry=registry, **where)
    except urllib.error.HTTPError as error:
        raise Undelivered(f"answered {error.code}", temporary=error.code >= 500) from None
    except OSError as error:
        raise Undelivered(f"no answer ({type(error).__name__})", temporary=True) from None
