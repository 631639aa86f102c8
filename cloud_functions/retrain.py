"""From a wish for a new model to one run of it: brakes, then the backend."""

from __future__ import annotations

import dataclasses
from typing import Any

from cloud_functions import brakes
from cloud_functions.brakes import Asker, Decision, Override
from cloud_functions.endpoint import Later
from cloud_functions.ledger import Ledger, utc_now
from cloud_functions.settings import Settings
from cloud_functions.submit import Job, Submitter, submitter

_LOOKED_AT = 10


def start(
    settings: Settings,
    ledger: Ledger,
    job: Job,
    asker: Asker,
    override: Override | None = None,
) -> dict[str, Any]:
    """Asks the brakes and starts the run.

    Returns:
      `state`: `started`, `known` or `refused`; with the job, and where it is or why not.

    Raises:
      Later: data that arrived waits for the brakes; an alert comes again by itself.
    """
    backend = submitter(settings)
    decision = _ask(settings, ledger, job, asker, override)
    if decision.code == "IN_FLIGHT" and _ended(backend, ledger, job.model, decision.in_flight):
        decision = _ask(settings, ledger, job, asker, override)
    if decision.state == "refused":
        if asker == "data":
            raise Later(decision.retry_seconds, decision.message)
        return {"state": "refused", "job": job.id, **_said(decision)}
    if decision.state == "known":
        return {"state": "known", "job": job.id, **_said(decision)}
    try:
        where = backend.submit(job)
    except Exception:
        if asker == "person":  # nobody delivers it again, and it shall stand in no one's way
            brakes.finish(ledger, job.model, job.id, "not_started", utc_now())
        raise
    return {"state": "started", "job": job.id, "where": where}


def settle(settings: Settings, ledger: Ledger) -> None:
    """Notes how the last runs ended, where no word of it reached us.

    Raises:
      OSError, httpx.HTTPError: the backend cannot be asked.
    """
    found = brakes.status(ledger, settings.name)
    known = {end["job"] for end in found["ended"]}
    backend = submitter(settings)
    for start in found["starts"][-_LOOKED_AT:]:
        if start["job"] not in known:
            _ended(backend, ledger, settings.name, start["job"])


def _ended(backend: Submitter, ledger: Ledger, model: str, job: str) -> bool:
    state = backend.ended(job)
    if state is None:
        return False
    brakes.finish(ledger, model, job, state, utc_now())
    return True


def _ask(
    settings: Settings, ledger: Ledger, job: Job, asker: Asker, override: Override | None
) -> Decision:
    return brakes.ask(
        ledger,
        job.model,
        job.id,
        asker=asker,
        why=job.why,
        options=settings.automation.brakes,
        now=utc_now(),
        override=override,
    )


def _said(decision: Decision) -> dict[str, Any]:
    said = dataclasses.asdict(decision)
    return {key: said[key] for key in ("code", "message") if said[key]}
