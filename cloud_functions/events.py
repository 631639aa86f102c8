"""Events as they arrive, and the payloads they carry: typed, unknown keys refused by name.

An event comes as a CloudEvent (binary or structured: Eventarc, the local bus), as a Pub/Sub push,
as a CloudEvent around a Pub/Sub message, or as plain JSON (a scheduler, another cloud).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from pydantic.alias_generators import to_camel

from models.text import did_you_mean
from monitoring.alerts.options import Kind

_TIME = pydantic.TypeAdapter(pydantic.AwareDatetime)
_PUBSUB = "google.cloud.pubsub.topic.v1.messagePublished"
_SHORT = Annotated[str, Field(min_length=1, max_length=1024)]


class Malformed(Exception):
    """What came can never be handled.

    Args:
      code: Reason code.
      message: One sentence.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Event:
    """One delivery.

    Attributes:
      source, id: Together the same for every delivery of the same event.
      type: Of a CloudEvent; `http` for plain JSON.
      time: When it happened.
      data: The payload.
    """

    source: str
    id: str
    type: str
    time: datetime.datetime
    data: dict[str, Any]

    @property
    def key(self) -> str:
        return f"{self.source}#{self.id}"

    @property
    def pushed(self) -> bool:
        """Whether a platform delivers it, and would again."""
        return self.type != "http"


def read(headers: Mapping[str, str], body: bytes) -> Event:
    """The event of a request.

    Args:
      headers: Of any case.
      body: As it came.

    Raises:
      Malformed: NOT_JSON, NOT_AN_EVENT.
    """
    headers = {name.lower(): value for name, value in headers.items()}
    if "ce-id" in headers or "ce-source" in headers or "ce-specversion" in headers:
        attributes = {
            name.removeprefix("ce-"): value
            for name, value in headers.items()
            if name.startswith("ce-")
        }
        return _cloud_event(attributes, _object(body))
    content = _object(body)
    if headers.get("content-type", "").startswith("application/cloudevents+json"):
        data = content.pop("data", None)
        if "data_base64" in content:
            data = _object(_decoded(content.pop("data_base64"), "data_base64"))
        if not isinstance(data, dict):
            raise Malformed("NOT_AN_EVENT", "The CloudEvent has no `data` that is an object.")
        return _cloud_event(content, data)
    if content.keys() >= {"message", "subscription"}:
        return _pubsub(content)
    identity = headers.get("idempotency-key") or hashlib.sha256(body).hexdigest()
    time = headers.get("x-cloudscheduler-scheduletime")
    if time:
        identity = f"{headers.get('x-cloudscheduler-jobname', '')}@{time}"
    return Event("http", identity, "http", _time(time), content)


def _cloud_event(attributes: Mapping[str, Any], data: dict[str, Any]) -> Event:
    missing = [n for n in ("id", "source", "type", "specversion") if not attributes.get(n)]
    if missing:
        raise Malformed("NOT_AN_EVENT", f"The CloudEvent has no `{missing[0]}`.")
    if not str(attributes["specversion"]).startswith("1."):
        shown = ascii(str(attributes["specversion"])[:20])
        raise Malformed("NOT_AN_EVENT", f"CloudEvents 1.x are read, not {shown}.")
    if attributes["type"] == _PUBSUB:
        return _pubsub(data)
    return Event(
        str(attributes["source"]),
        str(attributes["id"]),
        str(attributes["type"]),
        _time(attributes.get("time")),
        data,
    )


def _pubsub(envelope: dict[str, Any]) -> Event:
    message = envelope.get("message")
    if not isinstance(message, dict):
        raise Malformed("NOT_AN_EVENT", "The Pub/Sub push has no `message` that is an object.")
    identity = message.get("messageId") or message.get("message_id")
    if not identity:
        raise Malformed("NOT_AN_EVENT", "The Pub/Sub message has no `messageId`.")
    return Event(
        str(envelope.get("subscription", "pubsub")),
        str(identity),
        _PUBSUB,
        _time(message.get("publishTime") or message.get("publish_time")),
        _object(_decoded(message.get("data", ""), "message.data")),
    )


def _decoded(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Malformed("NOT_AN_EVENT", f"`{where}` is not Base64.") from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except RecursionError:
        raise Malformed("NOT_JSON", "The body is nested too deeply.") from None
    except ValueError as error:
        raise Malformed("NOT_JSON", f"The body is not JSON: {error}.") from None
    if not isinstance(content, dict):
        raise Malformed("NOT_JSON", "The body must be a JSON object.")
    return content


def _time(text: Any) -> datetime.datetime:
    if text is None:
        return datetime.datetime.now(datetime.timezone.utc)
    try:
        return _TIME.validate_python(text).astimezone(datetime.timezone.utc)
    except (pydantic.ValidationError, OverflowError):
        message = f"{ascii(str(text)[:40])} is no time with a zone."
        raise Malformed("NOT_AN_EVENT", message) from None


class Payload(pydantic.BaseModel):
    """Base of all payloads."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=False)

    @property
    def identity(self) -> str | None:
        """What makes it the same event however it was sent; None: source and id of the delivery."""
        return None

    @classmethod
    def of(cls, data: dict[str, Any]) -> Any:
        """Checks a payload.

        Raises:
          Malformed: UNKNOWN_KEY, WRONG_VALUE.
        """
        try:
            return cls.model_validate(data)
        except pydantic.ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])[:60]
            close = did_you_mean(name, [f.alias or n for n, f in cls.model_fields.items()])
            raise Malformed("UNKNOWN_KEY", f"Unknown key {ascii(where)}.{close}")
        raise Malformed("WRONG_VALUE", f"`{where}`: {problem['msg']}.")


def _no_boolean(value: Any) -> Any:
    """What pydantic takes for 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")
    return value


class StoredObject(Payload):
    """A finished object: `google.events.cloud.storage.v1.StorageObjectData`.

    Plain HTTP from elsewhere needs bucket, name and size.
    """

    model_config = pydantic.ConfigDict(alias_generator=to_camel)

    bucket: _SHORT
    name: _SHORT
    size: Annotated[int, Field(ge=0), pydantic.BeforeValidator(_no_boolean)]
    generation: int | str = 0
    metageneration: int | str = 0
    updated: pydantic.AwareDatetime | None = None
    time_created: pydantic.AwareDatetime | None = None
    kind: str | None = None
    id: str | None = None
    self_link: str | None = None
    media_link: str | None = None
    etag: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    content_disposition: str | None = None
    content_language: str | None = None
    cache_control: str | None = None
    storage_class: str | None = None
    time_storage_class_updated: pydantic.AwareDatetime | None = None
    time_deleted: pydantic.AwareDatetime | None = None
    time_finalized: pydantic.AwareDatetime | None = None
    retention_expiration_time: pydantic.AwareDatetime | None = None
    custom_time: pydantic.AwareDatetime | None = None
    md5_hash: str | None = None
    crc32c: str | None = Field(None, alias="crc32c")
    component_count: int | None = None
    kms_key_name: str | None = None
    temporary_hold: bool | None = None
    event_based_hold: bool | None = None
    metadata: dict[str, str] | None = None
    owner: dict[str, Any] | None = None
    acl: list[dict[str, Any]] | None = None
    customer_encryption: dict[str, Any] | None = None
    contexts: dict[str, Any] | None = None


class CheckRequest(Payload):
    """Close what windows can be closed. Nothing needs to be said."""

    model: str | None = None
    now: pydantic.AwareDatetime | None = Field(
        None, description="Moment to look from; to look back at a log that was replayed."
    )


class AlertMessage(Payload):
    """What is told: `monitoring.alerts.message.Message` as JSON."""

    title: _SHORT
    text: str
    severity: Literal["info", "warning", "critical"] = "warning"
    facts: dict[str, str] = {}
    next: str = ""
    picture: str | None = None
    key: str = ""
    status: Literal["firing", "resolved"] = "firing"
    id: _SHORT
    time: str = ""


class Alert(Payload):
    """Something is wrong with a model."""

    model: _SHORT
    kind: Kind
    message: AlertMessage

    @property
    def identity(self) -> str:
        return f"alert/{self.model}#{self.message.id}"


class RunFinished(Payload):
    """How a run ended."""

    model: _SHORT
    job: _SHORT
    state: Literal["pushed", "not_blessed", "blocked_by_data", "failed", "unchanged"]
    run_id: str = ""
    version: str | None = None
    reasons: tuple[str, ...] = ()
    seconds: float | None = None
    report: str | None = None

    @property
    def identity(self) -> str:
        return f"run/{self.model}#{self.job}"
