"""What only Kubernetes knows: the second document, `platforms.kubernetes`.

The fields are those of kfp-kubernetes' KubernetesExecutorConfig; `protos` checks them against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.kubeflow.options import ComponentOptions, TolerationOptions, VolumeOptions


def executor_config(
    options: ComponentOptions, volumes: tuple[VolumeOptions, ...] = ()
) -> dict[str, Any]:
    """One component's part, empty when it asks for nothing.

    Args:
      options: Of the component.
      volumes: Besides those in the options.
    """
    config: dict[str, Any] = {}
    as_env = [
        {
            "secretName": secret.name,
            "keyToEnv": [
                {"secretKey": key, "envVar": variable}
                for variable, key in sorted(secret.env.items())
            ],
        }
        for secret in options.secrets
        if secret.env
    ]
    as_volume = [
        {"secretName": secret.name, "mountPath": secret.mount}
        for secret in options.secrets
        if secret.mount
    ]
    mounts = [
        {"constant": volume.claim, "mountPath": volume.mount}
        for volume in options.volumes + volumes
    ]
    for key, value in (
        ("secretAsEnv", as_env),
        ("secretAsVolume", as_volume),
        ("pvcMount", mounts),
        ("nodeSelector", {"labels": dict(options.node_selector)} if options.node_selector else {}),
        ("tolerations", [_toleration(t) for t in options.tolerations]),
    ):
        if value:
            config[key] = value
    if options.timeout_seconds:
        # A 64-bit integer is a string in protobuf's JSON.
        config["activeDeadlineSeconds"] = str(options.timeout_seconds)
    return config


def document(executors: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The second document; None when no executor asks for anything.

    Args:
      executors: Label to what `executor_config` says.
    """
    asked = {label: config for label, config in executors.items() if config}
    if not asked:
        return None
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": asked}}}}


def _toleration(options: TolerationOptions) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "key": options.key,
        "operator": options.operator,
        "value": options.value,
        "effect": options.effect,
    }
    fields = {key: value for key, value in fields.items() if value}
    if options.seconds is not None:
        fields["tolerationSeconds"] = str(options.seconds)
    return fields
