"""Exactly one handling per event, whatever is delivered how often.

A claim is a lease: whoever holds it works on the event, another delivery in that time is sent
away to come back later, one after the end is told that all is done, and one after the lease ran
out takes over from a handler that died. What a handler did so far is kept in `progress`, so that
whoever takes over does not do it twice.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
from typing import Any

from cloud_functions.ledger import Document, Ledger

PREFIX = "event/"


class Busy(Exception):
    """Another delivery of the same event is being worked on.

    Args:
      seconds: Until its lease runs out.
    """

    def __init__(self, seconds: float):
        super().__init__(f"this event is being handled; its lease ends in {seconds:.0f} s")
        self.seconds = seconds


class Done(Exception):
    """The event was handled before.

    Args:
      result: What came of it.
    """

    def __init__(self, result: Document):
        super().__init__("this event was handled before")
        self.result = result


@dataclasses.dataclass
class Claim:
    """One event in one handler's hands.

    Attributes:
      attempt: 1 for the first delivery that was worked on.
      progress: What earlier attempts did.
    """

    ledger: Ledger
    key: str
    token: str
    attempt: int
    progress: Document

    def note(self, **progress: Any) -> None:
        """Keeps what was done, for whoever may have to take over."""
        self.progress = {**self.progress, **progress}
        self._change(progress=self.progress)

    def finish(self, result: Document) -> None:
        """Nothing is left to do; further deliveries are duplicates."""
        self._change(state="done", result=result)

    def release(self, error: str, *, failed: bool) -> None:
        """The next delivery may try at once.

        Args:
          error: Why this one did not finish.
          failed: Whether it counts as an attempt.
        """
        attempts = self.attempt if failed else self.attempt - 1
        self._change(state="released", attempts=attempts, error=error)

    def _change(self, **values: Any) -> None:
        def change(found: Document | None) -> tuple[Document | None, None]:
            if found is None or found.get("token") != self.token:
                return None, None  # the lease ran out and another handler has it now
            return {**found, **values}, None

        self.ledger.update(self.key, change)


def claim(ledger: Ledger, key: str, now: datetime.datetime, lease_seconds: float) -> Claim:
    """Takes an event.

    Args:
      ledger: Where claims are kept.
      key: The event's: its source and id.
      now: In UTC.
      lease_seconds: Longest the handling takes.

    Raises:
      Busy: another delivery holds it.
      Done: it was handled before.
    """
    token = secrets.token_hex(8)
    until = (now + datetime.timedelta(seconds=lease_seconds)).isoformat()

    def change(found: Document | None) -> tuple[Document | None, Claim | Exception]:
        found = found or {"state": "new", "first_seen": now.isoformat()}
        if found["state"] == "done":
            return None, Done(found["result"])
        if found["state"] == "claimed":
            left = (datetime.datetime.fromisoformat(found["until"]) - now).total_seconds()
            if left > 0:
                return None, Busy(left)
        attempt = found.get("attempts", 0) + 1
        taken = Claim(ledger, PREFIX + key, token, attempt, found.get("progress", {}))
        kept = {**found, "state": "claimed", "until": until, "token": token, "attempts": attempt}
        return kept, taken

    answer = ledger.update(PREFIX + key, change)
    if isinstance(answer, Exception):
        raise answer
    return answer
