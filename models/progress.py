"""What a component is doing right now, for whoever watches the run.

Components call `emit`; the process that runs the pipeline names a file of JSON
lines in the environment variable FLYWHEEL_EVENTS, and watchers follow it. With
no such file the calls cost nothing, so components stay usable in anyone's
pipeline.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

EVENTS_VARIABLE = "FLYWHEEL_EVENTS"


def emit(event: str, **fields: Any) -> None:
    """Appends one event.

    Args:
      event: `doing` (fields: `text`), `step` (fields: `text`, `done`, `total`),
        or one of the runner's own: `run`, `component`.
      **fields: JSON-serialisable details.
    """
    path = os.environ.get(EVENTS_VARIABLE)
    if not path:
        return
    line = json.dumps({"time": time.time(), "event": event, **fields})
    with open(path, "a", encoding="utf-8") as events:
        events.write(line + "\n")


def doing(text: str) -> None:
    """Says in a few words what happens now: `reading 15,002 rows`."""
    emit("doing", text=text)


def step(text: str, done: int, total: int, **fields: Any) -> None:
    """Says how far a counted piece of work is: `teacher`, epoch 3 of 14."""
    emit("step", text=text, done=done, total=total, **fields)
