"""Who changed what, and when: a file of JSON lines that is only ever added to."""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class AuditLog:
    """The log of a workspace.

    Attributes:
      path: May not exist yet.
    """

    path: pathlib.Path

    def write(self, user: str, action: str, outcome: str = "done", **details: Any) -> None:
        """Adds an entry, on disk before the answer to the change is sent.

        Args:
          user: Who.
          action: What: `run.start`, `models.rollback` …
          outcome: `done`, or the code of the refusal.
          **details: Plain data: ids, names, what was before.
        """
        entry = {
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
            "user": user,
            "action": action,
            "outcome": outcome,
            "details": details,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self, limit: int = 200) -> list[dict[str, Any]]:
        """The newest entries, newest first."""
        try:
            lines = self.path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in reversed(lines[-limit:]) if line]
