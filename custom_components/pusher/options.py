"""What can be configured about deployment."""

from __future__ import annotations

from pydantic import Field

from models.options import Options


class DeployOptions(Options):
    """Where accepted models go."""

    path: str = Field("deployed", description="Folder of deployed versions, and its pointer.")
