"""An HTTP POST, signed.

The signature covers the time and the body, so a receiver can refuse old copies:

    X-Flywheel-Signature: t=<unix seconds>,v1=<hex of HMAC-SHA256(key, "<t>." + body)>

`X-Flywheel-Delivery` is the message's id, the same in every attempt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time

from monitoring.alerts import templates
from monitoring.alerts.channels.errors import Undelivered, secret
from monitoring.alerts.message import Message
from monitoring.alerts.options import WebhookChannel

SIGNATURE = "X-Flywheel-Signature"
DELIVERY = "X-Flywheel-Delivery"
_TEMPORARY = {408, 425, 429}
_BODIES = {
    "json": lambda message: message.to_dict(picture=True),
    "slack": templates.slack,
    "teams": templates.teams,
}


def sign(body: bytes, key: str, timestamp: int) -> str:
    """The value of the signature header."""
    digest = hmac.new(key.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def verify(body: bytes, header: str, key: str, *, tolerance_seconds: float = 300.0) -> bool:
    """Whether a body was signed with this key, not longer ago (or ahead) than the tolerance."""
    try:
        parts = dict(part.split("=", 1) for part in header.split(","))
        timestamp = int(parts["t"])
    except (KeyError, ValueError):
        return False
    if abs(time.time() - timestamp) > tolerance_seconds:
        return False
    return hmac.compare_digest(sign(body, key, timestamp).encode(), header.encode())


def deliver(message: Message, options: WebhookChannel) -> None:
    import httpx  # half a second, so only when a webhook is used

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, which are secrets
    url = options.url or secret(options.url_env or "")
    body = json.dumps(_BODIES[options.body](message), ensure_ascii=False).encode("utf-8")
    headers = {"Content-Type": "application/json; charset=utf-8", DELIVERY: message.id}
    headers |= {name: secret(variable) for name, variable in options.headers_env.items()}
    if options.secret_env:
        headers[SIGNATURE] = sign(body, secret(options.secret_env), int(time.time()))
    try:
        answer = httpx.post(url, content=body, headers=headers, timeout=options.timeout_seconds)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise Undelivered("the URL is not valid", temporary=False) from None
    except httpx.TransportError as error:
        raise Undelivered(f"no answer ({type(error).__name__})", temporary=True) from None
    if answer.is_success:
        return
    code = answer.status_code
    raise Undelivered(
        f"answered {code} {answer.reason_phrase}".strip(),
        temporary=code in _TEMPORARY or code >= 500,
        retry_after=_seconds(answer.headers.get("Retry-After", "")),
    )


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None
