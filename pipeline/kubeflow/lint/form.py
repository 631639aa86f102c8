"""The file's form: wrapper, schema version, pipeline root, size."""

from __future__ import annotations

from pipeline.kubeflow.document import Document
from pipeline.kubeflow.finding import Finding

_SCHEMA = "2.1.0"
#: etcd keeps no object over 1.5 MB; the workflow made of a spec is larger than the spec.
_MOST_BYTES = 1_000_000


def form(document: Document, target: str) -> list[Finding]:
    """What can be said before anything is parsed."""
    spec, found = document.pipeline, []
    if document.job is not None and target == "kfp":
        found.append(
            Finding(
                "error",
                "WRAPPED",
                "pipelineSpec",
                "The pipeline is wrapped in a PipelineJob, Vertex's form; Kubeflow Pipelines takes "
                "the bare specification.",
                "Write `pipelineSpec` alone as YAML: `flywheel compile --target kfp`.",
            )
        )
    if document.job is None and target == "vertex":
        found.append(
            Finding(
                "error",
                "NOT_WRAPPED",
                "pipelineSpec",
                "The file is a bare pipeline specification; Vertex takes it wrapped in a "
                "PipelineJob with a `runtimeConfig`.",
                "Compile with `--target vertex`.",
            )
        )
    version = spec.get("schemaVersion", spec.get("schema_version"))
    if version != _SCHEMA:
        found.append(
            Finding(
                "error",
                "SCHEMA_VERSION",
                "schemaVersion",
                f"The schema version is {version or 'not set'}; Kubeflow Pipelines takes {_SCHEMA} "
                "only.",
                "TFX writes it with `use_pipeline_spec_2_1=True`; changing the number alone is not "
                "enough, constants are written differently.",
            )
        )
    root = spec.get("defaultPipelineRoot", spec.get("default_pipeline_root"))
    if not root:
        lost = (document.job or {}).get("runtimeConfig", {}).get("gcsOutputDirectory")
        found.append(
            Finding(
                "warning",
                "NO_PIPELINE_ROOT",
                "defaultPipelineRoot",
                "The file names no pipeline root"
                + (f" (`{lost}` stands in the wrapper and is lost without it)" if lost else "")
                + "; artifacts go wherever the installation's default is.",
                "Set `defaultPipelineRoot`.",
            )
        )
    size = len(document.text())
    if size > _MOST_BYTES:
        found.append(
            Finding(
                "error",
                "TOO_LARGE",
                "",
                f"The file has {size:,} bytes; Kubernetes stores no workflow made of that much.",
                "Move large constants into files that tasks read.",
            )
        )
    return found
