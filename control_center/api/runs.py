"""Runs: list, start, watch, cancel, fetch what they left."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse

from control_center import artifacts, comparison, forecast, proposal, supervision
from control_center.access import CenterOf, Operator, Viewer
from control_center.api.errors import RESPONSES
from control_center.center import Center
from control_center.live import Follower, tail
from models.errors import ConfigError, FlywheelError
from models.registry import Registry
from pipeline.config import Config
from pipeline.reuse import Memory
from pipeline.unchanged import code_fingerprint, data_fingerprint, find_same, run_fingerprint

router = APIRouter(prefix="/api", tags=["runs"], responses=RESPONSES)
_POLL_SECONDS = 0.25
_MOST_PAST = 30
#: The report brings its own policy and styles; here it may run, and reach nothing of ours.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)


class RunRow(pydantic.BaseModel):
    """One run, as lists show it."""

    id: str
    state: str
    started: float
    seconds: float | None
    rows: int
    name: str
    data: str
    version: str | None
    quality: dict[str, Any] | None
    reasons: list[str]
    user: str | None
    resumes: str | None


class Runs(pydantic.BaseModel):
    runs: list[RunRow]
    total: int


class Start(pydantic.BaseModel):
    """What to start: the config file as it is, an edited text, or an earlier run again."""

    model_config = pydantic.ConfigDict(extra="forbid")

    config: str | None = pydantic.Field(None, description="Edited config as YAML.")
    resumes: str | None = pydantic.Field(
        None, description="Go on from this run: its own config, finished components reused."
    )
    force: bool = pydantic.Field(
        False, description="Run even if nothing changed since the deployed version."
    )


class Started(pydantic.BaseModel):
    run_id: str


class Check(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    config: str = pydantic.Field(description="Edited config as YAML.")


class Checked(pydantic.BaseModel):
    """Whether a config is right, and what a run with it would reuse."""

    ok: bool
    problem: dict[str, Any] | None = None
    forecast: list[dict[str, str]] = []
    unchanged: str | None = pydantic.Field(
        None, description="Run that did the same, whose version is deployed."
    )


@router.get("/runs")
def list_runs(
    center: CenterOf,
    user: Viewer,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Runs:
    """All runs, newest first."""
    ids = center.runs.ids()
    rows = [center.runs.row(run_id) for run_id in ids[offset : offset + limit]]
    return Runs(runs=[RunRow(**row.to_dict()) for row in rows], total=len(ids))


@router.post("/runs", status_code=201)
def start_run(request: Start, center: CenterOf, user: Operator) -> Started:
    """Starts a run that outlives this process; 409 names the run that is in the way."""
    details = {"resumes": request.resumes, "edited": request.config is not None}
    try:
        config = _config_to_run(center, request)
        if not request.force and not request.resumes:
            same = find_same(config, run_fingerprint(config))
            if same:
                raise FlywheelError(
                    "UNCHANGED",
                    f"Data, config and code are those of run {same['run_id']}, whose version "
                    f"{same['pushed']['version']} is deployed: there is nothing to do.",
                    next="Start it all the same with “even if nothing changed”.",
                    cases=[{"run_id": same["run_id"]}],
                )
        run_id = supervision.start(center.standby, config, user=user.name, resumes=request.resumes)
    except FlywheelError as error:
        center.audit.write(user.name, "run.start", error.reason.code, **details)
        raise
    center.audit.write(user.name, "run.start", run_id=run_id, **details)
    return Started(run_id=run_id)


@router.post("/runs/prepare", status_code=202)
def prepare_run(center: CenterOf, user: Operator) -> None:
    """Someone is about to start a run: lets its process import everything meanwhile."""
    if not center.runs.workers():
        center.standby.prepare(center.root, center.config.engine)


def _config_to_run(center: Center, request: Start) -> Config:
    if request.resumes is not None:
        row = center.run(request.resumes)
        text = center.workspace.run(row.id).config.read_text("utf-8")
        return proposal.parse(center, text)
    if request.config is not None:
        return proposal.parse(center, request.config)
    return center.config


@router.post("/config/check")
def check_config(request: Check, center: CenterOf, user: Operator) -> Checked:
    """Checks an edited config as a whole, and says what a run with it would reuse and why."""
    try:
        config = proposal.parse(center, request.config)
        data = data_fingerprint(config.data.path)
        proposal.peek(config)
        same = find_same(config, run_fingerprint(config))
    except FlywheelError as error:
        return Checked(ok=False, problem=error.reason.to_dict())
    return Checked(
        ok=True,
        forecast=_forecast(center, config, data),
        unchanged=same["run_id"] if same else None,
    )


def _forecast(center: Center, config: Config, data: str) -> list[dict[str, str]]:
    memory = Memory(center.workspace)
    past = []
    for run_id in center.runs.ids()[:_MOST_PAST]:
        theirs = center.configs.read(center.workspace, run_id)
        if theirs:
            past.append((run_id, theirs, memory.executions(run_id)))
    return forecast.forecast(
        config,
        data=data,
        code=code_fingerprint(),
        deployed=Registry(config.deploy.path).current() or "",
        past=past,
    )


@router.get("/config/keys")
def config_keys(user: Viewer) -> dict[str, dict[str, Any]]:
    """Every key of the config with its description and default."""
    return proposal.describe_keys()


@router.get("/runs/{run_id}")
def show_run(run_id: str, center: CenterOf, user: Viewer) -> dict[str, Any]:
    """How a run stands: its row, result, and what is known of each component."""
    row = center.run(run_id)
    follower = Follower(center.workspace.run(run_id))
    follower.advance()
    return {
        **row.to_dict(),
        "result": row.result,
        "live": {**follower.snapshot, **supervision.progress_of(center.runs, run_id)},
        "origin": row.origin,
    }


@router.post("/runs/{run_id}/cancel", status_code=202)
def cancel_run(run_id: str, center: CenterOf, user: Operator) -> Started:
    """Asks a run to stop; finished components are kept."""
    center.run(run_id)
    try:
        supervision.cancel(center.runs, run_id)
    except FlywheelError as error:
        center.audit.write(user.name, "run.cancel", error.reason.code, run_id=run_id)
        raise
    center.audit.write(user.name, "run.cancel", run_id=run_id)
    return Started(run_id=run_id)


@router.get("/runs/{run_id}/events", response_class=EventSourceResponse)
async def run_events(
    run_id: str,
    request: Request,
    center: CenterOf,
    user: Viewer,
    log_from: Annotated[int, Query(ge=0, le=1 << 40)] = 0,
) -> EventSourceResponse:
    """The run as it happens: `state`, `log` and, once, `end`, as server-sent events.

    The id of an event is the byte of the log it reaches, so that a browser that connects again
    goes on where it was.
    """
    row = center.run(run_id)
    last = request.headers.get("last-event-id", "")
    offset = int(last) if last.isdigit() and len(last) < 13 else log_from
    follower = Follower(center.workspace.run(row.id), offset)
    return EventSourceResponse(
        _events(center, request, follower, run_id),
        ping=10,
        headers={"x-accel-buffering": "no"},
    )


async def _events(
    center: Center, request: Request, follower: Follower, run_id: str
) -> AsyncIterator[dict[str, Any]]:
    idle, held = 0, None
    while not await request.is_disconnected():
        ended = run_id not in await asyncio.to_thread(center.runs.workers)
        changed = await asyncio.to_thread(follower.advance)
        log = await asyncio.to_thread(follower.log)
        idle = 0 if changed or log else idle + 1
        if idle % 8 == 0 and not ended:
            held = await asyncio.to_thread(supervision.progress_of, center.runs, run_id)
            changed = True
        if changed:
            yield {
                "event": "state",
                "id": str(follower.log_offset),
                "data": json.dumps({**follower.snapshot, **(held or {})}),
            }
        if log:
            yield {"event": "log", "id": str(follower.log_offset), "data": json.dumps(log)}
        if ended and not log and not changed:
            row = await asyncio.to_thread(center.runs.row, run_id)
            if row.state != "running":
                yield {"event": "end", "data": json.dumps({"state": row.state})}
                return
        if not log:
            await asyncio.sleep(_POLL_SECONDS)


@router.get("/runs/{run_id}/log")
def run_log(
    run_id: str,
    center: CenterOf,
    user: Viewer,
    size: Annotated[int, Query(ge=1, le=1_000_000)] = 20_000,
) -> dict[str, Any]:
    """The end of a run's log, and the byte it reaches."""
    row = center.run(run_id)
    text, end = tail(center.workspace.run(row.id), size)
    return {"text": text, "end": end}


@router.get("/runs/{run_id}/artifacts")
def run_artifacts(run_id: str, center: CenterOf, user: Viewer) -> list[dict[str, Any]]:
    """Every file a run left."""
    center.run(run_id)
    return [
        {
            "id": f.id,
            "component": f.component,
            "output": f.output,
            "name": f.name,
            "bytes": f.bytes,
        }
        for f in artifacts.files(center, run_id)
    ]


@router.get(
    "/runs/{run_id}/artifacts/{file_id}",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def artifact(run_id: str, file_id: str, center: CenterOf, user: Viewer) -> FileResponse:
    """One file, as a download: never shown by the browser as a page of ours."""
    center.run(run_id)
    file = artifacts.find(center, run_id, file_id)
    return FileResponse(
        file.path,
        media_type="application/octet-stream",
        filename=pathlib.PurePosixPath(file.name).name,
        headers={"content-security-policy": "default-src 'none'; sandbox"},
    )


@router.get(
    "/runs/{run_id}/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}},
)
def report(run_id: str, center: CenterOf, user: Viewer) -> FileResponse:
    """The self-contained report, boxed in: it can reach nothing of the control center."""
    row = center.run(run_id)
    path = center.workspace.run(row.id).report
    if not path.is_file():
        raise ConfigError(
            "UNKNOWN_ARTIFACT", "This run has no report.", next=f"`flywheel report {row.id}`"
        )
    return FileResponse(
        path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY}
    )


@router.get("/compare")
def compare(
    center: CenterOf,
    user: Viewer,
    run: Annotated[list[str], Query(min_length=2, max_length=5, description="Run ids.")],
) -> dict[str, Any]:
    """What differs between runs: config, data, metrics by slice with intervals, variants."""
    for run_id in run:
        center.run(run_id)
    return comparison.compare(center, list(dict.fromkeys(run)))
