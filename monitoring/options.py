"""How the deployed model is watched."""

from __future__ import annotations

from models.options import Options


class MonitoringOptions(Options):
    """Windows, measures and thresholds."""
