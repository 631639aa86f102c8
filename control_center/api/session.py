"""Logging in and out, who one is, the audit log, uploads of tables."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from typing import Annotated, Any

import pyarrow.parquet as pq
import pydantic
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse

from control_center.access import (
    CenterOf,
    Operator,
    Refused,
    Viewer,
    accounts_of,
    brake_of,
    sessions_of,
    source_of,
    user_of,
)
from control_center.api.errors import RESPONSES
from models import child
from models.errors import ConfigError
from pipeline.demos import DEMOS

router = APIRouter(prefix="/api", tags=["session"], responses=RESPONSES)
forms = APIRouter(include_in_schema=False)
_NAME = re.compile(r"[^A-Za-z0-9._-]+")
#: Unpacked by whoever reads them: a small one could hold a very large table.
_PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst")
_INIT_SECONDS = 120
_DEMOS = [name.removeprefix("demo:") for name in DEMOS]


class Me(pydantic.BaseModel):
    user: str
    role: str


class Uploaded(pydantic.BaseModel):
    path: str
    bytes: int


class Demo(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    name: Annotated[str, pydantic.Field(json_schema_extra={"enum": _DEMOS})]

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in _DEMOS:
            raise ValueError(f"one of {', '.join(_DEMOS)}")
        return name


class Written(pydantic.BaseModel):
    config: str


@router.get("/me")
def me(user: Viewer) -> Me:
    """Who this is."""
    return Me(user=user.name, role=user.role)


@router.get("/audit")
def audit(
    center: CenterOf, user: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> list[dict[str, Any]]:
    """Every change, newest first."""
    return center.audit.read(limit)


@router.post("/config/demo", status_code=201)
def write_demo(request: Demo, center: CenterOf, user: Operator) -> Written:
    """Writes the config of a demo where there is none: what `flywheel init demo:NAME` does."""
    if center.config_path.exists():
        raise ConfigError(
            "CONFIG_EXISTS", "There is a config file already.", next="Run it, or edit it."
        )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipeline",
            "init",
            f"demo:{request.name}",
            "--output",
            str(center.config_path),
        ],
        capture_output=True,
        text=True,
        timeout=_INIT_SECONDS,
        check=False,
        env=child.environment(),
    )
    if done.returncode:
        center.audit.write(user.name, "config.demo", "INIT_FAILED", demo=request.name)
        raise ConfigError(
            "INIT_FAILED",
            f"`flywheel init demo:{request.name}` did not succeed: {done.stderr.strip()[:400]}",
            next="Try it in a terminal.",
        )
    center.audit.write(user.name, "config.demo", demo=request.name)
    return Written(config=center.config_path.name)


@router.post("/uploads", status_code=201)
async def upload(
    request: Request,
    center: CenterOf,
    user: Operator,
    name: Annotated[str, Query(min_length=1, max_length=200)],
) -> Uploaded:
    """Takes a CSV or Parquet table (the body is the file) that a run can then be started on."""
    limit = center.options.upload_bytes
    clean = _NAME.sub("-", os.path.basename(name)).strip(".-") or "table"
    suffix = os.path.splitext(clean)[1].lower()
    if suffix in _PACKED or suffix not in (".csv", ".tsv", ".parquet"):
        raise ConfigError(
            "NOT_A_TABLE",
            "Only plain .csv, .tsv and .parquet files can be uploaded, nothing packed.",
            next="Unpack it first, or put it into a folder of `control_center.data_folders`.",
        )
    folder = center.own / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".upload-")
    try:
        with os.fdopen(handle, "wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise Refused(413, "TOO_LARGE", f"More than {limit:,} bytes.")
                digest.update(chunk)
                file.write(chunk)
        if not size:
            raise ConfigError("EMPTY", "The file is empty.")
        if suffix == ".parquet":
            _refuse_bomb(temporary, limit)
        path = folder / f"{digest.hexdigest()[:12]}-{clean}"
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    center.audit.write(user.name, "data.upload", name=path.name, bytes=size)
    return Uploaded(path=str(path), bytes=size)


def _refuse_bomb(path: str, limit: int) -> None:
    """A Parquet file says how large it is unpacked; a small one may be very large."""
    try:
        about = pq.ParquetFile(path).metadata
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        unpacked = sum(group.total_byte_size for group in groups)
        values = about.num_rows * about.num_columns
    except Exception as error:
        raise ConfigError("NOT_A_TABLE", f"Not a Parquet file: {error}"[:300]) from None
    if max(unpacked, values) > limit:  # encodings shrink equal values to nothing: count them too
        raise Refused(413, "TOO_LARGE", f"Unpacked, it is larger than {limit:,} bytes.")


@forms.post("/login")
def login(
    request: Request,
    center: CenterOf,
    csrf: Annotated[str, Form(max_length=200)] = "",
    name: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    token: Annotated[str, Form(max_length=1000)] = "",
) -> RedirectResponse:
    """Checks a password or token; at most five wrong ones a minute."""
    sessions, brake, accounts = sessions_of(request), brake_of(request), accounts_of(request)
    cookie = request.cookies.get(sessions.COOKIE)
    if not csrf or csrf != sessions.csrf(cookie):
        return RedirectResponse("/login?problem=stale", 303)
    keys = [source_of(request)] + ([f"name|{name}"] if name else [])
    wait = brake.wait(*keys)
    if wait:
        return RedirectResponse(f"/login?problem=wait&seconds={wait}", 303)
    account = accounts.by_token(token) if token else accounts.by_password(name, password)
    if account is None:
        brake.failed(*keys)
        center.audit.write(name[:63] or "token", "login", "WRONG")
        return RedirectResponse("/login?problem=wrong", 303)
    brake.forget(*keys)
    center.audit.write(account.name, "login")
    answer = RedirectResponse("/", 303)
    set_cookie(request, answer, sessions.new(account))
    return answer


@forms.post("/logout")
def logout(
    request: Request, center: CenterOf, csrf: Annotated[str, Form(max_length=200)] = ""
) -> RedirectResponse:
    """Ends the session in this browser."""
    sessions = sessions_of(request)
    answer = RedirectResponse("/login", 303)
    if csrf and csrf == sessions.csrf(request.cookies.get(sessions.COOKIE)):
        user = user_of(request)
        if user:
            center.audit.write(user.name, "logout")
        answer.delete_cookie(sessions.COOKIE)
    return answer


def set_cookie(request: Request, answer: Any, value: str) -> None:
    """The session, out of reach of scripts and foreign pages."""
    sessions = sessions_of(request)
    answer.set_cookie(
        sessions.COOKIE,
        value,
        max_age=sessions.seconds,
        httponly=True,
        samesite="lax",
        secure=request.app.state.center.options.secure_cookies,
    )
