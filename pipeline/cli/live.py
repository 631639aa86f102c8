"""The run as it happens: one line per component, epochs as a bar."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.cli.output import err

_MARKS = {
    "complete": Text("✓", style="green"),
    "cached": Text("=", style="blue"),
    "failed": Text("✗", style="red"),
    "waiting": Text("·", style="dim"),
}


class LiveRun:
    """Draws events while they come; silent when stderr is not a terminal.

    Use as a context manager and call `handle` with each event.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._state: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self._current: str | None = None
        self._since = time.monotonic()
        self._doing = "starting"
        self._step: tuple[int, int] | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            get_renderable=self._render, console=err, refresh_per_second=8, transient=False
        )

    def __enter__(self) -> LiveRun:
        if err.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._current, self._doing = None, ""
        if err.is_terminal:
            self._live.stop()

    def handle(self, event: dict[str, Any]) -> None:
        """Takes one event of the run."""
        kind = event["event"]
        if kind == "components":
            self._names = event["names"]
        elif kind == "component":
            name, state = event["name"], event["state"]
            self._state[name] = state
            if state == "running":
                self._current, self._since = name, time.monotonic()
            else:
                self._current, self._seconds[name] = None, event["seconds"]
                self._since = time.monotonic()
            self._doing, self._step = "", None
        elif kind == "doing":
            self._doing, self._step = event["text"], None
        elif kind == "step":
            self._doing, self._step = event["text"], (event["done"], event["total"])

    def _render(self) -> Group:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(width=16)
        table.add_column(width=8, justify="right")
        table.add_column()
        for name in self._names:
            state = self._state.get(name, "waiting")
            if state == "running":
                table.add_row(self._spinner, Text(name, "bold"), self._elapsed(), self._detail())
            else:
                seconds = f"{self._seconds[name]:.1f} s" if name in self._seconds else ""
                note = {"cached": "unchanged, reused", "failed": "stopped here"}.get(state, "")
                style = "dim" if state == "waiting" else ""
                table.add_row(_MARKS[state], Text(name, style), seconds, Text(note, "dim"))
        if self._current is None and self._doing:
            table.add_row(self._spinner, "", self._elapsed(), self._detail())
        return Group(table)

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._since:.1f} s"

    def _detail(self) -> Table | Text:
        if not self._step or self._step[1] <= 0:
            return Text(self._doing, "cyan")
        done, total = self._step
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=total, completed=done, width=24),
            Text(f"{done:,}/{total:,}", "dim"),
            Text(self._doing, "cyan"),
        )
        return bar
