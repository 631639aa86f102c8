"""What every request passes before anything answers it, and every answer carries."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Nothing but our own files; no inline script, no inline style, no frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_SAFE = ("GET", "HEAD", "OPTIONS")
_MOST_JSON = 1_000_000
_TOO_LARGE = "The request is larger than {:,} bytes."
_LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refusal(status: int, code: str, message: str, next: str = "", **headers: str) -> JSONResponse:
    """A refusal in the form of every error of the API."""
    body = {"error": {"code": code, "message": message, "next": next, "cases": []}}
    return JSONResponse(body, status, {k.replace("_", "-"): v for k, v in headers.items()})


class Guard:
    """Refuses foreign host names, foreign origins and oversized bodies; adds security headers.

    Args:
      app: What is guarded.
      names: Host names that are ours, besides loopback names.
      any_name: Whether every host name is (listening on all addresses with a login).
      upload_path: The one path whose body may be large.
      upload_bytes: How large.
      https: Whether browsers reach it through TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        names: tuple[str, ...] = (),
        any_name: bool = False,
        upload_path: str = "",
        upload_bytes: int = 0,
        https: bool = False,
    ):
        self._app = app
        self._names = _LOOPBACK_NAMES | {name.lower().strip("[]") for name in names}
        self._any_name = any_name
        self._upload = (upload_path, upload_bytes)
        self._https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", POLICY)
                if not scope["path"].startswith("/static/"):
                    headers.setdefault("cache-control", "no-store")
                if self._https:
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        refused = self._refuse(scope)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        limit = self._upload[1] if scope["path"] == self._upload[0] else _MOST_JSON
        taken = 0

        async def receive_limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:  # a body without, or with a false, Content-Length
                raise HTTPException(413, _TOO_LARGE.format(limit))
            return message

        await self._app(scope, receive_limited, send_guarded)

    def _refuse(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = _name_of(headers.get("host", ""))
        if not self._any_name and host not in self._names:
            return refusal(
                421,
                "FOREIGN_HOST",
                "This control center is not reached by that host name.",
                "Use its own address, or add the name to `control_center.names`.",
            )
        if scope["method"] not in _SAFE:
            origin = headers.get("origin")
            site = headers.get("sec-fetch-site", "same-origin")
            foreign = (
                origin is not None
                and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
            )
            if foreign or site not in ("same-origin", "none"):
                return refusal(403, "FOREIGN_ORIGIN", "A page of another origin may not do this.")
        limit = self._upload[1] if scope["path"] == self._upload[0] else _MOST_JSON
        length = headers.get("content-length", "0")
        if not length.isdigit():
            return refusal(400, "BAD_LENGTH", "Content-Length is not a number.")
        if int(length) > limit:
            return _too_large(limit)
        return None


def _too_large(limit: int) -> JSONResponse:
    return refusal(413, "TOO_LARGE", _TOO_LARGE.format(limit))


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
