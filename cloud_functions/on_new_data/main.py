"""New data arrived: when it is all there, a run is started."""

from __future__ import annotations

from typing import Any

import flask
import functions_framework

from cloud_functions import drops, endpoint, retrain
from cloud_functions.events import StoredObject
from cloud_functions.submit import Job, job_id


def handle(call: endpoint.Call[StoredObject]) -> dict[str, Any]:
    """One finished object."""
    automation, name = call.settings.automation, call.payload.name
    bucket = drops.open_bucket(call.payload.bucket, automation.inbox)
    drop = drops.find(bucket, name, automation.data, call.now)
    if isinstance(drop, str):
        return {"state": "ignored", "object": name, "message": drop}
    job = Job(
        job_id(call.settings.name, drop.address, drop.fingerprint),
        call.settings.name,
        drop.address if automation.data.use == "drop" else None,
        f"New data: {drop.files} files, {drop.bytes:,} bytes in {drop.address}.",
    )
    return retrain.start(call.settings, call.ledger, job, "data")


@functions_framework.http
def on_new_data(request: flask.Request) -> flask.Response:
    """`google.cloud.storage.object.v1.finalized`, or plain JSON with bucket, name and size."""
    return endpoint.serve("on_new_data", StoredObject, handle, request)
