"""A run ended: its verdict is recorded, people are told, and the next one may start."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework

from cloud_functions import brakes, endpoint
from cloud_functions.events import RunFinished
from cloud_functions.ledger import Document
from monitoring.alerts.channels import send
from monitoring.alerts.message import Message

RECORD = "run/"
_SEVERITY = {"pushed": "info", "unchanged": "info", "not_blessed": "warning"}


class Untold(Exception):
    """A channel did not take the message."""


def handle(call: endpoint.Call[RunFinished]) -> dict[str, Any]:
    """One run. The brake is let go first: a channel that is down holds up no run."""
    run = call.payload
    brakes.finish(call.ledger, run.model, run.job, run.state, call.now)

    def change(_: Document | None) -> tuple[Document, None]:
        return {**run.model_dump(mode="json"), "at": call.now.isoformat()}, None

    call.ledger.update(f"{RECORD}{run.model}/{run.job}", change)
    told = set(call.claim.progress.get("told", ()))
    channels = [c for c in call.settings.alerts.targets if c.title not in told]
    deliveries = send(message(run), channels)
    told.update(d.channel for d in deliveries if d.state != "failed")
    call.claim.note(told=sorted(told))
    failed = [delivery for delivery in deliveries if delivery.state == "failed"]
    if failed:
        said = "; ".join(f"{delivery.channel}: {delivery.error}" for delivery in failed)
        raise Untold(f"not told over {said}")
    return {"state": "recorded", "verdict": run.state, "channels": sorted(told)}


def message(run: RunFinished) -> Message:
    """What people are told of a run."""
    facts = {"model": run.model, "job": run.job, "run": run.run_id or "–"}
    if run.version:
        facts["version"] = run.version
    if run.seconds is not None:
        facts["took"] = f"{run.seconds:.0f} s"
    return Message(
        title=f"{run.model}: run {run.state.replace('_', ' ')}",
        text=" ".join(run.reasons) or "Nothing stood in the way.",
        severity=_SEVERITY.get(run.state, "critical"),
        facts=facts,
        next=f"Look at {run.report}." if run.report else "",
        key=f"run/{run.model}",
        id=f"run-{run.job}",
    )


@functions_framework.http
def on_run_finished(request: flask.Request) -> flask.Response:
    """A Pub/Sub push with a `RunFinished`."""
    return endpoint.serve("on_run_finished", RunFinished, handle, request)
