"""Artifacts as Kubeflow hands them to a task and takes them back.

They are RuntimeArtifacts in JSON. Open-source Kubeflow Pipelines empties the types of inputs (its
local runner makes them a general one of its own), wraps lists and dicts in metadata, knows no null,
no truth values and no NaN, and speaks of addresses where a task has folders.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.kubeflow import uris

#: How the backend wraps what its metadata store has no type for.
_WRAPPERS = ("list", "struct")
#: The launcher adds it to the outputs where it is set up to keep logs, and writes it meanwhile.
_LAUNCHERS_LOG = "executor-logs"
#: Of an artifact that stands for "there is none yet".
PRESENT = "present"


def localize_inputs(artifacts: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as TFX expects them: typed, unwrapped, with paths; absent ones dropped.

    Args:
      artifacts: Key to `{"artifacts": [RuntimeArtifact]}`.
      definitions: `artifacts` of the component's input definitions: the types.
    """
    found = {}
    for key, entry in artifacts.items():
        kept = []
        for artifact in entry.get("artifacts", ()):
            local = _localize(artifact)
            if not _is_typed(artifact) and key in definitions:
                local["type"] = definitions[key]["artifactType"]
            if local.get("metadata", {}).get(PRESENT) != 0:
                kept.append(local)
        if kept:
            found[key] = {"artifacts": kept}
    return found


def localize_outputs(artifacts: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs with paths instead of addresses; the launcher's own is left to the launcher."""
    return {
        key: {"artifacts": [_localize(artifact) for artifact in entry.get("artifacts", ())]}
        for key, entry in artifacts.items()
        if key != _LAUNCHERS_LOG
    }


def publish_outputs(artifacts: Mapping[str, Any]) -> dict[str, Any]:
    """What a component left, as the backend takes it.

    Args:
      artifacts: Key to `{"artifacts": [RuntimeArtifact]}`, with paths.
    """
    published = {}
    for key, entry in artifacts.items():
        published[key] = {"artifacts": []}
        for artifact in entry.get("artifacts", ()):
            metadata = {
                name: _plain(value)
                for name, value in artifact.get("metadata", {}).items()
                if value is not None
            }
            published[key]["artifacts"].append(
                {**artifact, "uri": uris.to_uri(artifact["uri"]), "metadata": metadata}
            )
    return published


def _is_typed(artifact: Mapping[str, Any]) -> bool:
    """Whether the type says anything: it may be `{}`, `{"instanceSchema": ""}`, or KFP's own."""
    said = [value for value in (artifact.get("type") or {}).values() if value]
    return bool(said) and not (artifact["type"].get("schemaTitle") or "").startswith("system.")


def _localize(artifact: Mapping[str, Any]) -> dict[str, Any]:
    local = {**artifact, "uri": uris.to_path(artifact.get("uri", ""))}
    if "metadata" in artifact:
        local["metadata"] = {
            name: uris.paths_in(_unwrapped(value)) for name, value in artifact["metadata"].items()
        }
    return local


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _WRAPPERS:
        return next(iter(value.values()))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return uris.uris_in(value)
