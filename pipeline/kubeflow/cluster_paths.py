"""The config as it holds in a cluster: there, the paths of this machine mean nothing."""

from __future__ import annotations

import pathlib

from custom_components.example_gen import demo
from models.errors import ConfigError
from pipeline.config import Config
from pipeline.kubeflow.options import KubeflowOptions


def in_cluster(config: Config) -> Config:
    """The same config with every path as tasks see it.

    Raises:
      ConfigError: PATH_NOT_IN_CLUSTER for a file that no task could read.
    """
    options = config.kubeflow
    data = options.data or config.data.path
    if "://" not in data:  # ExampleGen's task downloads from buckets
        _check(data, "data.path", "ExampleGen", options, "Set `kubeflow.data` to a bucket or to")
    for path, key, component in (
        (config.distillation.extra_data, "distillation.extra_data", "Distiller"),
        (config.validation.schema_path, "validation.schema_path", "ImportSchemaGen"),
    ):
        if path:
            _check(path, key, component, options, "Name")
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"path": data}),
            "deploy": config.deploy.model_copy(update={"path": options.registry.path}),
        }
    )


def _check(path: str, key: str, component: str, options: KubeflowOptions, mend: str) -> None:
    if path.startswith(demo.PREFIX):
        return
    mounts = [volume.mount for volume in options.of(component).volumes]
    if any(pathlib.PurePath(path).is_relative_to(mount) for mount in mounts):
        return
    where = f"the volumes of {component} ({', '.join(mounts)})" if mounts else "any volume"
    raise ConfigError(
        "PATH_NOT_IN_CLUSTER",
        f"`{key}` is `{path}`, which is not under {where}: no task could read it.",
        next=f"{mend} a path under one of `kubeflow.components.{component}.volumes`.",
    )
