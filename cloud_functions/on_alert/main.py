"""An alert: people are told, and by policy a new model is asked for."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework

from cloud_functions import endpoint, retrain
from cloud_functions.events import Alert
from cloud_functions.submit import Job, job_id
from monitoring.alerts.channels import send
from monitoring.alerts.message import Message, rank


class Unfinished(Exception):
    """A channel did not take the message, or no run could be started."""


def handle(call: endpoint.Call[Alert]) -> dict[str, Any]:
    """One alert. Neither a backend that is down holds up the telling, nor a channel the run."""
    alert = call.payload
    problems = []
    if _wants_retrain(call) and "retrain" not in call.claim.progress:
        job = Job(
            job_id(call.settings.name, "alert", alert.message.id),
            call.settings.name,
            None,
            f"Alert: {alert.message.title}",
        )
        try:
            call.claim.note(retrain=retrain.start(call.settings, call.ledger, job, "alert"))
        except Exception as error:  # told all the same; the delivery fails and comes again
            problems.append(f"no run could be started: {error}")
    told = set(call.claim.progress.get("told", ()))
    channels = [c for c in call.settings.alerts.targets if c.title not in told]
    deliveries = send(Message.from_dict(alert.message.model_dump()), channels)
    told.update(d.channel for d in deliveries if d.state != "failed")
    call.claim.note(told=sorted(told))
    problems += [f"not told over {d.channel}: {d.error}" for d in deliveries if d.state == "failed"]
    if problems:
        raise Unfinished("; ".join(problems))
    result = {"state": "told", "channels": sorted(told)}
    if "retrain" in call.claim.progress:
        result["retrain"] = call.claim.progress["retrain"]
    return result


def _wants_retrain(call: endpoint.Call[Alert]) -> bool:
    policy, alert = call.settings.alerts.retrain, call.payload
    return (
        alert.kind in policy.kinds
        and alert.message.status == "firing"
        and rank(alert.message.severity) >= rank(policy.severity)
    )


@functions_framework.http
def on_alert(request: flask.Request) -> flask.Response:
    """A Pub/Sub push with an `Alert`."""
    return endpoint.serve("on_alert", Alert, handle, request)
