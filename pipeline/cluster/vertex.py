"""A compiled job goes to Vertex AI Pipelines, through Google's client."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from models.errors import ConfigError
from pipeline.cluster.options import VertexOptions
from pipeline.cluster.transport import ClusterError


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
      `google.cloud.aiplatform.PipelineJob`.

    Raises:
      ClusterError: when Vertex refuses or cannot be reached.
    """
    from google.api_core import exceptions
    from google.auth import exceptions as auth
    from google.cloud import aiplatform

    try:
        aiplatform.init(
            project=options.project, location=options.region, api_endpoint=options.endpoint
        )
        job = aiplatform.PipelineJob(
            display_name=read_job(path)["name"],
            template_path=str(path),
            job_id=job_id,
            pipeline_root=pipeline_root,
            parameter_values=parameters,
        )
        job.submit(service_account=service_account)
    except auth.GoogleAuthError as error:
        raise ClusterError(
            "NOT_LOGGED_IN",
            f"There are no credentials for Google Cloud: {error}",
            next="Log in with `gcloud auth application-default login`, or name a key file in "
            "GOOGLE_APPLICATION_CREDENTIALS.",
        ) from None
    except exceptions.GoogleAPICallError as error:
        raise ClusterError(
            "VERTEX_REFUSED",
            f"Vertex AI in {options.region} refuses the job: {error.message}.",
            next="Check `kubeflow.vertex` (project, region), and that the Vertex AI API is "
            "enabled for the project.",
        ) from None
    except ValueError as error:
        raise ConfigError(
            "VERTEX_JOB_REFUSED",
            f"Google's client refuses `{path}`: {error}",
            next="`flywheel compile --target vertex` writes what it takes; `--param` values must "
            "be parameters of the job.",
        ) from None
    return job
