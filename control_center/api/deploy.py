"""Compile, rehearse, submit; each as a job that goes on without this process."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from fastapi import APIRouter

from control_center import jobs
from control_center.access import CenterOf, Operator, Viewer
from control_center.api.errors import RESPONSES
from models.errors import FlywheelError

router = APIRouter(prefix="/api/jobs", tags=["deploy"], responses=RESPONSES)


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
