"""Jobs on Vertex AI: Google's own client against a gRPC server of the test's, over TLS."""

from __future__ import annotations

import datetime
import json
import pathlib
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.cloud.aiplatform_v1 import PipelineJob, PipelineState
from google.cloud.aiplatform_v1.types import pipeline_service
from google.protobuf import empty_pb2
from google.rpc import status_pb2

from tests.conftest import Flywheel
from tests.pipeline.cluster.certificates import identity

JOB = {
    "displayName": "taxi",
    "pipelineSpec": {
        "pipelineInfo": {"name": "taxi"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "flywheel",
        "root": {
            "inputDefinitions": {"parameters": {"data_path": {"parameterType": "STRING"}}},
            "dag": {"tasks": {}},
        },
        "components": {},
        "deploymentSpec": {},
    },
    "runtimeConfig": {"gcsOutputDirectory": "gs://bucket/root"},
}


class Service:
    """Vertex's PipelineService over gRPC with TLS: jobs that go through a story, one word a look.

    Attributes:
      asked: Requests, with their metadata, oldest first.
      refusals: What the next calls are answered with instead.
      story: States of every job, in order; the last one stays.
      silent: How many looks at a job are answered with UNAVAILABLE first.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Any, dict[str, str]]] = []
        self.refusals: list[tuple[grpc.StatusCode, str]] = []
        self.story = ["PENDING", "RUNNING", "SUCCEEDED"]
        self.silent = 0
        self._jobs: dict[str, tuple[PipelineJob, list[str]]] = {}

    def handlers(self) -> grpc.GenericRpcHandler:
        """For a gRPC server."""
        return grpc.method_handlers_generic_handler(
            "google.cloud.aiplatform.v1.PipelineService",
            {
                "CreatePipelineJob": self._method(
                    pipeline_service.CreatePipelineJobRequest, PipelineJob.serialize, self._create
                ),
                "GetPipelineJob": self._method(
                    pipeline_service.GetPipelineJobRequest, PipelineJob.serialize, self._get
                ),
                "ListPipelineJobs": self._method(
                    pipeline_service.ListPipelineJobsRequest,
                    pipeline_service.ListPipelineJobsResponse.serialize,
                    self._list,
                ),
                "CancelPipelineJob": self._method(
                    pipeline_service.CancelPipelineJobRequest,
                    empty_pb2.Empty.SerializeToString,
                    self._cancel,
                ),
            },
        )

    def _method(self, request_type: Any, serialize: Any, answer: Any) -> grpc.RpcMethodHandler:
        def called(request: Any, context: grpc.ServicerContext) -> Any:
            self.asked.append((request, dict(context.invocation_metadata())))
            if self.refusals:
                context.abort(*self.refusals.pop(0))
            return answer(request, context)

        return grpc.unary_unary_rpc_method_handler(
            called, request_deserializer=request_type.deserialize, response_serializer=serialize
        )

    def _create(self, request: Any, context: grpc.ServicerContext) -> PipelineJob:
        name = f"{request.parent}/pipelineJobs/{request.pipeline_job_id}"
        self._jobs[name] = (PipelineJob(name=name), list(self.story))
        return self._jobs[name][0]

    def _get(self, request: Any, context: grpc.ServicerContext) -> PipelineJob:
        if request.name not in self._jobs:
            context.abort(grpc.StatusCode.NOT_FOUND, f"{request.name} was not found")
        if self.silent:
            self.silent -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "come back later")
        job, story = self._jobs[request.name]
        word = story.pop(0) if len(story) > 1 else story[0]
        job.state = PipelineState[f"PIPELINE_STATE_{word}"]
        job.job_detail = {"task_details": _tasks(word)}
        if word == "FAILED":
            job.error = status_pb2.Status(code=9, message="the Trainer ran out of memory")
        return job

    def _list(self, request: Any, context: grpc.ServicerContext) -> Any:
        assert request.order_by == "create_time desc"
        jobs = [job for job, _ in reversed(self._jobs.values())]
        return pipeline_service.ListPipelineJobsResponse(pipeline_jobs=jobs)

    def _cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._jobs[request.name] = (self._jobs[request.name][0], ["CANCELLING", "CANCELLED"])
        return empty_pb2.Empty()


def _tasks(word: str) -> list[dict[str, Any]]:
    """As Vertex tells them: the job and every DAG are tasks too."""
    state = {"PENDING": "PENDING", "SUCCEEDED": "SUCCEEDED", "FAILED": "FAILED"}.get(
        word, "RUNNING"
    )
    began = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    trainer: dict[str, Any] = {"task_id": 3, "parent_task_id": 2, "task_name": "Trainer"}
    trainer |= {"state": state, "start_time": began}
    if word == "FAILED":
        trainer["error"] = status_pb2.Status(code=9, message="out of memory")
    if word in ("SUCCEEDED", "FAILED"):
        trainer["end_time"] = began + datetime.timedelta(seconds=90)
    return [
        {"task_id": 1, "task_name": "taxi", "state": state, "start_time": began},
        {"task_id": 2, "parent_task_id": 1, "task_name": "tfx-dag", "state": state},
        trainer,
        {"task_id": 4, "parent_task_id": 2, "task_name": "Pusher", "state": "NOT_TRIGGERED"},
    ]


@pytest.fixture
def service(flywheel: Flywheel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A running service, and a folder whose config and environment know it."""
    folder = flywheel.folder
    key, certificate = identity("localhost")
    (folder / "ca.pem").write_bytes(certificate)
    service = Service()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([service.handlers()])
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(folder / "ca.pem"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(_service_account(folder, key)))
    (folder / "t.csv").write_text("x,y\n1,2\n", "utf-8")
    (folder / "flywheel.yaml").write_text(
        "version: 1\nname: taxi\ndata: {path: t.csv}\ntask: {label: y, type: regression}\n"
        "features: {x: numeric}\n"
        "kubeflow:\n  service_account: runner\n  vertex: "
        f"{{project: my-project, region: europe-west4, endpoint: 'localhost:{port}'}}\n",
        "utf-8",
    )
    (folder / "job.json").write_text(json.dumps(JOB), "utf-8")
    yield service
    server.stop(0)


_DEPLOY = ("deploy", "job.json", "--target", "vertex")


@pytest.mark.slow
def test_a_job_reaches_the_service_and_is_followed(flywheel: Flywheel, service: Service) -> None:
    service.silent = 2
    given = ("--parameter", "data_path=gs://b/x.csv", "--wait", "--poll-seconds", "0.05")
    done = flywheel.json(*_DEPLOY, *given, timeout=180)
    request, metadata = service.asked[0]
    assert request.parent == "projects/my-project/locations/europe-west4"
    assert request.pipeline_job_id == done["job_id"]
    assert request.pipeline_job.runtime_config.parameter_values["data_path"] == "gs://b/x.csv"
    assert request.pipeline_job.runtime_config.gcs_output_directory == "gs://bucket/root"
    assert request.pipeline_job.service_account == "runner"
    assert metadata["authorization"].startswith("Bearer ")
    assert done["state"] == "SUCCEEDED"
    assert [(t["name"], t["state"], t["seconds"]) for t in done["tasks"]] == [
        ("Trainer", "SUCCEEDED", 90.0),
        ("Pusher", "SKIPPED", None),
    ]
    assert done["job_id"] in done["url"] and "europe-west4" in done["url"]


@pytest.mark.slow
def test_a_failed_job_ends_the_command_with_its_reason(
    flywheel: Flywheel, service: Service
) -> None:
    service.story = ["RUNNING", "FAILED"]
    done = flywheel(*_DEPLOY, "--wait", "--poll-seconds", "0.05", check=1, timeout=180)
    assert "FAILED: the Trainer ran out of memory" in done.stderr
    assert "Trainer: out of memory" in done.stderr


def test_mistakes_are_refused_before_anything_is_asked(
    flywheel: Flywheel, service: Service
) -> None:
    scheduled = flywheel(*_DEPLOY, "--schedule", "@daily", check=2)
    assert "NO_SCHEDULE_ON_VERTEX" in scheduled.stderr
    unknown = flywheel(*_DEPLOY, "--parameter", "data_pth=x", check=2)
    assert "UNKNOWN_PARAMETER" in unknown.stderr and "data_path" in unknown.stderr
    assert service.asked == []


@pytest.mark.slow
def test_jobs_are_listed_and_ended(flywheel: Flywheel, service: Service) -> None:
    service.story = ["RUNNING"]
    started = flywheel.json(*_DEPLOY, timeout=180)
    vertex = ("deploy", "--target", "vertex")
    ended = flywheel.json(*vertex, "--terminate", started["job_id"], timeout=180)
    assert ended["state"] == "CANCELING"
    listed = flywheel.json(*vertex, "--list", timeout=180)
    assert [(j["job_id"], j["state"]) for j in listed["jobs"]] == [(started["job_id"], "CANCELING")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ((grpc.StatusCode.PERMISSION_DENIED, "no permission here"), "VERTEX_REFUSED"),
        ((grpc.StatusCode.NOT_FOUND, "no project here"), "NOT_IN_CLUSTER"),
        ((grpc.StatusCode.UNAVAILABLE, "nobody is here"), "CLUSTER_UNREACHABLE"),
    ],
)
def test_refusals_are_paragraphs(
    flywheel: Flywheel, service: Service, refusal: tuple[grpc.StatusCode, str], code: str
) -> None:
    service.refusals = [refusal] * 5
    refused = flywheel(*_DEPLOY, check=1, timeout=180)
    assert code in refused.stderr and refusal[1] in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_a_certificate_of_nobody_is_refused(
    flywheel: Flywheel, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (flywheel.folder / "other.pem").write_bytes(identity("localhost")[1])
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(flywheel.folder / "other.pem"))
    refused = flywheel(*_DEPLOY, check=1, timeout=180)
    assert "CERTIFICATE_REFUSED" in refused.stderr and service.asked == []


def _service_account(folder: pathlib.Path, key: bytes) -> pathlib.Path:
    path = folder / "account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "my-project",
                "private_key_id": "1",
                "private_key": key.decode(),
                "client_email": "tester@my-project.iam.gserviceaccount.com",
                "token_uri": "https://oauth2.googleapis.com/token",
            }
        ),
        "utf-8",
    )
    return path
