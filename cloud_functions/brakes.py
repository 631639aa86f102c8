"""What keeps drift, retrain, drift from spinning: one run at a time, a pause, a daily cap.

Per model one document in the ledger:

  in_flight   the run that has not said how it ended: job, since, why
  starts      the runs of the last days: job, at, why
  ended       the last ones that ended: job, at, state
  overrides   every time a person went past a brake: who, why, at, which brake
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Literal

from cloud_functions.ledger import Document, Ledger
from cloud_functions.options import BrakeOptions

PREFIX = "brakes/"
_DAY = datetime.timedelta(days=1)
_KEPT = 50

Asker = Literal["alert", "data", "person"]


@dataclasses.dataclass(frozen=True)
class Override:
    """A person's word that a run starts all the same.

    Attributes:
      who: Their name or account.
      why: For the log.
    """

    who: str
    why: str


@dataclasses.dataclass(frozen=True)
class Decision:
    """Whether a run may start.

    Attributes:
      state: `granted`; `known` when this very job was started before and ended; `refused`.
      code: Of the brake: IN_FLIGHT, COOLDOWN, DAILY_CAP.
      message: One sentence.
      retry_seconds: When to ask again.
      in_flight: The job that stands in the way.
    """

    state: Literal["granted", "known", "refused"]
    code: str = ""
    message: str = ""
    retry_seconds: float = 0.0
    in_flight: str = ""


def ask(
    ledger: Ledger,
    model: str,
    job: str,
    *,
    asker: Asker,
    why: str,
    options: BrakeOptions,
    now: datetime.datetime,
    override: Override | None = None,
) -> Decision:
    """Asks for a run, and notes it as started when it may.

    The same job may ask again while it is in flight, and is granted: who asks may have died
    between the answer and the start.

    Args:
      asker: An `alert` waits for the cooldown; `data` that arrived, and a `person`, do not.
    """

    def change(found: Document | None) -> tuple[Document | None, Decision]:
        state = _fresh(found, now)
        flying = state["in_flight"]
        if flying and flying["job"] == job:
            return None, Decision("granted")
        if any(start["job"] == job for start in state["starts"]):
            return None, Decision("known", message=f"Job {job} was started before.")
        refusal = _refusal(state, asker, options, now)
        if refusal and override is None:
            return None, refusal
        if refusal and override:
            entry = {**dataclasses.asdict(override), "at": now.isoformat(), "brake": refusal.code}
            state["overrides"] = [*state["overrides"], {**entry, "job": job}][-_KEPT:]
        start = {"job": job, "at": now.isoformat(), "why": why, "asker": asker}
        state["in_flight"] = {"job": job, "since": now.isoformat(), "why": why}
        state["starts"] = [*state["starts"], start][-_KEPT:]
        return state, Decision("granted")

    return ledger.update(PREFIX + model, change)


def finish(ledger: Ledger, model: str, job: str, state: str, now: datetime.datetime) -> bool:
    """Notes how a run ended, which lets the next one start.

    Returns:
      Whether this was news: False for a job that had ended before.
    """

    def change(found: Document | None) -> tuple[Document | None, bool]:
        doc = _fresh(found, now)
        if any(end["job"] == job for end in doc["ended"]):
            return None, False
        if doc["in_flight"] and doc["in_flight"]["job"] == job:
            doc["in_flight"] = None
        end = {"job": job, "at": now.isoformat(), "state": state}
        doc["ended"] = [*doc["ended"], end][-_KEPT:]
        return doc, True

    return ledger.update(PREFIX + model, change)


def status(ledger: Ledger, model: str) -> Document:
    """The document of a model."""
    return _fresh(ledger.read(PREFIX + model), datetime.datetime.now(datetime.timezone.utc))


def _fresh(found: Document | None, now: datetime.datetime) -> Document:
    doc = {"in_flight": None, "starts": [], "ended": [], "overrides": [], **(found or {})}
    oldest = (now - 30 * _DAY).isoformat()
    doc["starts"] = [start for start in doc["starts"] if start["at"] > oldest]
    return doc


def _refusal(
    doc: Document, asker: Asker, options: BrakeOptions, now: datetime.datetime
) -> Decision | None:
    flying = doc["in_flight"]
    if flying:
        lost = _time(flying["since"]) + datetime.timedelta(hours=options.in_flight_hours)
        if now < lost:
            message = f"Run {flying['job']} is in flight since {flying['since']}."
            return Decision("refused", "IN_FLIGHT", message, 30.0, flying["job"])
    times = sorted(_time(start["at"]) for start in doc["starts"])
    recent = [time for time in times if now - time < _DAY]
    if len(recent) >= options.daily_cap:
        wait = (recent[0] + _DAY - now).total_seconds() if recent else _DAY.total_seconds()
        message = f"{len(recent)} runs started within 24 hours; the cap is {options.daily_cap}."
        return Decision("refused", "DAILY_CAP", message, wait)
    if times and asker == "alert":
        free = times[-1] + datetime.timedelta(minutes=options.cooldown_minutes)
        if now < free:
            message = f"The last run started {times[-1].isoformat(timespec='seconds')}; alerts "
            message += f"start none within {options.cooldown_minutes:g} minutes of it."
            return Decision("refused", "COOLDOWN", message, (free - now).total_seconds())
    return None


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
