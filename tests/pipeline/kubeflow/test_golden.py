"""The compiled files, as reviewed: a change of theirs is a change of what runs on clusters."""

from __future__ import annotations

import pytest
from kfp import components

from pipeline.kubeflow.compile import compile_config
from pipeline.kubeflow.document import Document, read
from pipeline.kubeflow.lint import lint
from tests.pipeline.kubeflow.compiled import GOLDEN, HERE, compiled, config

_NAMES = sorted(GOLDEN)


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    """Compiled now."""
    return {name: compiled(name) for name in _NAMES}


@pytest.mark.parametrize("name", _NAMES)
def test_it_is_what_was_reviewed(name: str, documents: dict[str, Document]) -> None:
    reviewed = (HERE / "golden" / name).read_text("utf-8")
    assert documents[name].text().rstrip("\n") + "\n" == reviewed, (
        "What is compiled has changed. If it should have: python -m tests.pipeline.kubeflow.refresh"
        ", and look at the diff."
    )


@pytest.mark.parametrize("name", _NAMES)
def test_reading_gives_what_was_written(name: str, documents: dict[str, Document]) -> None:
    assert read(HERE / "golden" / name) == documents[name]


@pytest.mark.parametrize("name", _NAMES)
def test_it_is_clean(name: str) -> None:
    assert lint(read(HERE / "golden" / name), GOLDEN[name][1]) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["plain.kfp.yaml", "full.kfp.yaml"])
def test_kfps_own_loader_reads_it(name: str) -> None:
    loaded = components.load_component_from_file(str(HERE / "golden" / name))
    assert set(loaded.component_spec.inputs) == {"data_path"}
    assert ("kubernetes" in loaded.platform_spec.platforms) == (name == "full.kfp.yaml")


def test_the_second_document_is_there_when_it_is_asked_for() -> None:
    assert read(HERE / "golden" / "plain.kfp.yaml").platform is None
    full = read(HERE / "golden" / "full.kfp.yaml")
    assert set(full.kubernetes) == set(full.executors)


def test_every_setting_arrives_where_the_backend_reads_it() -> None:
    full = read(HERE / "golden" / "full.kfp.yaml")
    tasks = full.pipeline["components"]["tfx-dag"]["dag"]["tasks"]
    trainer = full.executors["Trainer_executor"]["container"]
    assert trainer["image"].startswith("registry.example/flywheel-gpu@sha256:")
    assert trainer["resources"] == {
        "cpuLimit": 2.0,
        "cpuRequest": 0.5,
        "memoryLimit": pytest.approx(17.179869184),
        "memoryRequest": pytest.approx(2.147483648),
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
    }
    assert {e["name"] for e in trainer["env"]} == {"AWS_ENDPOINT_URL", "TF_FORCE_GPU_ALLOW_GROWTH"}
    assert tasks["Trainer"]["retryPolicy"] == {
        "maxRetryCount": 2,
        "backoffDuration": "20s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "300s",
    }
    kubernetes = full.kubernetes["Trainer_executor"]
    assert kubernetes["activeDeadlineSeconds"] == "14400"
    assert kubernetes["nodeSelector"]["labels"] == {"pool": "pipelines", "accelerator": "t4"}
    assert kubernetes["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert [s["secretName"] for s in kubernetes["secretAsEnv"]] == ["object-store"]
    handler = full.kubernetes["ExitHandler_executor"]
    assert handler["secretAsVolume"] == [{"secretName": "certificates", "mountPath": "/etc/alerts"}]
    mounts = {
        label: [mount["mountPath"] for mount in config.get("pvcMount", ())]
        for label, config in full.kubernetes.items()
    }
    assert {label for label, paths in mounts.items() if "/models" in paths} == {
        "DeployedModel_executor",
        "Pusher_executor",
        "ExitHandler_executor",
    }
    assert mounts["ExampleGen_executor"] == ["/data"]
    uncached = {n for n, t in tasks.items() if not t["cachingOptions"]["enableCache"]}
    assert uncached == {"ExampleGen", "DeployedModel", "Pusher", "StatisticsGen"}


def test_a_schema_file_is_never_answered_from_the_cache() -> None:
    settings = config("full.yaml")
    validation = settings.validation.model_copy(update={"schema_path": "/data/schema.pbtxt"})
    volumes = settings.kubeflow.components["ExampleGen"]
    components = {**settings.kubeflow.components, "ImportSchemaGen": volumes}
    kubeflow = settings.kubeflow.model_copy(update={"components": components})
    document = compile_config(
        settings.model_copy(update={"validation": validation, "kubeflow": kubeflow}), "kfp"
    )
    tasks = document.pipeline["components"]["tfx-dag"]["dag"]["tasks"]
    assert tasks["ImportSchemaGen"]["cachingOptions"] == {"enableCache": False}
    assert lint(document) == []


def test_data_and_root_are_chosen_by_the_run() -> None:
    for name in ("plain.kfp.yaml", "full.kfp.yaml"):
        spec = read(HERE / "golden" / name).pipeline
        [(parameter, definition)] = spec["root"]["inputDefinitions"]["parameters"].items()
        assert parameter == "data_path"
        assert definition["parameterType"] == "STRING"
        nested = spec["components"]["tfx-dag"]
        outer = spec["root"]["dag"]["tasks"]["tfx-dag"]["inputs"]["parameters"]
        inner = nested["dag"]["tasks"]["ExampleGen"]["inputs"]["parameters"]["path"]
        assert outer == {"data_path": {"componentInputParameter": "data_path"}}
        assert inner == {"componentInputParameter": "data_path"}
        assert spec["defaultPipelineRoot"]
    vertex = read(HERE / "golden" / "vertex.json")
    assert vertex.job is not None
    assert vertex.job["runtimeConfig"] == {
        "gcsOutputDirectory": "gs://bucket/pipelines",
        "parameterValues": {"data_path": "gs://bucket/trips.parquet"},
    }


def test_the_gate_is_an_order_and_no_input() -> None:
    tasks = read(HERE / "golden" / "plain.kfp.yaml").pipeline["components"]["tfx-dag"]["dag"]
    trainer = tasks["tasks"]["Trainer"]
    assert "DataGate" in trainer["dependentTasks"]
    producers = {
        source["taskOutputArtifact"]["producerTask"]
        for source in trainer["inputs"]["artifacts"].values()
    }
    assert "DataGate" not in producers


def test_the_deployed_model_is_looked_up_by_the_run() -> None:
    spec = read(HERE / "golden" / "plain.kfp.yaml").pipeline
    deployed = spec["components"]["tfx-dag"]["dag"]["tasks"]["DeployedModel"]
    version = deployed["inputs"]["parameters"]["version"]
    assert version == {"runtimeValue": {"constant": "CURRENT"}}
    assert deployed["cachingOptions"] == {"enableCache": False}


def test_no_path_of_the_machine_that_compiled_is_in_the_file() -> None:
    for name in _NAMES:
        assert str(HERE) not in (HERE / "golden" / name).read_text("utf-8")
