"""How the pipeline is compiled for Kubeflow and Vertex."""

from __future__ import annotations

from models.options import Options


class KubeflowOptions(Options):
    """What a cluster needs to know."""
