"""The exit handler: what it reads, what it says, and that it reaches a channel."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from models.registry import Registry
from pipeline.kubeflow import exit_handler
from tests.conftest import ROOT


def _input(state: str | None, run_id: str = "run-1", **status: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"run_id": run_id, "run_name": "taxi nightly"}
    if state is not None:
        values["status"] = {"state": state, "pipelineTaskName": "tfx-dag", **status}
    return {"inputs": {"parameterValues": values}}


@pytest.fixture
def registry(tmp_path: pathlib.Path) -> str:
    """A registry to which run-1 has pushed."""
    root = tmp_path / "registry"
    root.mkdir()
    Registry(root)._point_to("0123456789ab", "pushed", "run-1")
    return str(root)


@pytest.mark.parametrize(
    ("state", "run_id", "expected", "severity"),
    [
        ("COMPLETE", "run-1", "pushed", "info"),  # Kubeflow's word
        ("SUCCEEDED", "run-1", "pushed", "info"),  # Vertex's
        ("COMPLETE", "run-2", "not_blessed", "warning"),
        ("FAILED", "run-2", "failed", "critical"),
        ("RUNNING", "run-2", "failed", "critical"),  # no launcher has said how its task ended
        ("RUNNING", "run-1", "pushed", "info"),
        ("CANCELED", "run-2", "canceled", "warning"),
        (None, "run-2", "unknown", "warning"),
    ],
)
def test_states(
    registry: str, state: str | None, run_id: str, expected: str, severity: str
) -> None:
    end = exit_handler.read_end(_input(state, run_id), "taxi", registry)
    assert end.state == expected
    told = exit_handler.message(end)
    assert told.severity == severity
    assert told.title == f"taxi: {expected.replace('_', ' ')}"
    assert ("0123456789ab" in told.text) == (expected == "pushed")


def test_a_pod_that_ended_without_a_word_is_told_as_such(registry: str) -> None:
    told = exit_handler.message(exit_handler.read_end(_input("RUNNING", "run-2"), "taxi", registry))
    assert "out of memory" in told.text and "pod" in told.next
    said = exit_handler.message(exit_handler.read_end(_input("FAILED", "run-2"), "taxi", registry))
    assert "out of memory" not in said.text and "log" in said.next


def test_vertex_passes_the_status_as_text(registry: str) -> None:
    values = _input("FAILED", error={"message": "out of memory"})
    status = values["inputs"]["parameterValues"]["status"]
    values["inputs"]["parameterValues"]["status"] = json.dumps(status)
    end = exit_handler.read_end(values, "taxi", registry)
    assert (end.state, end.error) == ("failed", "out of memory")
    assert "out of memory" in exit_handler.message(end).text


def test_a_placeholder_that_stayed_is_no_run(registry: str) -> None:
    end = exit_handler.read_end(_input("COMPLETE", "{{$.pipeline_job_uuid}}"), "taxi", registry)
    assert (end.run_id, end.state) == ("", "not_blessed")


def test_a_registry_that_cannot_be_read_is_said(tmp_path: pathlib.Path) -> None:
    end = exit_handler.read_end(_input("COMPLETE"), "taxi", "hdfs://nowhere")
    assert end.state == "succeeded"
    assert "is not known" in exit_handler.message(end).text


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An HTTP server, and what it got."""
    received: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_failed_run_reaches_the_channel_as_its_container_would(
    registry: str, webhook: tuple[str, list[dict[str, Any]]]
) -> None:
    url, received = webhook
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipeline.kubeflow.exit_handler"),
            *("--executor_input", json.dumps(_input("FAILED", "run-2"))),
            *("--pipeline", "taxi", "--registry", registry),
            *("--channels", '[{"type": "webhook", "url_env": "ALERTS_URL"}]'),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ALERTS_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [message] = received
    assert message["title"] == "taxi: failed"
    assert message["facts"]["state"] == "FAILED"
    assert message["facts"]["run id"] == "run-2"
    assert "webhook: sent" in done.stderr
    assert url not in done.stderr
