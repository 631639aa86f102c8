"""Vertex AI Pipelines through Google's client: jobs submitted, looked at, and ended."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

from models.errors import ConfigError
from pipeline.cluster.follow import Progress, Task
from pipeline.cluster.options import VertexOptions
from pipeline.cluster.submission import Package, package_of
from pipeline.cluster.transport import ClusterError, Unavailable

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 60.0
_STATE = "PIPELINE_STATE_"
#: Vertex's words, where Kubeflow's are others.
_WORDS = {
    "QUEUED": "PENDING",
    "CANCELLED": "CANCELED",
    "CANCELLING": "CANCELING",
    "CANCEL_PENDING": "CANCELING",
    "NOT_TRIGGERED": "SKIPPED",
    "UNSPECIFIED": "PENDING",
    "STATE_UNSPECIFIED": "PENDING",
}
#: How gRPC says that the certificate is nobody's, and that no token could be had.
_NOT_TRUSTED = "CERTIFICATE_VERIFY_FAILED"
_NO_TOKEN = "Getting metadata from plugin failed"


def read_job(path: pathlib.Path) -> Package:
    """Reads what is to be known about a PipelineJob before it is submitted.

    Raises:
      ConfigError: NO_SPEC, NOT_A_JOB.
    """
    try:
        content = path.read_bytes()
        return package_of(path, content, json.loads(content)["pipelineSpec"])
    except FileNotFoundError:
        raise ConfigError(
            "NO_SPEC",
            f"There is no compiled job `{path}`.",
            next="Write one: `flywheel compile --target vertex -o pipeline.json`.",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_job(path, "which is what Vertex takes") from None


class Vertex:
    """One project and region of Vertex AI.

    Args:
      options: Which.

    Raises:
      ConfigError: NO_PROJECT.
      ClusterError: NOT_LOGGED_IN.
    """

    def __init__(self, options: VertexOptions):
        import google.auth
        from google.cloud import aiplatform_v1

        self._options = options
        with self._explained():
            credentials, project = google.auth.default(scopes=[_SCOPE])
            project = options.project or project
            if not project:
                raise ConfigError(
                    "NO_PROJECT",
                    "No Google Cloud project is named, and the credentials do not say one.",
                    next="Set `kubeflow.vertex.project` in the config.",
                )
            self._project = project
            self._parent = f"projects/{project}/locations/{options.region}"
            self._client = aiplatform_v1.PipelineServiceClient(
                credentials=credentials,
                client_options={
                    "api_endpoint": options.endpoint
                    or f"{options.region}-aiplatform.googleapis.com"
                },
            )

    def submit(
        self,
        path: pathlib.Path,
        job_id: str,
        parameters: dict[str, Any],
        *,
        pipeline_root: str | None = None,
        service_account: str | None = None,
    ) -> Any:
        """Submits a job; the same job id is submitted once.

        Args:
          path: A PipelineJob as JSON.
          job_id: Lower case letters, digits and dashes.
          parameters: Values of runtime parameters.
          pipeline_root: Where artifacts go; default: what the job says.
          service_account: Whom the tasks run as.

        Returns:
          The job as Vertex has it: `google.cloud.aiplatform_v1.PipelineJob`.

        Raises:
          ConfigError: NOT_A_JOB.
          ClusterError: when Vertex refuses or cannot be reached.
        """
        from google.api_core import exceptions
        from google.cloud import aiplatform_v1
        from google.protobuf import json_format

        read_job(path)
        content = json.loads(path.read_text("utf-8"))
        runtime = content.setdefault("runtimeConfig", {})
        runtime.setdefault("parameterValues", {}).update(parameters)
        if pipeline_root:
            runtime["gcsOutputDirectory"] = pipeline_root
        if service_account:
            content["serviceAccount"] = service_account
        try:
            job = aiplatform_v1.PipelineJob.from_json(json.dumps(content))
        except json_format.ParseError as error:
            raise _no_job(path, f"as Vertex knows it: {error}") from None
        with self._explained():
            try:
                return self._client.create_pipeline_job(
                    parent=self._parent, pipeline_job=job, pipeline_job_id=job_id, timeout=_SECONDS
                )
            except exceptions.AlreadyExists:
                return self._get(job_id)

    def progress(self, job_id: str) -> Progress:
        """How far a job is; for `follow`."""
        with self._explained():
            return read_progress(self._get(job_id))

    def jobs(self, limit: int = 20) -> list[Any]:
        """The project's jobs in the region, newest first."""
        with self._explained():
            pages = self._client.list_pipeline_jobs(
                request={
                    "parent": self._parent,
                    "page_size": limit,
                    "order_by": "create_time desc",
                },
                timeout=_SECONDS,
            ).pages
            return list(next(iter(pages)).pipeline_jobs)

    def cancel(self, job_id: str) -> str:
        """Asks for the end of a job; returns its state then."""
        with self._explained():
            if not read_progress(self._get(job_id)).ended:
                self._client.cancel_pipeline_job(name=self._name(job_id), timeout=_SECONDS)
            return read_progress(self._get(job_id)).state

    def link(self, job_id: str) -> str:
        """The job's page."""
        return (
            f"https://console.cloud.google.com/vertex-ai/locations/{self._options.region}"
            f"/pipelines/runs/{job_id}?project={self._project}"
        )

    def _name(self, job_id: str) -> str:
        return job_id if "/" in job_id else f"{self._parent}/pipelineJobs/{job_id}"

    def _get(self, job_id: str) -> Any:
        return self._client.get_pipeline_job(name=self._name(job_id), timeout=_SECONDS)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Google's errors in words."""
        from google.api_core import exceptions
        from google.auth import exceptions as auth

        where = f"Vertex AI in {self._options.region}"
        try:
            yield
        except auth.GoogleAuthError as error:
            raise _not_logged_in(str(error)) from None
        except exceptions.NotFound as error:
            raise ClusterError(
                "NOT_IN_CLUSTER",
                f"{where} knows no such thing: {error.message}.",
                next="`flywheel deploy --target vertex --list` shows its jobs.",
            ) from None
        except (
            exceptions.ServiceUnavailable,
            exceptions.DeadlineExceeded,
            exceptions.InternalServerError,
            exceptions.TooManyRequests,
        ) as error:
            if _NO_TOKEN in error.message:
                raise _not_logged_in(error.message) from None
            if _NOT_TRUSTED in error.message:
                raise ClusterError(
                    "CERTIFICATE_REFUSED",
                    f"The certificate of {where} is not trusted here: {error.message}.",
                    next="GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names a file of authorities to trust.",
                ) from None
            raise Unavailable(
                "CLUSTER_UNREACHABLE",
                f"{where} cannot be reached or is busy: {error.message}.",
                next="Check the network and `kubeflow.vertex`. `flywheel deploy --target vertex "
                "--list` shows whether the job was submitted.",
            ) from None
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise ClusterError(
                "VERTEX_REFUSED",
                f"{where} refuses: {error.message}.",
                next="Check `kubeflow.vertex` (project, region), and that the Vertex AI API is "
                "enabled for the project.",
            ) from None


def read_progress(job: Any) -> Progress:
    """A job's state as Vertex answers it, in Kubeflow's words."""
    # Vertex counts every DAG as a task: what has tasks below it is no task of ours.
    above = {task.parent_task_id for task in job.job_detail.task_details}
    tasks = [
        Task(
            name=task.task_name,
            state=_WORDS.get(task.state.name, task.state.name),
            seconds=_seconds(task),
            error=task.error.message,
        )
        for task in sorted(job.job_detail.task_details, key=_start)
        if task.task_id not in above
    ]
    state = job.state.name.removeprefix(_STATE)
    return Progress(_WORDS.get(state, state), tuple(tasks), error=job.error.message)


def _start(task: Any) -> float:
    moment = task.start_time or task.create_time
    return moment.timestamp() if moment else float("inf")


def _seconds(task: Any) -> float | None:
    if not task.start_time:
        return None
    end = task.end_time.timestamp() if task.end_time else time.time()
    return max(0.0, end - task.start_time.timestamp())


def _not_logged_in(why: str) -> ClusterError:
    return ClusterError(
        "NOT_LOGGED_IN",
        f"There are no usable credentials for Google Cloud: {why}",
        next="Log in with `gcloud auth application-default login`, or name a key file in "
        "GOOGLE_APPLICATION_CREDENTIALS.",
    )


def _no_job(path: pathlib.Path, why: str) -> ConfigError:
    return ConfigError(
        "NOT_A_JOB",
        f"`{path}` is no PipelineJob, {why}.",
        next="Write one: `flywheel compile --target vertex -o pipeline.json`.",
    )
