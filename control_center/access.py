"""Who may do what: the dependencies of every route."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request

from control_center.auth import Accounts, LoginBrake, Sessions, User
from control_center.center import Center


class Refused(Exception):
    """The request may not go on.

    Args:
      status: 401, 403, 404, 409, 413 or 429.
      code, message, next: As in every error.
    """

    def __init__(self, status: int, code: str, message: str, next: str = "", wait: int = 0):
        super().__init__(message)
        self.status, self.code, self.message, self.next, self.wait = (
            status,
            code,
            message,
            next,
            wait,
        )


def center_of(request: Request) -> Center:
    return request.app.state.center


def accounts_of(request: Request) -> Accounts:
    return request.app.state.accounts


def sessions_of(request: Request) -> Sessions:
    return request.app.state.sessions


def brake_of(request: Request) -> LoginBrake:
    return request.app.state.brake


def source_of(request: Request) -> str:
    """Where a request comes from. Headers of proxies are not believed: anyone can send them."""
    return request.client.host if request.client else "unknown"


def user_of(request: Request) -> User | None:
    """Who asks; None for nobody known."""
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer":
        brake, source = brake_of(request), f"bearer|{source_of(request)}"
        wait = brake.wait(source)
        if wait:
            raise Refused(429, "TOO_MANY_TRIES", "Too many wrong tokens from here.", wait=wait)
        account = accounts_of(request).by_token(token.strip())
        if account is None:
            brake.failed(source)
            return None
        return User(account.name, account.role)
    sessions = sessions_of(request)
    return sessions.user(request.cookies.get(sessions.COOKIE))


def viewer(request: Request) -> User:
    """Anyone who may look.

    Raises:
      Refused: 401.
    """
    user = user_of(request)
    if user is None and not accounts_of(request).needed:
        return User("local", "viewer")  # no cookie yet: looking needs none
    if user is None:
        raise Refused(401, "LOGIN_NEEDED", "Log in first.", "Open /login, or send a bearer token.")
    return user


def operator(request: Request) -> User:
    """Anyone who may change something, with proof that it was meant.

    Raises:
      Refused: 401, 403.
    """
    user = user_of(request)
    if user is None:
        raise Refused(
            401,
            "LOGIN_NEEDED",
            "Changes need a session or a bearer token.",
            "Open a page of the control center first.",
        )
    if user.session:
        sessions = sessions_of(request)
        expected = sessions.csrf(request.cookies.get(sessions.COOKIE))
        given = request.headers.get("x-csrf-token", "")
        if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
            raise Refused(
                403,
                "CSRF",
                "The request does not carry the page's own token.",
                "Load the page again.",
            )
    if not user.operator:
        center_of(request).audit.write(
            user.name, f"{request.method} {request.url.path}", "NOT_ALLOWED"
        )
        raise Refused(403, "NOT_ALLOWED", "Viewers look; this needs the role operator.")
    return user


Viewer = Annotated[User, Depends(viewer)]
Operator = Annotated[User, Depends(operator)]
CenterOf = Annotated[Center, Depends(center_of)]
