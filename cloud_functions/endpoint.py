"""What every automation function does around its own work.

A delivery is answered with
  200  handled now or before, or never to be handled: then with a dead-letter record
  400  the same for a plain HTTP caller, who can mend the request
  401, 403  not let in
  500, 503  not now: the platform delivers again (503 with Retry-After where the time is known)
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import flask

from cloud_functions import auth, claims, dead_letter, events, settings
from cloud_functions.ledger import Ledger, open_ledger, utc_now
from cloud_functions.settings import Settings

_logger = logging.getLogger(__name__)
P = TypeVar("P", bound=events.Payload)


class Later(Exception):
    """Cannot be done yet; nothing failed.

    Args:
      seconds: When to come again.
      message: Why, in a sentence.
    """

    def __init__(self, seconds: float, message: str):
        super().__init__(message)
        self.seconds = seconds


class Permanent(Exception):
    """Can never be done.

    Args:
      code: Reason code.
      message: Why, in a sentence.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Call(Generic[P]):
    """What a handler gets.

    Attributes:
      payload: Checked.
      settings: Of the function.
      ledger: Open.
      claim: This handler's hold on the event.
      now: In UTC.
    """

    payload: P
    settings: Settings
    ledger: Ledger
    claim: claims.Claim
    now: datetime.datetime


Handler = Callable[[Call[Any]], dict[str, Any]]


def serve(
    function: str, payload: type[P], handler: Handler, request: flask.Request
) -> flask.Response:
    """Handles a delivery.

    Args:
      function: Name of the function, for records.
      payload: What its events carry.
      handler: Its work; returns what came of it. Raises `Later`, `Permanent`, or anything else
        for a failure that may pass.
      request: The delivery.
    """
    options = settings.load()
    try:
        auth.check(options.automation.auth, request.headers)
    except auth.Unauthorized as refusal:
        return _json({"error": str(refusal)}, refusal.status)
    body = request.get_data()
    ledger = open_ledger(options.automation.ledger)
    pushed, key = bool(_looks_pushed(request)), ""
    try:
        event = events.read(request.headers, body)
        pushed, key = event.pushed, event.key
        content = payload.of(event.data)
    except events.Malformed as error:
        return _dead(ledger, function, key, error.code, str(error), body, pushed)
    key = f"{function}/{content.identity or event.key}"
    now = utc_now()
    age = (now - event.time).total_seconds() / 3600
    most = options.automation.max_age_hours
    if age > most:
        message = f"The event is {age:.1f} hours old; after {most:g} it is dropped."
        return _dead(ledger, function, key, "STALE", message, body, pushed)
    try:
        claim = claims.claim(ledger, key, now, options.automation.lease_seconds)
    except claims.Done as done:
        return _json({**done.result, "duplicate": True})
    except claims.Busy as busy:
        return _later(busy.seconds, str(busy))
    try:
        result = handler(Call(content, options, ledger, claim, now))
    except Later as later:
        claim.release(str(later), failed=False)
        return _later(later.seconds, str(later))
    except Permanent as error:
        return _dead(ledger, function, key, error.code, str(error), body, pushed, claim)
    except Exception as error:  # whatever it was may pass
        _logger.exception("%s failed on %s, attempt %d", function, key, claim.attempt)
        if claim.attempt >= options.automation.attempts:
            message = f"{claim.attempt} deliveries failed; the last with: {error}"
            return _dead(ledger, function, key, "GAVE_UP", message, body, pushed, claim)
        claim.release(f"{type(error).__name__}: {error}", failed=True)
        return _json({"error": f"Attempt {claim.attempt} failed: {error}"}, 500)
    claim.finish(result)
    return _json(result)


def _looks_pushed(request: flask.Request) -> bool:
    return any(name.lower().startswith("ce-") for name in request.headers.keys()) or (
        request.content_type or ""
    ).startswith("application/cloudevents")


def _dead(
    ledger: Ledger,
    function: str,
    key: str,
    code: str,
    message: str,
    body: bytes,
    pushed: bool,
    claim: claims.Claim | None = None,
) -> flask.Response:
    record = dead_letter.keep(ledger, function, key, code, message, body)
    _logger.error("%s cannot handle %s: %s %s", function, key or "a delivery", code, message)
    result = {"state": "dead_letter", "code": code, "error": message, "record": record}
    if claim is not None:
        claim.finish(result)
    return _json(result, 200 if pushed else 400)


def _later(seconds: float, message: str) -> flask.Response:
    response = _json({"state": "later", "error": message}, 503)
    response.headers["Retry-After"] = str(max(1, round(seconds)))
    return response


def _json(body: dict[str, Any], status: int = 200) -> flask.Response:
    text = json.dumps(body, default=str)
    return flask.Response(text, status, content_type="application/json")
