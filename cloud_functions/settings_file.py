"""Where a function finds its settings: one JSON file, and environment variables for places."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from typing import TypeVar

from models.errors import ConfigError

FILE = "settings.json"
ENVIRONMENT = "FLYWHEEL_SETTINGS"
#: Environment variables that say where things are on the machine of the function.
PLACES = {
    "FLYWHEEL_DEPLOYED": "deployed",
    "FLYWHEEL_LOG": "log",
    "FLYWHEEL_STORE": "store",
    "FLYWHEEL_LEDGER": "ledger",
    "FLYWHEEL_INBOX": "inbox",
}
T = TypeVar("T")


def places() -> dict[str, str]:
    """What the environment says: keys as in `PLACES`' values."""
    return {key: os.environ[name] for name, key in PLACES.items() if os.environ.get(name)}


def load(parse: Callable[[bytes], T]) -> T:
    """The file as it is now; read again when it changed.

    Args:
      parse: Makes settings of its content; a ValueError of it says what is wrong there.

    Raises:
      ConfigError: NO_SETTINGS, WRONG_VALUE.
    """
    path = pathlib.Path(os.environ.get(ENVIRONMENT) or FILE)
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        raise ConfigError(
            "NO_SETTINGS",
            f"There is no `{path}`, which says where the model and the log are.",
            next="`flywheel functions build` writes it beside main.py; another place goes into "
            f"the environment variable {ENVIRONMENT}.",
        ) from None
    return _read(parse, path, changed)


@functools.lru_cache(1)
def _read(parse: Callable[[bytes], T], path: pathlib.Path, changed: int) -> T:
    try:
        return parse(path.read_bytes())
    except ValueError as error:
        raise ConfigError(
            "WRONG_VALUE",
            f"`{path}` cannot be used: {error}.",
            next="Write it again with `flywheel functions build`.",
        ) from None
