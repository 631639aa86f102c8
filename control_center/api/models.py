"""Deployed versions: list, show, verify, deploy again, the card."""

from __future__ import annotations

import dataclasses
import threading
from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from control_center import asking, card
from control_center.access import CenterOf, Operator, Viewer
from control_center.api.errors import RESPONSES
from control_center.center import Center
from models.errors import ConfigError, FlywheelError

router = APIRouter(prefix="/api/models", tags=["models"], responses=RESPONSES)
_verifying = threading.BoundedSemaphore(2)


class Verified(pydantic.BaseModel):
    """What the golden requests said."""

    version: str
    files: int
    requests: int
    largest_difference: float


class Question(pydantic.BaseModel):
    """One row: feature to value as text; empty or absent is missing."""

    model_config = pydantic.ConfigDict(extra="forbid")

    row: dict[str, Annotated[str, pydantic.Field(max_length=1000)]] = pydantic.Field(
        default={}, max_length=5000
    )


class Answer(pydantic.BaseModel):
    prediction: str
    scores: dict[str, float]
    latency_us: float


class Deployed(pydantic.BaseModel):
    version: str
    previous: str
    check: Verified


@router.get("")
def list_models(center: CenterOf, user: Viewer) -> dict[str, Any]:
    """All versions, newest first, and every move of the pointer."""
    return {
        "current": center.registry.current(),
        "versions": [dataclasses.asdict(v) for v in center.registry.versions()],
        "history": center.registry.history(),
    }


def known(center: Center, version: str) -> str:
    """The full name of a version that exists; a path or a beginning is none.

    Raises:
      ConfigError: UNKNOWN_VERSION.
    """
    if version not in {v.name for v in center.registry.versions()}:
        raise ConfigError(
            "UNKNOWN_VERSION", "There is no such version.", next="The list of models has them all."
        )
    return version


@router.get("/{version}")
def show_model(version: str, center: CenterOf, user: Viewer) -> dict[str, Any]:
    """Where a version came from, its files and figures."""
    name = known(center, version)
    history = [entry for entry in center.registry.history() if entry["to"] == name]
    return {
        **center.registry.manifest(name),
        "deployed": center.registry.current() == name,
        "history": history,
    }


@router.get(
    "/{version}/card",
    response_class=Response,
    responses={200: {"content": {"text/markdown": {}}}},
)
def model_card(version: str, center: CenterOf, user: Viewer) -> PlainTextResponse:
    """The model card as Markdown."""
    name = known(center, version)
    return PlainTextResponse(
        card.markdown(center, name),
        media_type="text/markdown",
        headers={"content-disposition": f'attachment; filename="model-card-{name}.md"'},
    )


def _check(center: Center, name: str) -> Verified:
    if not _verifying.acquire(timeout=30):
        raise FlywheelError("BUSY", "Other versions are being verified.", next="Try again.")
    try:
        return Verified(**center.registry.verify(name))
    finally:
        _verifying.release()


@router.post("/{version}/verify")
def verify(version: str, center: CenterOf, user: Operator) -> Verified:
    """Checks every file's SHA-256 and asks the golden requests again."""
    name = known(center, version)
    try:
        checked = _check(center, name)
    except FlywheelError as error:
        center.audit.write(user.name, "models.verify", error.reason.code, version=name)
        raise
    center.audit.write(user.name, "models.verify", version=name)
    return checked


@router.post("/{version}/deploy")
def deploy(version: str, center: CenterOf, user: Operator) -> Deployed:
    """Moves the pointer to a version, forwards or back, after checking it."""
    name = known(center, version)
    try:
        checked = _check(center, name)
        before = center.registry.rollback(name)
    except FlywheelError as error:
        center.audit.write(user.name, "models.deploy", error.reason.code, version=name)
        raise
    center.audit.write(user.name, "models.deploy", version=name, previous=before)
    return Deployed(version=name, previous=before, check=checked)


@router.post("/{version}/ask")
def ask(version: str, question: Question, center: CenterOf, user: Operator) -> Answer:
    """Asks the file of a version for one prediction; nothing is logged for the monitor."""
    folder = center.registry.folder(known(center, version))
    return Answer(**asking.ask(folder, question.row))
