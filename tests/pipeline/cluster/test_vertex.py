"""Submitting to Vertex AI: Google's own client against a gRPC server of the test's, over TLS."""

from __future__ import annotations

import json
import pathlib
from concurrent import futures

import grpc
import pytest

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
_SERVICE = "google.cloud.aiplatform.v1.PipelineService"


@pytest.mark.slow
def test_a_job_reaches_the_service(flywheel: Flywheel) -> None:
    from google.cloud.aiplatform_v1.types import pipeline_job, pipeline_service

    folder = flywheel.folder
    key, certificate = identity("localhost")
    (folder / "ca.pem").write_bytes(certificate)
    asked: list = []
    answers: list = [None]

    def create(request, context):
        asked.append((request, dict(context.invocation_metadata())))
        if answers[0] is not None:
            context.abort(*answers[0])
        name = f"{request.parent}/pipelineJobs/{request.pipeline_job_id}"
        return pipeline_job.PipelineJob(name=name)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                _SERVICE,
                {
                    "CreatePipelineJob": grpc.unary_unary_rpc_method_handler(
                        create,
                        request_deserializer=pipeline_service.CreatePipelineJobRequest.deserialize,
                        response_serializer=pipeline_job.PipelineJob.serialize,
                    )
                },
            )
        ]
    )
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    environment = {
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(folder / "ca.pem"),
        "GOOGLE_APPLICATION_CREDENTIALS": str(_service_account(folder, key)),
    }
    flywheel("init", "demo:chicago-taxi")
    with open(folder / "flywheel.yaml", "a", encoding="utf-8") as config:
        config.write(
            "kubeflow:\n  service_account: runner\n  vertex: "
            f"{{project: my-project, region: europe-west4, endpoint: 'localhost:{port}'}}\n"
        )
    (folder / "job.json").write_text(json.dumps(JOB), "utf-8")
    command = ("deploy", "job.json", "--target", "vertex")
    try:
        done = flywheel.json(
            *command, "--parameter", "data_path=gs://b/x.csv", **environment, timeout=180
        )
        (request, metadata) = asked[-1]
        assert request.parent == "projects/my-project/locations/europe-west4"
        assert request.pipeline_job_id == done["job_id"]
        assert request.pipeline_job.runtime_config.parameter_values["data_path"] == "gs://b/x.csv"
        assert request.pipeline_job.runtime_config.gcs_output_directory == "gs://bucket/root"
        assert request.pipeline_job.service_account == "runner"
        assert metadata["authorization"].startswith("Bearer ")

        answers[0] = (grpc.StatusCode.PERMISSION_DENIED, "aiplatform.pipelineJobs.create denied")
        refused = flywheel(*command, check=1, **environment, timeout=180)
        assert "VERTEX_REFUSED" in refused.stderr and "create denied" in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        server.stop(0)


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
