"""Compile, rehearse, submit; each as a job that goes on without this process."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from fastapi import APIRouter

from control_center import cluster, jobs, rehearsals
from control_center.access import CenterOf, Operator, Viewer
from control_center.api.errors import RESPONSES
from models.errors import FlywheelError

router = APIRouter(prefix="/api/jobs", tags=["deploy"], responses=RESPONSES)
looks = APIRouter(prefix="/api", tags=["deploy"], responses=RESPONSES)


class Wish(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    name: Literal["compile-kfp", "compile-vertex", "rehearse", "deploy", "monitor"]


class JobStarted(pydantic.BaseModel):
    job_id: str


@router.get("")
def list_jobs(center: CenterOf, user: Viewer) -> list[dict[str, Any]]:
    """Jobs, newest first."""
    return jobs.listed(center)


@router.post("", status_code=201)
def start_job(wish: Wish, center: CenterOf, user: Operator) -> JobStarted:
    """Starts one of the known commands on the config as it is."""
    try:
        _ = center.config
        job_id = jobs.start(center, wish.name, user.name)
    except FlywheelError as error:
        center.audit.write(user.name, f"job.{wish.name}", error.reason.code)
        raise
    center.audit.write(user.name, f"job.{wish.name}", job_id=job_id)
    return JobStarted(job_id=job_id)


@router.get("/{job_id}")
def show_job(job_id: str, center: CenterOf, user: Viewer) -> dict[str, Any]:
    """How a job stands, and the end of what it said."""
    return jobs.show(center, job_id)


@router.post("/{job_id}/stop", status_code=202)
def stop_job(job_id: str, center: CenterOf, user: Operator) -> JobStarted:
    """Asks a job to stop, as Ctrl-C does in a terminal."""
    try:
        jobs.stop(center, job_id)
    except FlywheelError as error:
        center.audit.write(user.name, "job.stop", error.reason.code, job_id=job_id)
        raise
    center.audit.write(user.name, "job.stop", job_id=job_id)
    return JobStarted(job_id=job_id)


@looks.get("/rehearsals")
def list_rehearsals(center: CenterOf, user: Viewer) -> list[dict[str, Any]]:
    """Rehearsals, newest first, with the state of every task that has begun."""
    return rehearsals.listed(center)


@looks.get("/cluster")
def show_cluster(center: CenterOf, user: Viewer) -> dict[str, Any]:
    """Runs and schedules on the configured Kubeflow, as it said last; `{}` when there is none.

    Asking makes the cluster be asked again, in the background, when that was a while ago.
    """
    return cluster.state(center) or {}
