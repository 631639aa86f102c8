"""Processes of our own code: where they find it."""

from __future__ import annotations

import os
import pathlib

_CODE = pathlib.Path(__file__).resolve().parent.parent


def environment(**more: str) -> dict[str, str]:
    """This process's environment for one that runs `python -m` of this very code, from any folder.

    Args:
      **more: Further variables.
    """
    path = os.pathsep.join(filter(None, [str(_CODE), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}
