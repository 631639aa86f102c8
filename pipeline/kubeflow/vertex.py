"""What Vertex AI Pipelines does not know."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.options import ComponentOptions

#: Settings that need Kubernetes.
_KUBERNETES_ONLY = ("timeout_seconds", "secrets", "volumes", "node_selector", "tolerations")


def ignored(config: Config) -> list[Finding]:
    """Settings that a file for Vertex cannot hold, one warning for each."""
    options = config.kubeflow
    places: dict[str, ComponentOptions] = {"defaults": options.defaults}
    places |= {f"components.{name}": own for name, own in options.components.items()}
    return [
        Finding(
            "warning",
            "VERTEX_IGNORES",
            f"kubeflow.{place}.{key}",
            f"`kubeflow.{place}.{key}` is not in the file: Vertex has no such setting.",
            "Remove it, or compile for Kubeflow Pipelines with `--target kfp`.",
        )
        for place, own in places.items()
        for key in _KUBERNETES_ONLY
        if getattr(own, key)
    ]
