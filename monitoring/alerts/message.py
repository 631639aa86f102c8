"""What people are told: one message, and what became of sending it."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import uuid
from typing import Any, Literal

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
Status = Literal["firing", "resolved"]


def rank(severity: Severity) -> int:
    """Its place from `info` 0 to `critical` 2."""
    return SEVERITIES.index(severity)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@dataclasses.dataclass(frozen=True)
class Message:
    """One alert, ready for any channel.

    Attributes:
      title: One line.
      text: What, where, why; plain text.
      severity: How bad.
      facts: Name to value, as short rows.
      next: The command, or the step, to look further.
      picture: A PNG, e.g. the two distributions; channels that cannot show one leave it out.
      key: What it is about, the same for every message about it (an incident's id).
      status: `resolved` when the matter is over.
      id: Of this message: the same when it is sent again, so that a receiver can tell.
      time: When it was made, ISO 8601 in UTC.
    """

    title: str
    text: str
    severity: Severity = "warning"
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    next: str = ""
    picture: bytes | None = None
    key: str = ""
    status: Status = "firing"
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    time: str = dataclasses.field(default_factory=_now)

    def to_dict(self, picture: bool = False) -> dict[str, Any]:
        """JSON-ready.

        Args:
          picture: Whether the picture comes along, in base64.
        """
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        image = content.pop("picture")
        if picture and image is not None:
            content["picture"] = base64.b64encode(image).decode("ascii")
        return content

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Message:
        """What `to_dict` wrote."""
        image = data.get("picture")
        return cls(**{**data, "picture": base64.b64decode(image) if image else None})


@dataclasses.dataclass(frozen=True)
class Delivery:
    """What became of one message on one channel.

    Attributes:
      channel: Its name.
      state: `sent`; `skipped` when the channel does not take this severity; `failed` when every
        attempt did.
      attempts: How often it was tried.
      error: Why it failed; holds no address and no secret.
    """

    channel: str
    state: Literal["sent", "skipped", "failed"]
    attempts: int = 0
    error: str = ""
