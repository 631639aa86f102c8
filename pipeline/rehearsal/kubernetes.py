"""What only Kubernetes knows about a task: volumes, secrets, its deadline."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from pipeline.rehearsal.values import TaskError


@dataclasses.dataclass(frozen=True)
class Pod:
    """The part of a task's platform spec that changes what the task sees.

    Attributes:
      volumes: Folder in the task to the name of its persistent volume claim.
      scratch: Folders that begin empty and end with the task.
      environment: Variables from secrets and config maps.
      deadline: Seconds after which the task is ended; None without one.
      notes: What is treated otherwise than a cluster would, in words.
    """

    volumes: dict[str, str]
    scratch: tuple[str, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    deadline: float | None = None
    notes: tuple[str, ...] = ()


def pod(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> Pod:
    """Reads one executor's entry of `platforms.kubernetes`.

    The value of a secret or config map is taken from this process's variable of the same name.

    Args:
      config: The entry; `{}` without one.
      parameters: Input parameters of the enclosing DAG.

    Raises:
      TaskError: UNSUPPORTED_VOLUME.
    """
    volumes = {
        mount["mountPath"]: _claim(mount, parameters) for mount in config.get("pvcMount", ())
    }
    environment, notes = {}, []
    for kind, key in (("secretAsEnv", "secretKey"), ("configMapAsEnv", "configMapKey")):
        for source in config.get(kind, ()):
            for pair in source.get("keyToEnv", ()):
                name = pair["envVar"]
                if name in os.environ:
                    environment[name] = os.environ[name]
                elif not source.get("optional"):
                    notes.append(
                        f"{name} is not set: on the cluster it comes from `{pair[key]}` of "
                        f"`{source.get('secretName') or source.get('configMapName') or 'a secret'}`"
                    )
    empty: list[str] = []
    for kind in ("secretAsVolume", "configMapAsVolume"):
        for source in config.get(kind, ()):
            notes.append(f"{source['mountPath']} is empty: secrets as files are not rehearsed")
            empty.append(source["mountPath"])
    scratch = empty + [mount["mountPath"] for mount in config.get("emptyDirMounts", ())]
    scratch += [mount["mountPath"] for mount in config.get("genericEphemeralVolume", ())]
    seconds = float(config.get("activeDeadlineSeconds", 0))
    return Pod(volumes, tuple(scratch), environment, seconds or None, tuple(notes))


def _claim(mount: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Name of a mounted claim: a constant, or an input of the pipeline."""
    if mount.get("constant"):
        return _named(mount["constant"])
    spec = mount.get("pvcNameParameter", {})
    constant = spec.get("runtimeValue", {}).get("constant")
    if constant:
        return _named(constant)
    source = mount.get("componentInputParameter") or spec.get("componentInputParameter")
    if source and parameters.get(source):
        return _named(parameters[source])
    raise TaskError(
        "UNSUPPORTED_VOLUME",
        f"The volume claim mounted at `{mount.get('mountPath')}` gets its name from another task.",
        next="A rehearsal knows claims named by a constant or by an input of the pipeline.",
    )


def _named(name: str) -> str:
    if "/" in name or name in (".", ".."):
        raise TaskError("UNSUPPORTED_VOLUME", f"`{name}` is no name of a volume claim.")
    return name
