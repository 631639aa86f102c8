"""A compiled job goes to Vertex AI Pipelines, through Google's client."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from models.errors import ConfigError
from pipeline.cluster.options import VertexOptions
from pipeline.cluster.transport import ClusterError

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 60.0


def read_job(path: pathlib.Path) -> dict[str, Any]:
    """Reads a PipelineJob.

    Raises:
      ConfigError: NO_SPEC, NOT_A_JOB.
    """
    try:
        job = json.loads(path.read_text("utf-8"))
        name = job["pipelineSpec"]["pipelineInfo"]["name"]
    except FileNotFoundError:
        raise ConfigError(
            "NO_SPEC",
            f"There is no compiled job `{path}`.",
            next="Write one: `flywheel compile --target vertex -o pipeline.json`.",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            "NOT_A_JOB",
            f"`{path}` is no PipelineJob, which is what Vertex takes.",
            next="Write one: `flywheel compile --target vertex -o pipeline.json`.",
        ) from None
    return {**job, "name": name}


def submit(
    path: pathlib.Path,
    job_id: str,
    parameters: dict[str, Any],
    options: VertexOptions,
    *,
    pipeline_root: str | None = None,
    service_account: str | None = None,
) -> Any:
    """Submits a job; the same job id is submitted once.

    Args:
      path: A PipelineJob as JSON.
      job_id: Lower case letters, digits and dashes.
      parameters: Values of runtime parameters.
      options: Project and region.
      pipeline_root: Where artifacts go; default: what the job says.
      service_account: Whom the tasks run as.

    Returns:
      The job as Vertex has it: `google.cloud.aiplatform_v1.PipelineJob`.

    Raises:
      ConfigError: NO_PROJECT, NOT_A_JOB.
      ClusterError: when Vertex refuses or cannot be reached.
    """
    import google.auth
    from google.api_core import exceptions
    from google.auth import exceptions as auth
    from google.cloud import aiplatform_v1
    from google.protobuf import json_format

    content = read_job(path)
    content.pop("name")
    runtime = content.setdefault("runtimeConfig", {})
    runtime.setdefault("parameterValues", {}).update(parameters)
    if pipeline_root:
        runtime["gcsOutputDirectory"] = pipeline_root
    if service_account:
        content["serviceAccount"] = service_account
    try:
        job = aiplatform_v1.PipelineJob.from_json(json.dumps(content))
    except json_format.ParseError as error:
        raise ConfigError(
            "NOT_A_JOB",
            f"`{path}` is no PipelineJob as Vertex knows it: {error}.",
            next="Write one: `flywheel compile --target vertex -o pipeline.json`.",
        ) from None
    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
        project = options.project or project
        if not project:
            raise ConfigError(
                "NO_PROJECT",
                "No Google Cloud project is named, and the credentials do not say one.",
                next="Set `kubeflow.vertex.project` in the config.",
            )
        client = aiplatform_v1.PipelineServiceClient(
            credentials=credentials,
            client_options={
                "api_endpoint": options.endpoint or f"{options.region}-aiplatform.googleapis.com"
            },
        )
        parent = f"projects/{project}/locations/{options.region}"
        try:
            return client.create_pipeline_job(
                parent=parent, pipeline_job=job, pipeline_job_id=job_id, timeout=_SECONDS
            )
        except exceptions.AlreadyExists:
            return client.get_pipeline_job(name=f"{parent}/pipelineJobs/{job_id}")
    except auth.GoogleAuthError as error:
        raise ClusterError(
            "NOT_LOGGED_IN",
            f"There are no usable credentials for Google Cloud: {error}",
            next="Log in with `gcloud auth application-default login`, or name a key file in "
            "GOOGLE_APPLICATION_CREDENTIALS.",
        ) from None
    except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
        raise ClusterError(
            "VERTEX_REFUSED",
            f"Vertex AI in {options.region} refuses the job: {error.message}.",
            next="Check `kubeflow.vertex` (project, region), and that the Vertex AI API is "
            "enabled for the project.",
        ) from None
