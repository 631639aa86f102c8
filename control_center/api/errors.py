"""Every error of the API has one form, and none of them tells what it should not."""

from __future__ import annotations

from typing import Any

import pydantic
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from control_center.access import Refused
from models.errors import ConfigError, FlywheelError

_STATUS = {
    "UNKNOWN_RUN": 404,
    "UNKNOWN_VERSION": 404,
    "UNKNOWN_ARTIFACT": 404,
    "UNKNOWN_INCIDENT": 404,
    "UNKNOWN_EVENT": 404,
    "UNKNOWN_SCHEDULE": 404,
    "UNKNOWN_JOB": 404,
    "NOTHING_DEPLOYED": 404,
    "NO_STORE": 404,
    "NO_CONFIG": 409,
    "UNREADABLE_STORE": 409,
    "NO_RUNS": 404,
    "NOT_FOUND": 404,
    "INTERNAL": 500,
    "TOO_LARGE": 413,
    "UNKNOWN_FEATURE": 422,
    "NOT_A_NUMBER": 422,
}


class Problem(pydantic.BaseModel):
    """What went wrong, as everywhere in Flywheel."""

    code: str
    message: str
    next: str = ""
    cases: list[dict[str, Any]] = []


class ErrorBody(pydantic.BaseModel):
    error: Problem


#: For `responses=` of every router: what FastAPI cannot see by itself.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in {
        400: "Malformed request",
        401: "Not logged in",
        403: "Not allowed",
        404: "No such thing",
        409: "Refused as things stand",
        413: "Too large",
        422: "Wrong values",
        429: "Too many tries",
    }.items()
}


def body(code: str, message: str, next: str = "", cases: Any = ()) -> dict[str, Any]:
    problem = Problem(code=code, message=message, next=next, cases=list(cases))
    return ErrorBody(error=problem).model_dump(mode="json")


def status_of(error: FlywheelError) -> int:
    known = _STATUS.get(error.reason.code)
    return known or (422 if isinstance(error, ConfigError) else 409)


def install(app: FastAPI) -> None:
    """Makes every exception an answer in the one form."""

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> JSONResponse:
        headers = {"retry-after": str(error.wait)} if error.wait else None
        if error.status == 401:
            headers = {"www-authenticate": "Bearer"}
        return JSONResponse(
            body(error.code, error.message, error.next), error.status, headers=headers
        )

    @app.exception_handler(FlywheelError)
    def flywheel(request: Request, error: FlywheelError) -> JSONResponse:
        reason = error.reason
        return JSONResponse(
            body(reason.code, reason.message, reason.next, reason.cases), status_of(error)
        )

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        cases = [
            {"key": ".".join(str(p) for p in e["loc"]), "problem": e["msg"]} for e in error.errors()
        ]
        return JSONResponse(
            body("WRONG_VALUE", "The request is not as it should be.", "", cases), 422
        )

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and _wants_page(request):
            return _page(request, "NOT_FOUND", "There is no such page.", "The menu has them all.")
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "TOO_LARGE"}
        return JSONResponse(
            body(code.get(error.status_code, "REFUSED"), str(error.detail)),
            error.status_code,
            headers=error.headers,
        )

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> Response:
        said = "The control center made a mistake; its log has the story.", "Please report it."
        if _wants_page(request):
            return _page(request, "INTERNAL", *said)
        return JSONResponse(body("INTERNAL", *said), 500)


def _wants_page(request: Request) -> bool:
    """Whether a person looks at the answer, not a program."""
    page = not request.url.path.startswith(("/api/", "/static/", "/assets/"))
    return page and "text/html" in request.headers.get("accept", "")


def _page(request: Request, code: str, message: str, next: str) -> Response:
    from control_center import pages  # which needs this module

    return pages.problem(request, ConfigError(code, message, next=next))
