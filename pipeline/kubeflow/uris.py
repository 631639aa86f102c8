"""Addresses in an object store and where a task finds them as files.

The launcher of Kubeflow Pipelines downloads a task's inputs to, and uploads its outputs from,
folders named after the store; on Vertex, /gcs is mounted. TensorFlow, Beam and plain Python read
the folders, and none of them reads `minio://`.
"""

from __future__ import annotations

from typing import Any

#: Scheme to folder, as the launcher has it.
MOUNTS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


def to_path(text: str) -> str:
    """`minio://bucket/x` as `/minio/bucket/x`; anything else unchanged."""
    for scheme, folder in MOUNTS.items():
        if text.startswith(scheme):
            return folder + text.removeprefix(scheme)
    return text


def to_uri(text: str) -> str:
    """`/minio/bucket/x` as `minio://bucket/x`; anything else unchanged."""
    for scheme, folder in MOUNTS.items():
        if text.startswith(folder):
            return scheme + text.removeprefix(folder)
    return text


def paths_in(value: Any) -> Any:
    """The same JSON value with every string that is an address as a path."""
    return _each_string(value, to_path)


def uris_in(value: Any) -> Any:
    """The same JSON value with every string that is such a path as an address."""
    return _each_string(value, to_uri)


def _each_string(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_string(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _each_string(item, change) for key, item in value.items()}
    return value
