"""How the model is served, and what may start a run by itself."""

from __future__ import annotations

from models.options import Options


class ServingOptions(Options):
    """The predict function."""


class AutomationOptions(Options):
    """The functions that react to events, and their brakes."""
