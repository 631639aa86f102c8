"""Where files go: stores that tasks cannot reach, and places that end with the pod."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.executors import STOCK_ENTRYPOINT
from pipeline.kubeflow.lint.parsed import Parsed, Task

_SCHEMES = ("gs://", "minio://", "s3://")


def check(parsed: Parsed) -> list[Finding]:
    """The pipeline root, what is deployed, and modules that travel through the root."""
    return list(_check(parsed))


def _check(parsed: Parsed) -> Iterator[Finding]:
    root = parsed.root
    if root and not root.startswith(_SCHEMES):
        yield Finding(
            "error",
            "UNKNOWN_STORE",
            "defaultPipelineRoot",
            f"The pipeline root `{root}` is in no store that Kubeflow Pipelines knows "
            f"({', '.join(_SCHEMES)}).",
            "Set `kubeflow.pipeline_root`.",
        )
    for task in parsed.tasks():
        words = [*task.container.get("command", ()), *task.container.get("args", ())]
        if STOCK_ENTRYPOINT in words and not root.startswith("gs://"):
            yield Finding(
                "error",
                "UNREADABLE_STORE",
                "deploymentSpec.executors",
                "TensorFlow and Beam cannot read `minio://` or `s3://`, and TFX's own entrypoint "
                "hands them these addresses of inputs and outputs.",
                "Use `python -m pipeline.kubeflow_entrypoint` as the command: it maps addresses to "
                "the folders that the launcher fills.",
            )
        yield from _deployed(parsed, task)
        yield from _module(task)


def _deployed(parsed: Parsed, task: Task) -> Iterator[Finding]:
    for key in ("registry", "push_destination"):
        place = _folder(task.constant(key))
        if not place or "://" in place:
            continue
        config = parsed.kubernetes.get(task.component.get("executorLabel", ""), {})
        mounts = [mount.get("mountPath", "") for mount in config.get("pvcMount", ())]
        if any(mount and pathlib.PurePath(place).is_relative_to(mount) for mount in mounts):
            continue
        yield Finding(
            "error",
            "INSIDE_POD",
            f"{task.where}.inputs.parameters.{key}",
            f"`{task.name}` keeps deployed models in `{place}`, inside its pod: they end with it.",
            "Mount a volume there (`kubeflow.registry.claim`), or name a bucket.",
        )


def _folder(value: Any) -> str:
    """A path as it is, or within the JSON of TFX's PushDestination."""
    if not isinstance(value, str):
        return ""
    if not value.lstrip().startswith("{"):
        return value
    try:
        system = json.loads(value).get("filesystem", {})
    except ValueError:
        return ""
    return system.get("base_directory", system.get("baseDirectory", ""))


def _module(task: Task) -> Iterator[Finding]:
    for key in ("module_file", "module_path"):
        value = task.constant(key)
        if isinstance(value, str) and value not in ("", "null"):
            yield Finding(
                "error",
                "USER_MODULE",
                f"{task.where}.inputs.parameters.{key}",
                f"`{task.name}` installs its code from `{value[:80]}` when it runs: a file that "
                "was made where the pipeline was compiled, and that no launcher downloads.",
                "Put the code into the image and name the function: "
                "`run_fn='package.module.run_fn'`.",
            )
