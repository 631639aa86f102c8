"""`flywheel compile`: what it writes, and what it refuses before it starts."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from models.errors import ConfigError
from pipeline.kubeflow.compile import compile_config
from pipeline.kubeflow.document import read
from tests.conftest import Flywheel
from tests.pipeline.kubeflow.compiled import HERE, config


@pytest.mark.parametrize(
    ("changed", "target", "code"),
    [
        ({"name": "Taxi"}, "kfp", "BAD_PIPELINE_NAME"),
        ({"name": "taxi-"}, "kfp", "BAD_PIPELINE_NAME"),
        ({}, "vertex", "REGISTRY_NOT_A_BUCKET"),
    ],
)
def test_what_cannot_be_compiled_is_said_before_tfx_is_asked(
    changed: dict[str, str], target: str, code: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_config(config("full.yaml").model_copy(update=changed), target)  # type: ignore[arg-type]
    assert caught.value.reason.code == code


def test_a_root_that_vertex_does_not_know() -> None:
    settings = config("vertex.yaml")
    kubeflow = settings.kubeflow.model_copy(update={"pipeline_root": "s3://bucket/root"})
    with pytest.raises(ConfigError) as caught:
        compile_config(settings.model_copy(update={"kubeflow": kubeflow}), "vertex")
    assert caught.value.reason.code == "ROOT_NOT_ON_VERTEX"


def test_a_refusal_of_the_child_is_the_commands(flywheel: Flywheel) -> None:
    settings = yaml.safe_load((HERE / "configs" / "plain.yaml").read_text("utf-8"))
    settings["data"]["path"] = "trips.csv"
    (flywheel.folder / "flywheel.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    refused = flywheel.json("compile", "-o", "taxi.yaml", check=2)
    assert refused["reasons"][0]["code"] == "PATH_NOT_IN_CLUSTER"
    assert str(flywheel.folder / "trips.csv") in refused["reasons"][0]["message"]
    assert not (flywheel.folder / "taxi.yaml").exists()


@pytest.mark.slow
def test_the_command_writes_what_was_reviewed(flywheel: Flywheel) -> None:
    path = str(HERE / "configs" / "full.yaml")
    result = flywheel.json("compile", "--config", path, "-o", "out/taxi.yaml")
    assert result == {"file": "out/taxi.yaml", "target": "kfp", "clean": True, "findings": []}
    written = flywheel.folder / "out" / "taxi.yaml"
    assert read(written) == read(HERE / "golden" / "full.kfp.yaml")
    assert [p.name for p in written.parent.iterdir()] == ["taxi.yaml"]


@pytest.mark.slow
def test_the_command_names_what_vertex_ignores(flywheel: Flywheel) -> None:
    path = str(HERE / "configs" / "vertex.yaml")
    result = flywheel.json("compile", "--config", path, "--target", "vertex")
    assert result["clean"]
    [finding] = result["findings"]
    assert finding["code"] == "VERTEX_IGNORES"
    assert pathlib.Path(flywheel.folder, "taxi.json").read_text("utf-8") == (
        HERE / "golden" / "vertex.json"
    ).read_text("utf-8")
