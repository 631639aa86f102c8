"""Logging in with the OpenID provider: there, and back."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from control_center import oidc
from control_center.access import (
    CenterOf,
    accounts_of,
    brake_of,
    sessions_of,
    source_of,
)
from control_center.api.session import set_cookie
from models.errors import FlywheelError

router = APIRouter(include_in_schema=False)
_log = logging.getLogger(__name__)
_MOST_NAME = 200


@router.get("/login/oidc")
def begin(request: Request) -> RedirectResponse:
    """Sends the browser to the provider."""
    provider: oidc.Oidc | None = request.app.state.oidc
    if provider is None:
        return RedirectResponse("/login", 303)
    try:
        begun = provider.begin(_back(request))
    except FlywheelError as error:
        return _refused(error)
    answer = RedirectResponse(begun.url, 303)
    answer.set_cookie(
        oidc.COOKIE,
        begun.cookie,
        max_age=oidc.LOGIN_SECONDS,
        path=oidc.BACK,
        httponly=True,
        samesite="lax",  # it must come along when the provider sends the browser back
        secure=request.app.state.center.options.secure_cookies,
    )
    return answer


@router.get(oidc.BACK)
def back(
    request: Request,
    center: CenterOf,
    state: Annotated[str, Query(max_length=1000)] = "",
    code: Annotated[str, Query(max_length=4000)] = "",
) -> RedirectResponse:
    """Takes the provider's word for who it is; at most five vain tries a minute."""
    provider: oidc.Oidc | None = request.app.state.oidc
    if provider is None:
        return RedirectResponse("/login", 303)
    brake, source = brake_of(request), f"oidc|{source_of(request)}"
    wait = brake.wait(source)
    if wait:
        return RedirectResponse(f"/login?problem=wait&seconds={wait}", 303)
    try:
        cookie = request.cookies.get(oidc.COOKIE)
        name = provider.finish(cookie, state, code, _back(request))
    except FlywheelError as error:
        brake.failed(source)
        center.audit.write("oidc", "login", error.reason.code)
        return _refused(error)
    account = accounts_of(request).by_oidc(name) if len(name) <= _MOST_NAME else None
    if account is None:
        center.audit.write(name[:_MOST_NAME], "login", "NOT_ALLOWED", by="oidc")
        answer = RedirectResponse("/login?problem=unknown", 303)
    else:
        center.audit.write(account.name, "login", by="oidc")
        answer = RedirectResponse("/", 303)
        set_cookie(request, answer, sessions_of(request).new(account))
    answer.delete_cookie(oidc.COOKIE, path=oidc.BACK)
    return answer


def _back(request: Request) -> str:
    """Where the provider sends people back to; the guard has checked the host's name."""
    scheme = "https" if request.app.state.center.options.secure_cookies else request.url.scheme
    return f"{scheme}://{request.headers['host']}{oidc.BACK}"


def _refused(error: FlywheelError) -> RedirectResponse:
    _log.warning("%s", error.reason.message)
    return RedirectResponse("/login?problem=oidc", 303)
