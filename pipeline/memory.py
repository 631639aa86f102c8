"""The most memory that a run's processes hold, component by component."""

from __future__ import annotations

import threading
from typing import Any

import psutil

_SAMPLE_SECONDS = 0.5


class Sampler:
    """Watches a worker and its children until it is stopped.

    Args:
      pid: Of the worker.

    Attributes:
      peaks: Component to the most bytes held at one moment while it ran.
    """

    def __init__(self, pid: int):
        self.peaks: dict[str, int] = {}
        self._current = ""
        self._ended = threading.Event()
        self._pid = pid
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def handle(self, event: dict[str, Any]) -> None:
        """Takes note of which component is at work, and looks once more at the one that ended."""
        if event["event"] == "component":
            if event["state"] != "cached":
                self._look()
            self._current = event["name"] if event["state"] == "running" else ""

    def stop(self) -> None:
        """Ends the watch."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        name = self._current
        held = resident(self._pid) if name else 0
        if held:
            self.peaks[name] = max(self.peaks.get(name, 0), held)


def resident(pid: int) -> int:
    """Bytes that a process and its children hold; 0 when it is gone."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            try:
                total += each.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        return total
    return total
