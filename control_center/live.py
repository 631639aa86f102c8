"""A run as it happens, read from what its worker writes: no worker is ever asked.

So it does not matter who started the run, or whether this process was there when
it began.
"""

from __future__ import annotations

import json
from typing import Any

from pipeline.workspace import RunFolder

_CHUNK = 64_000


class Follower:
    """Reads a run's events and log from where it stopped the last time.

    Args:
      folder: Of the run.
      log_offset: Byte of the log to begin at.
    """

    def __init__(self, folder: RunFolder, log_offset: int = 0):
        self._folder = folder
        self._events_offset = 0
        self.log_offset = log_offset
        self.snapshot: dict[str, Any] = {
            "components": [],
            "doing": "starting",
            "step": None,
            "time": None,
        }

    def advance(self) -> bool:
        """Takes in new events; whether anything changed."""
        data, self._events_offset = _read_lines(self._folder.events, self._events_offset)
        changed = False
        for line in data.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                fold(self.snapshot, event)
                changed = True
        return changed

    def log(self) -> str:
        """New whole lines of the log, at most 64 kB at a time."""
        data, self.log_offset = _read_lines(self._folder.log, self.log_offset)
        return data


def fold(snapshot: dict[str, Any], event: dict[str, Any]) -> None:
    """Puts one event into the picture of the run."""
    kind, when = event["event"], event.get("time")
    snapshot["time"] = when
    components = {c["name"]: c for c in snapshot["components"]}
    if kind == "components":
        snapshot["components"] = [
            {"name": name, "state": "waiting", "seconds": None, "since": None}
            for name in event["names"]
        ]
        snapshot["doing"] = ""
    elif kind == "component" and event["name"] in components:
        component = components[event["name"]]
        component["state"] = event["state"]
        component["seconds"] = event.get("seconds")
        component["since"] = when if event["state"] == "running" else None
        snapshot["doing"], snapshot["step"] = "", None
    elif kind == "doing":
        snapshot["doing"], snapshot["step"] = event["text"], None
    elif kind == "step":
        snapshot["doing"] = event["text"]
        snapshot["step"] = {"done": event["done"], "total": event["total"]}


def tail(folder: RunFolder, size: int = 20_000) -> tuple[str, int]:
    """The end of the log from a line's beginning, and the byte after it."""
    try:
        with open(folder.log, "rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - size))
            data = file.read(size)
    except OSError:
        return "", 0
    if end > size:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace"), end


def _read_lines(path: Any, offset: int) -> tuple[str, int]:
    """Whole lines from an offset on, and where they end."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(_CHUNK)
    except OSError:
        return "", offset
    end = data.rfind(b"\n") + 1
    if not end and len(data) == _CHUNK:
        end = _CHUNK  # one endless line: in pieces
    return data[:end].decode("utf-8", "replace"), offset + end
