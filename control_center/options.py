"""Where the control center listens, and who may use it."""

from __future__ import annotations

from models.options import Options


class ControlCenterOptions(Options):
    """The web application."""
