"""What is refused before the first task, and what a pipeline is run with."""

import json
import pathlib
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from models.errors import ConfigError
from pipeline.rehearsal import compiled
from pipeline.rehearsal.engine import container_tasks
from tests.pipeline.rehearsal.conftest import ROOT


@dsl.container_component
def work(n: int, factor: float, out: dsl.Output[dsl.Artifact]):
    return dsl.ContainerSpec(image="python:3.10-slim", command=["true"], args=[n, factor, out.path])


@dsl.pipeline(name="plain", pipeline_root=ROOT)
def plain(n: int, factor: float = 0.5, names: list = ["a"], rest: dict = {}):  # noqa: B006
    work(n=n, factor=factor)


@pytest.fixture
def spec(tmp_path: pathlib.Path) -> dict[str, Any]:
    compiler.Compiler().compile(plain, str(tmp_path / "plain.yaml"))
    return yaml.safe_load((tmp_path / "plain.yaml").read_text("utf-8"))


def _write(folder: pathlib.Path, spec: dict[str, Any]) -> pathlib.Path:
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return path


def test_parameters_have_the_types_that_the_pipeline_declares(tmp_path, spec) -> None:
    given = {"n": "3", "names": '["x", "y"]', "rest": '{"k": 1}'}
    found = compiled.load(_write(tmp_path, spec), parameters=given)
    assert found.parameters == {"n": 3, "factor": 0.5, "names": ["x", "y"], "rest": {"k": 1}}
    assert found.name == "plain" and found.root == ROOT and found.backend.name == "kfp"
    assert found.images() == {"python:3.10-slim"}


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, "NO_PARAMETER", "--parameter n="),
        ({"n": "three"}, "WRONG_PARAMETER", "NUMBER_INTEGER"),
        ({"n": "1.5"}, "WRONG_PARAMETER", "NUMBER_INTEGER"),
        ({"n": "1", "names": '{"a": 1}'}, "WRONG_PARAMETER", "LIST"),
        ({"n": "1", "fctor": "2"}, "UNKNOWN_PARAMETER", "Did you mean 'factor'?"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path, spec, given, code, words) -> None:
    with pytest.raises(ConfigError) as error:
        compiled.load(_write(tmp_path, spec), parameters=given)
    assert error.value.reason.code == code
    assert words in str(error.value)


def _unknown_field(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["work"]["lifecycle"] = {"preCacheCheck": {}}


def _old_schema(spec: dict[str, Any]) -> None:
    spec["schemaVersion"] = "2.0.0"


def _no_name(spec: dict[str, Any]) -> None:
    del spec["pipelineInfo"]


def _no_component(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["work"]["componentRef"]["name"] = "comp-wrk"


def _no_executor(spec: dict[str, Any]) -> None:
    spec["components"]["comp-work"]["executorLabel"] = "exec-wrk"


def _resolver(spec: dict[str, Any]) -> None:
    spec["deploymentSpec"]["executors"]["exec-work"] = {"resolver": {"outputArtifactQueries": {}}}


def _iterator(spec: dict[str, Any]) -> None:
    task = spec["root"]["dag"]["tasks"]["work"]
    task["artifactIterator"] = {"itemInput": "x", "items": {"inputArtifact": "y"}}


def _bad_name(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    tasks["my_work"] = tasks.pop("work")


def _no_image(spec: dict[str, Any]) -> None:
    del spec["deploymentSpec"]["executors"]["exec-work"]["container"]["image"]


def _cycle(spec: dict[str, Any]) -> None:
    spec["root"]["dag"]["tasks"]["work"]["dependentTasks"] = ["work"]


def _no_root(spec: dict[str, Any]) -> None:
    del spec["defaultPipelineRoot"]


def _local_root(spec: dict[str, Any]) -> None:
    spec["defaultPipelineRoot"] = "/tmp/artifacts"


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (_unknown_field, "UNPARSEABLE", "lifecycle"),
        (_old_schema, "SCHEMA_VERSION", "2.1.0"),
        (_no_name, "NO_NAME", "pipelineInfo.name"),
        (_no_component, "NO_COMPONENT", "Did you mean 'comp-work'?"),
        (_no_executor, "NO_EXECUTOR", "Did you mean 'exec-work'?"),
        (_resolver, "UNSUPPORTED_EXECUTOR", "resolver"),
        (_iterator, "ARTIFACT_ITERATOR", "iterates over artifacts"),
        (_bad_name, "BAD_NAME", "my_work"),
        (_no_image, "NO_IMAGE", "image"),
        (_cycle, "CYCLE", "work"),
        (_no_root, "PIPELINE_ROOT", "--root"),
        (_local_root, "PIPELINE_ROOT", "minio://"),
    ],
)
def test_what_a_backend_refuses_is_refused(tmp_path, spec, change, code, words) -> None:
    change(spec)
    with pytest.raises(ConfigError) as error:
        compiled.load(_write(tmp_path, spec), parameters={"n": "1"})
    assert error.value.reason.code == code
    assert words in str(error.value)


def test_a_pipeline_job_brings_its_own_root_and_parameters(tmp_path, spec) -> None:
    job = {
        "pipelineSpec": spec,
        "runtimeConfig": {"gcsOutputDirectory": "gs://bucket/root", "parameterValues": {"n": 4}},
    }
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    found = compiled.load(path)
    assert (found.backend.name, found.root, found.parameters["n"]) == (
        "vertex",
        "gs://bucket/root",
        4,
    )
    other = compiled.load(path, parameters={"n": "5"})
    assert other.parameters["n"] == 5 and other.key != found.key


def test_vertex_knows_gs_only(tmp_path, spec) -> None:
    with pytest.raises(ConfigError) as error:
        compiled.load(_write(tmp_path, spec), backend="vertex", parameters={"n": "1"})
    assert error.value.reason.code == "PIPELINE_ROOT"


_FILES = pathlib.Path(__file__).parent.parent / "kubeflow"


@pytest.mark.parametrize("path", sorted(_FILES.glob("broken/*.yaml")), ids=lambda p: p.stem)
def test_a_broken_file_is_refused_in_words_or_shown_to_fail(path: pathlib.Path) -> None:
    """None of the linter's broken files makes the rehearsal stumble."""
    try:
        found = compiled.load(path)
    except ConfigError as error:
        assert error.reason.message and error.reason.next
    else:
        assert container_tasks(found)
