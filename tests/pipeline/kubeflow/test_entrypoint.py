"""What a task's container runs, given what the backend of Kubeflow Pipelines hands over."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from pipeline import kubeflow_entrypoint
from pipeline.kubeflow import failure, uris
from pipeline.kubeflow.bucket import Bucket

PROBES = "tests.pipeline.kubeflow.probes"
_EXAMPLES = {"instanceSchema": "title: tfx.Examples\ntype: object\n"}
_MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
_SPEC = {
    "artifacts": {
        "examples": {"artifactType": _EXAMPLES},
        "champion": {"artifactType": _MODEL},
    },
    "parameters": {
        "seed": {"parameterType": "NUMBER_INTEGER"},
        "rate": {"parameterType": "NUMBER_DOUBLE"},
        "name": {"parameterType": "STRING"},
        "run_id": {"parameterType": "STRING"},
    },
}


@pytest.fixture(autouse=True)
def mounts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The launcher's folders, elsewhere than in the root of this machine."""
    below = {scheme: f"{tmp_path}{folder}" for scheme, folder in uris.MOUNTS.items()}
    monkeypatch.setattr(uris, "MOUNTS", below)
    examples = tmp_path / "minio" / "b" / "examples"
    examples.mkdir(parents=True)
    (examples / "data").write_text("rows", encoding="utf-8")
    return tmp_path


def _executor_input(folder: pathlib.Path, **outputs: str) -> dict[str, Any]:
    """As the driver of Kubeflow Pipelines writes it: inputs without types, numbers as floats."""
    return {
        "inputs": {
            "parameterValues": {"seed": 7.0, "rate": 1.0, "name": "taxi", "run_id": "run-1"},
            "artifacts": {
                "examples": {
                    "artifacts": [
                        {
                            "name": "12",
                            "type": {"instanceSchema": ""},
                            "uri": "minio://b/examples",
                            "metadata": {
                                "rows": 5.0,
                                "tags": {"list": ["x"]},
                                "source": "minio://b/elsewhere",
                            },
                        }
                    ]
                },
                "champion": {
                    "artifacts": [
                        {"type": {}, "uri": "minio://b/champion", "metadata": {"present": 0.0}}
                    ]
                },
            },
        },
        "outputs": {
            "artifacts": {
                key: {"artifacts": [{"name": "", "type": schema, "uri": f"minio://b/out/{key}"}]}
                for key, schema in ((k, {"instanceSchema": t}) for k, t in outputs.items())
            },
            "outputFile": str(folder / "kfp_outputs" / "output_metadata.json"),
        },
    }


def _run(name: str, executor_input: dict[str, Any], spec: dict[str, Any] = _SPEC) -> int:
    return kubeflow_entrypoint.main(
        [
            *("--executor_class_path", f"{PROBES}.{name}"),
            *("--json_serialized_invocation_args", json.dumps(executor_input)),
            *("--component", "Probe"),
            *("--json_serialized_inputs_spec_args", json.dumps(spec)),
        ]
    )


def test_a_component_sees_what_it_would_see_locally(mounts: pathlib.Path) -> None:
    given = _executor_input(mounts, model=_MODEL["instanceSchema"])
    assert _run("Probe", given) == 0
    out = mounts / "minio" / "b" / "out" / "model"
    seen = json.loads((out / "seen.json").read_text("utf-8"))
    assert seen["inputs"] == {
        "examples": {
            "type": "Examples",
            "uri": str(mounts / "minio" / "b" / "examples"),
            "files": ["data"],
            "rows": 5,
            "tags": ["x"],
            "source": str(mounts / "minio" / "b" / "elsewhere"),
        }
    }
    assert seen["properties"] == {
        "seed": ["int", 7],
        "rate": ["float", 1.0],
        "name": ["str", "taxi"],
    }
    assert seen["run"] == "run-1"


def test_the_backend_gets_addresses_and_metadata_that_it_can_store(mounts: pathlib.Path) -> None:
    given = _executor_input(mounts, model=_MODEL["instanceSchema"])
    assert _run("Probe", given) == 0
    written = json.loads(pathlib.Path(given["outputs"]["outputFile"]).read_text("utf-8"))
    [artifact] = written["artifacts"]["model"]["artifacts"]
    assert artifact["uri"] == "minio://b/out/model"
    metadata = artifact["metadata"]
    assert metadata["made_from"] == "minio://b/examples"
    assert (metadata["rows"], metadata["good"], metadata["loss"]) == (12, 1, "nan")
    assert metadata["tags"] == ["a", "b"]
    assert None not in metadata.values()


def test_nothing_of_an_earlier_attempt_is_left(mounts: pathlib.Path) -> None:
    given = _executor_input(mounts, model=_MODEL["instanceSchema"])
    out = mounts / "minio" / "b" / "out" / "model"
    out.mkdir(parents=True)
    (out / "half").write_text("written", encoding="utf-8")
    assert _run("Probe", given) == 0
    assert not (out / "half").exists()


def test_a_reason_ends_as_a_sentence_and_as_data(
    mounts: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("Blocked", _executor_input(mounts)) == 3
    *_, sentence, record = capsys.readouterr().err.splitlines()
    assert sentence == (
        "Probe failed: COLUMN_MISSING: The column `fare` is missing. -> Bring it back."
    )
    assert json.loads(record.removeprefix(failure.FAILURE)) == {
        "component": "Probe",
        "state": "blocked_by_data",
        "reasons": [
            {
                "code": "COLUMN_MISSING",
                "message": "The column `fare` is missing.",
                "cases": [],
                "next": "Bring it back.",
                "severity": "block",
            }
        ],
    }


def test_a_mistake_ends_with_its_stack_trace_and_one_sentence(
    mounts: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("Broken", _executor_input(mounts)) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "Probe failed: COMPONENT_FAILED: ValueError: two of them" in text
    assert not (mounts / "kfp_outputs" / "output_metadata.json").exists()


def test_kubernetes_is_told_too(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "termination-log"
    failure.report("Trainer", ValueError("never"), log)
    assert not log.exists(), "it is Kubernetes that makes the file"
    log.touch()
    failure.report("Trainer", ValueError("x" * 9000), log)
    assert log.read_text("utf-8").startswith("Trainer failed: COMPONENT_FAILED: ValueError: xxx")
    assert log.stat().st_size <= 4096


@pytest.mark.parametrize("in_store", ["file", "gs", "s3", "minio"], indirect=True)
def test_a_registry_in_a_bucket_is_worked_on_as_a_copy(mounts: pathlib.Path, in_store: str) -> None:
    given = _executor_input(mounts, pushed_model="title: tfx.PushedModel\ntype: object\n")
    given["inputs"]["parameterValues"]["registry"] = in_store
    spec = {**_SPEC, "parameters": {**_SPEC["parameters"], "registry": {"parameterType": "STRING"}}}
    for expected in ("after-None", "after-after-None"):
        assert _run("Push", given, spec) == 0
        Bucket(in_store).fetch(["CURRENT"], mounts)
        assert (mounts / "CURRENT").read_text("utf-8").strip() == expected
    pushed = mounts / "minio" / "b" / "out" / "pushed_model" / "push.json"
    note = json.loads(pushed.read_text("utf-8"))
    assert note["path"] == f"{in_store}/versions/after-after-None"


@pytest.mark.parametrize("in_store", ["file", "gs", "s3", "minio"], indirect=True)
def test_data_in_a_bucket_is_a_file_for_the_component(mounts: pathlib.Path, in_store: str) -> None:
    (mounts / "a.csv").write_text("x\n1\n", "utf-8")
    Bucket(in_store).put(mounts, ["a.csv"])
    given = _executor_input(mounts, model=_MODEL["instanceSchema"])
    given["inputs"]["parameterValues"]["path"] = f"{in_store}/a.csv"
    spec = {**_SPEC, "parameters": {**_SPEC["parameters"], "path": {"parameterType": "STRING"}}}
    assert _run("Reader", given, spec) == 0
    out = mounts / "minio" / "b" / "out" / "model"
    assert (out / "a.csv").read_text("utf-8") == "x\n1\n"


@pytest.mark.slow
def test_a_stock_example_gen_runs_its_driver_in_place(mounts: pathlib.Path) -> None:
    """TFX's CsvExampleGen: the driver finds the span and the files, and the executor reads them."""
    from tfx.components import CsvExampleGen

    data = mounts / "data" / "span-3"
    data.mkdir(parents=True)
    (data / "a.csv").write_text("x,y\n" + "1,2\n" * 20, encoding="utf-8")
    component = CsvExampleGen(input_base=str(mounts / "data"))
    properties = {k: v for k, v in component.exec_properties.items() if v is not None}
    splits = {"splits": [{"name": "all", "pattern": "span-{SPAN}/*.csv"}]}
    properties["input_config"] = json.dumps(splits)
    values, kinds = {}, {}
    for key, value in properties.items():
        values[key] = value if isinstance(value, (str, int, float)) else json.dumps(value)
        number = isinstance(value, (int, float))
        kinds[key] = {"parameterType": "NUMBER_INTEGER" if number else "STRING"}
    given = _executor_input(mounts, examples=_EXAMPLES["instanceSchema"])
    given["inputs"] = {"parameterValues": values}
    code = kubeflow_entrypoint.main(
        [
            *(
                "--executor_class_path",
                "tfx.components.example_gen.csv_example_gen.executor.Executor",
            ),
            *("--json_serialized_invocation_args", json.dumps(given)),
            *("--json_serialized_inputs_spec_args", json.dumps({"parameters": kinds})),
        ]
    )
    assert code == 0
    written = json.loads(pathlib.Path(given["outputs"]["outputFile"]).read_text("utf-8"))
    [artifact] = written["artifacts"]["examples"]["artifacts"]
    assert artifact["metadata"]["custom:span"] == 3  # TFX sets it as a custom property
    assert artifact["metadata"]["input_fingerprint"]
    out = mounts / "minio" / "b" / "out" / "examples"
    assert {path.name for path in out.iterdir()} >= {"Split-train", "Split-eval"}
