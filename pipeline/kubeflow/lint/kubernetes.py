"""The second document: what it says must be about executors that exist."""

from __future__ import annotations

from models.text import did_you_mean
from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.parsed import Parsed


def check(parsed: Parsed) -> list[Finding]:
    """Settings for nobody, mounts without a path."""
    found = []
    for label, config in parsed.kubernetes.items():
        where = f"platforms.kubernetes.deploymentSpec.executors.{label}"
        if label not in parsed.executors:
            found.append(
                Finding(
                    "error",
                    "PLATFORM_FOR_NOBODY",
                    where,
                    f"The platform document has settings for `{label}`, and no executor is called "
                    f"so: they would be ignored without a word."
                    f"{did_you_mean(label, parsed.executors)}",
                    "Use the labels in `deploymentSpec.executors`.",
                )
            )
        for key in ("pvcMount", "secretAsVolume"):
            for mount in config.get(key, ()):
                if not mount.get("mountPath", "").startswith("/"):
                    found.append(
                        Finding(
                            "error",
                            "NO_MOUNT_PATH",
                            f"{where}.{key}",
                            f"A volume of `{label}` is mounted at "
                            f"`{mount.get('mountPath', '')}`, which is no absolute path.",
                            "Set `mountPath`.",
                        )
                    )
    return found
