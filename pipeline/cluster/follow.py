"""Watches a run on a cluster until it ends."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.cluster.transport import Unavailable

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_EXIT_CODES = {"SUCCEEDED": 0, "SKIPPED": 0}


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of a run as the cluster tells it.

    Attributes:
      name: Its component's name.
      state: KFP's runtime state: PENDING, RUNNING, SUCCEEDED, FAILED, …
      seconds: From start to end, or until now; None before the start.
      error: What the cluster says about its failure, `''` otherwise.
    """

    name: str
    state: str
    seconds: float | None
    error: str


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
      state: Of the run.
      tasks: Of those that have begun, in order of their start.
      silent_seconds: Since when the cluster gives no answer; 0 when it does.
      error: What the cluster says about the run's failure.
    """

    state: str
    tasks: tuple[Task, ...]
    silent_seconds: float = 0.0
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def exit_code(self) -> int:
        return _EXIT_CODES.get(self.state, 1)


def follow(
    look: Callable[[], Progress], *, every_seconds: float = 5.0, patience_seconds: float = 600.0
) -> Iterator[Progress]:
    """Tells how far a run is until it ends.

    A cluster that does not answer for a while does not end a run, nor this.

    Args:
      look: Asks the cluster once.
      every_seconds: Between two looks.
      patience_seconds: Longest silence of the cluster.

    Raises:
      Unavailable: after a silence longer than that.
      ClusterError: when the cluster refuses.
    """
    last, heard = Progress("PENDING", ()), time.monotonic()
    while True:
        try:
            last = look()
            heard = time.monotonic()
        except Unavailable:
            silent = time.monotonic() - heard
            if silent > patience_seconds:
                raise
            last = dataclasses.replace(last, silent_seconds=silent)
        yield last
        if last.ended:
            return
        time.sleep(every_seconds)


def read_progress(run: Any) -> Progress:
    """A run's state as the API answers it, in our terms."""
    details = (run.run_details.task_details if run.run_details else None) or []
    tasks = [
        Task(
            name=task.display_name,
            state=task.state or "PENDING",
            seconds=_seconds(task.start_time, task.end_time),
            error=(task.error.message or "") if task.error else "",
        )
        for task in sorted(details, key=lambda t: _timestamp(t.start_time or t.create_time))
        if _is_component(task)
    ]
    error = (run.error.message or "") if run.error else ""
    return Progress(run.state or "PENDING", tuple(tasks), error=error)


def _is_component(task: Any) -> bool:
    """Whether it is one of the pipeline's own tasks, not a pod of the backend's."""
    name = task.display_name or ""
    return bool(name) and name not in ("root", "executor") and not name.endswith("-driver")


def _timestamp(moment: Any) -> float:
    return moment.timestamp() if moment else float("inf")


def _seconds(start: Any, end: Any) -> float | None:
    # The API says 1970 for what has not happened.
    if not start or start.timestamp() <= 0:
        return None
    finished = end.timestamp() if end and end.timestamp() > 0 else time.time()
    return max(0.0, finished - start.timestamp())
