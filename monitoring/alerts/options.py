"""Who is told what, and when."""

from __future__ import annotations

from models.options import Options


class AlertOptions(Options):
    """Rules and channels."""
