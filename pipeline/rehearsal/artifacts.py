"""Artifacts between tasks: what ML Metadata keeps of them, and what the next task gets."""

from __future__ import annotations

import hashlib
from typing import Any

from pipeline.rehearsal.backends import Backend
from pipeline.rehearsal.values import TaskError, to_json

#: What Kubeflow Pipelines adds to an artifact when it records it.
_SESSION = to_json({"Provider": "", "Params": None})


def merged(declared: dict[str, Any], said: dict[str, Any] | None) -> dict[str, Any]:
    """An output as provisioned, with what the task said about it in its executor output."""
    result = dict(declared)
    for key in ("uri", "customPath"):
        if (said or {}).get(key):
            result[key] = said[key]
    metadata = {**declared.get("metadata", {}), **(said or {}).get("metadata", {})}
    if metadata:
        result["metadata"] = metadata
    return result


def recorded(output: str, artifact: dict[str, Any], backend: Backend) -> dict[str, Any]:
    """What is kept of an output artifact once its task succeeded.

    Raises:
      TaskError: METADATA_TYPE for what ML Metadata cannot hold.
    """
    metadata = artifact.get("metadata", {})
    if not backend.keeps_metadata:
        metadata = {key: _round_trip(output, key, item) for key, item in metadata.items()}
        metadata.setdefault("display_name", output)
        metadata.setdefault("store_session_info", _SESSION)
    return {
        "name": identity(artifact["uri"]),
        "uri": artifact["uri"],
        "type": artifact.get("type", {}),
        "metadata": metadata,
    }


def handed_over(
    artifact: dict[str, Any], backend: Backend, *, through_dag: bool = False
) -> dict[str, Any]:
    """The artifact as it reaches the task that reads it.

    Args:
      artifact: As `recorded`.
      backend: Whose rules hold.
      through_dag: Whether it came in as an input of the enclosing DAG.
    """
    result = {key: artifact[key] for key in ("name", "uri", "metadata")}
    if backend.keeps_types:
        return {**result, "type": artifact["type"]}
    return result if through_dag else {**result, "type": {"instanceSchema": ""}}


def identity(uri: str) -> str:
    """A number that stands for an artifact: the same for the same place only."""
    return str(int(hashlib.sha256(uri.encode()).hexdigest()[:12], 16))


def _round_trip(output: str, key: str, value: Any) -> Any:
    """A metadata value after ML Metadata: numbers are doubles, lists and structs are wrapped."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return {"list": value}
    if isinstance(value, dict):
        return {"struct": value}
    raise TaskError(
        "METADATA_TYPE",
        f"The metadata `{key}` of output `{output}` is null, which ML Metadata cannot keep: the "
        "backend fails the task after it has run.",
        next="Leave the key out, or give it a value.",
    )
