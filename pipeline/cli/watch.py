"""`flywheel run --watch`: again whenever the config or the data change."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.markup import escape

from models.errors import ConfigError, FlywheelError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.launch import Prepared

_POLL_SECONDS = 0.25


def watch(
    file: pathlib.Path,
    settings: Callable[[], Config],
    once: Callable[[Config, Prepared | None], object],
) -> None:
    """Runs now, and again after every change; Ctrl-C ends it.

    Polling, not notifications of the file system: those do not reach network mounts and
    containers' volumes.

    Args:
      file: The config file.
      settings: Reads it.
      once: Runs a config, in a process that imported everything while nothing changed.
    """
    from pipeline.cli.output import err, show_error
    from pipeline.launch import Prepared

    prepared: Prepared | None = None
    while True:
        data: str | None = None
        before = _state(file, data)
        try:
            config = settings()
            data = config.data.path
            before = _state(file, data)
            once(config, prepared)
            prepared = Prepared(config.engine)
        except FlywheelError as error:  # a mistake in the config, and the next save may mend it
            show_error(error, as_json=False, debug=False)
        what = f"{file} and {data}" if data else str(file)
        err.print(f"\n[dim]watching {escape(what)}; Ctrl-C ends[/]", soft_wrap=True)
        while _settled(file, data) == before:
            pass


def _settled(file: pathlib.Path, data: str | None) -> tuple[object, ...]:
    """The state after nothing has been written for a moment."""
    state = _state(file, data)
    while True:
        time.sleep(_POLL_SECONDS)
        state, last = _state(file, data), state
        if state == last:
            return state


def _state(file: pathlib.Path, data: str | None) -> tuple[object, ...]:
    """Sizes and times of the config file and of every file of the data."""
    from custom_components.example_gen.files import find_files

    paths = [str(file)]
    try:
        paths += [each.path for each in find_files(data)] if data else []
    except ConfigError:
        pass  # no data now is a state as well
    return tuple(_stat(path) for path in paths)


def _stat(path: str) -> tuple[object, ...]:
    try:
        stat = os.stat(path)
    except OSError:
        return (path,)
    return (path, stat.st_size, stat.st_mtime_ns)
