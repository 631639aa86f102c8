"""Events and what they led to; schedules."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from fastapi import APIRouter, Response
from pydantic import Field

from control_center import automating, replay
from control_center.access import CenterOf, Operator, Viewer
from control_center.api.deploy import JobStarted
from control_center.api.errors import RESPONSES
from control_center.schedules import Schedules
from models.errors import FlywheelError

router = APIRouter(prefix="/api", tags=["automation"], responses=RESPONSES)


class NewSchedule(pydantic.BaseModel):
    """When, and what."""

    model_config = pydantic.ConfigDict(extra="forbid")

    cron: str = Field(max_length=100, description="Five fields, UTC: `30 4 * * mon`.")
    what: Literal["run", "monitor"] = "run"


class Pause(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    paused: bool


@router.get("/automation")
def automation(center: CenterOf, user: Viewer) -> dict[str, Any]:
    """Events received, brakes, dead letters, schedules."""
    return {"ledger": automating.state(center), "schedules": Schedules(center).list()}


@router.post("/automation/dead/{function}/{letter}/replay", status_code=202)
def replay_letter(function: str, letter: str, center: CenterOf, user: Operator) -> JobStarted:
    """Has a dead letter handled again, by its function, with the config as it is now."""
    about = {"function": function, "letter": letter}
    try:
        job_id = replay.start(center, function, letter, user.name)
    except FlywheelError as error:
        center.audit.write(user.name, "automation.replay", error.reason.code, **about)
        raise
    center.audit.write(user.name, "automation.replay", job_id=job_id, **about)
    return JobStarted(job_id=job_id)


@router.post("/schedules", status_code=201)
def create_schedule(wish: NewSchedule, center: CenterOf, user: Operator) -> dict[str, Any]:
    """Starts runs, or looks of the monitor, at set times while the control center is open."""
    try:
        _ = center.config
        made = Schedules(center).create(wish.cron, wish.what, user.name)
    except FlywheelError as error:
        center.audit.write(user.name, "schedule.create", error.reason.code, cron=wish.cron)
        raise
    center.audit.write(user.name, "schedule.create", id=made["id"], cron=wish.cron, what=wish.what)
    return made


@router.post("/schedules/{schedule_id}/pause")
def pause_schedule(
    schedule_id: str, wish: Pause, center: CenterOf, user: Operator
) -> dict[str, Any]:
    """Pauses or resumes a schedule."""
    changed = Schedules(center).change(schedule_id, paused=wish.paused)
    center.audit.write(user.name, "schedule.pause", id=schedule_id, paused=wish.paused)
    return changed


@router.delete("/schedules/{schedule_id}", status_code=204, response_class=Response)
def delete_schedule(schedule_id: str, center: CenterOf, user: Operator) -> Response:
    """Removes a schedule."""
    Schedules(center).delete(schedule_id)
    center.audit.write(user.name, "schedule.delete", id=schedule_id)
    return Response(status_code=204)
