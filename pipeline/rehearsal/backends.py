"""Where Kubeflow Pipelines and Vertex differ in how they treat a task."""

from __future__ import annotations

import dataclasses

#: What each scheme's objects are mirrored to inside of a task.
LOCAL_ROOTS = {"minio://": "/minio/", "s3://": "/s3/", "gs://": "/gcs/"}


@dataclasses.dataclass(frozen=True)
class Backend:
    """One backend's rules.

    Attributes:
      name: `kfp` or `vertex`.
      keeps_types: Whether input artifacts reach a task with the type they were declared with.
        Kubeflow Pipelines hands over an empty one.
      keeps_metadata: Whether metadata keeps its types. Kubeflow Pipelines sends it through ML
        Metadata, which knows strings, integers and doubles.
      succeeded: State of a task that ended well, as an exit handler reads it.
      untold: State of a DAG in which a task ended without its launcher saying so: past its
        deadline, or because its driver failed. Kubeflow Pipelines leaves it as it was.
      schemes: What the pipeline root may begin with.
      executors: Executors that can run.
    """

    name: str
    keeps_types: bool
    keeps_metadata: bool
    succeeded: str
    untold: str
    schemes: tuple[str, ...]
    executors: tuple[str, ...] = ("container", "importer")


KFP = Backend("kfp", False, False, "COMPLETE", "RUNNING", tuple(LOCAL_ROOTS))
VERTEX = Backend("vertex", True, True, "SUCCEEDED", "FAILED", ("gs://",))
BACKENDS = {backend.name: backend for backend in (KFP, VERTEX)}


def local_path(uri: str) -> str | None:
    """Where a task finds an object of the store; None for other schemes."""
    for scheme, folder in LOCAL_ROOTS.items():
        if uri.startswith(scheme):
            return folder + uri.removeprefix(scheme)
    return None
