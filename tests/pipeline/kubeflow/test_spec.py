"""The edits on a compiled specification, one by one."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from monitoring.alerts.options import ConsoleChannel, WebhookChannel
from pipeline.kubeflow import exit_task, spec
from pipeline.kubeflow.document import Document, read
from pipeline.kubeflow.lint import lint

_SOUND = pathlib.Path(__file__).parent / "sound.yaml"


@pytest.fixture
def document() -> Document:
    """A small pipeline: Reader, Trainer, Pusher."""
    return read(_SOUND)


def _task(document: Document, name: str) -> dict[str, Any]:
    return dict(spec.tasks(document.pipeline))[name]


def test_a_producer_loses_the_suffix_that_no_task_has(document: Document) -> None:
    inputs = _task(document, "Pusher")["inputs"]["parameters"]
    inputs["steps"] = {"taskOutputParameter": {"producerTask": "Trainer_task"}}
    inputs["other"] = {"taskOutputParameter": {"producerTask": "nobody_known"}}
    spec.mend_producers(document.pipeline)
    assert inputs["steps"]["taskOutputParameter"]["producerTask"] == "Trainer"
    assert inputs["other"]["taskOutputParameter"]["producerTask"] == "nobody_known"


def test_a_task_that_is_really_called_so_keeps_its_name(document: Document) -> None:
    tasks = document.pipeline["root"]["dag"]["tasks"]
    tasks["Trainer_task"] = tasks["Trainer"]
    inputs = tasks["Pusher"]["inputs"]["parameters"]
    inputs["steps"] = {"taskOutputParameter": {"producerTask": "Trainer_task"}}
    spec.mend_producers(document.pipeline)
    assert inputs["steps"]["taskOutputParameter"]["producerTask"] == "Trainer_task"


def test_the_run_is_passed_where_the_backend_replaces_it(document: Document) -> None:
    spec.add_run_id(document.pipeline, "Pusher")
    spec.write_inputs_arguments(document.pipeline)
    constant = _task(document, "Pusher")["inputs"]["parameters"]["run_id"]["runtimeValue"]
    assert constant == {"constant": "{{$.pipeline_job_uuid}}"}
    arguments = document.executors["Pusher_executor"]["container"]["args"]
    declared = json.loads(arguments[arguments.index(spec.INPUTS_ARGUMENT) + 1])
    assert declared == document.pipeline["components"]["Pusher"]["inputDefinitions"]
    assert "run_id" in declared["parameters"]
    assert lint(document) == []


def test_the_driver_in_a_hook_is_dropped(document: Document) -> None:
    document.executors["Reader_executor"]["container"]["lifecycle"] = {"preCacheCheck": {}}
    spec.drop_lifecycle(document.pipeline)
    assert "lifecycle" not in document.executors["Reader_executor"]["container"]


def test_flags_for_the_entrypoint_come_before_the_types(document: Document) -> None:
    spec.add_entrypoint_flags(document.pipeline, lean=True)
    arguments = document.executors["Trainer_executor"]["container"]["args"]
    place = arguments.index("--component")
    assert arguments[place : place + 4] == [
        *("--component", "Trainer", "--lean"),
        spec.INPUTS_ARGUMENT,
    ]
    assert lint(document) == []


def test_an_exit_handler_follows_everything_else(document: Document) -> None:
    channels = [ConsoleChannel(), WebhookChannel(url_env="ALERTS_URL", body="slack")]
    image = document.executors["Trainer_executor"]["container"]["image"]
    exit_task.add(document.pipeline, image=image, channels=channels, registry="gs://b/models")
    root = document.pipeline["root"]["dag"]["tasks"]
    assert set(root) == {exit_task.DAG, exit_task.NAME}
    assert set(document.pipeline["components"][exit_task.DAG]["dag"]["tasks"]) == {
        *("Reader", "Trainer", "Pusher")
    }
    assert root[exit_task.NAME]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    arguments = document.executors["ExitHandler_executor"]["container"]["args"]
    assert json.loads(arguments[-1]) == [
        {"type": "console"},
        {"type": "webhook", "url_env": "ALERTS_URL", "body": "slack"},
    ]
    assert lint(document) == []


def test_the_same_document_is_the_same_text(document: Document, tmp_path: pathlib.Path) -> None:
    document.write(tmp_path / "a.yaml")
    again = read(tmp_path / "a.yaml")
    assert again == document
    assert again.text() == document.text()
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]
