"""What the monitor knows, and what people do about it."""

from __future__ import annotations

from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Query
from pydantic import Field

from control_center import overview, scorecard, trail, watching
from control_center.access import CenterOf, Operator, Viewer
from control_center.api.errors import RESPONSES
from models.errors import FlywheelError

router = APIRouter(prefix="/api", tags=["monitoring"], responses=RESPONSES)
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Word(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    text: str = Field("", max_length=2000, description="For colleagues.")


class Said(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=2000)


class Silence(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    hours: float = Field(24.0, gt=0, le=24 * 90)
    text: str = Field("", max_length=2000)


@router.get("/overview")
def show_overview(center: CenterOf, user: Viewer) -> dict[str, Any]:
    """The state of every part of the wheel, and what needs attention first."""
    return overview.overview(center)


@router.get("/why")
def why(
    center: CenterOf, user: Viewer, version: Annotated[str | None, Query(max_length=64)] = None
) -> dict[str, Any]:
    """Why a version serves: from its data to the pointer and what followed."""
    return trail.trail(center, version)


@router.get("/scorecard")
def show_scorecard(center: CenterOf, user: Viewer) -> dict[str, Any]:
    """The ML Test Score, with the evidence for every point."""
    return scorecard.scorecard(center)


@router.get("/monitoring/windows")
def windows(
    center: CenterOf, user: Viewer, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> list[dict[str, Any]]:
    """Windows, oldest first."""
    return watching.windows(center, limit)


@router.get("/monitoring/windows/{window_id}")
def window(window_id: str, center: CenterOf, user: Viewer) -> dict[str, Any]:
    """Measures and findings of one window."""
    return {
        "measures": watching.measures(center, [window_id]),
        "findings": watching.findings(center, [window_id]).get(window_id, []),
    }


@router.get("/monitoring/incidents")
def incidents(center: CenterOf, user: Viewer) -> list[dict[str, Any]]:
    """Incidents, those that still matter first."""
    return watching.incidents(center) or []


@router.post("/monitoring/incidents/{number}/acknowledge")
def acknowledge(number: Number, word: Word, center: CenterOf, user: Operator) -> dict[str, Any]:
    """Somebody is at it: no reminders, no escalation."""
    return _change(center, user, "acknowledge", number, user.name, word.text)


@router.post("/monitoring/incidents/{number}/silence")
def silence(number: Number, wish: Silence, center: CenterOf, user: Operator) -> dict[str, Any]:
    """Nothing is said about it for so many hours."""
    return _change(center, user, "silence", number, wish.hours, user.name, wish.text)


@router.post("/monitoring/incidents/{number}/comment")
def comment(number: Number, said: Said, center: CenterOf, user: Operator) -> dict[str, Any]:
    """Adds a remark."""
    return _change(center, user, "comment", number, said.text, user.name)


def _change(
    center: CenterOf, user: Operator, what: str, number: int, *arguments: Any
) -> dict[str, Any]:
    try:
        changed = getattr(watching.incidents_of(center), what)(str(number), *arguments)
    except FlywheelError as error:
        center.audit.write(user.name, f"alerts.{what}", error.reason.code, incident=number)
        raise
    center.audit.write(user.name, f"alerts.{what}", incident=number)
    return watching.as_dict(changed)
