"""A folder of images through the command: from `init` to predictions of the deployed file."""

from __future__ import annotations

import csv
import json
import pathlib

import numpy as np
import pytest
import yaml

from models.predictor import Predictor
from models.spec import ModelSpec
from tests.conftest import Flywheel

pytestmark = pytest.mark.slow

RECIPES = ["float32", "dynamic_range", "int8_ptq", "int8_qat", "int16x8", "pruned50_int8"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flywheel, dict]:
    """The demo as it is initialised, with more recipes: the command and the run's result."""
    command = Flywheel(tmp_path_factory.mktemp("digits"))
    command("init", "demo:digits", XDG_CACHE_HOME=str(command.folder / "cache"))
    path = command.folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    assert config["features"]["image"] == "image"
    assert config["data"]["image"] == {"height": 8, "width": 8, "channels": 1}
    config["quantizer"] = {"recipes": RECIPES}
    path.write_text(yaml.safe_dump(config), "utf-8")
    return command, command.json("run", XDG_CACHE_HOME=str(command.folder / "cache"))


def artifact(digits: tuple[Flywheel, dict], name: str, file: str) -> dict:
    command, result = digits
    run = command.json("runs", "show", result["run_id"])
    return json.loads((pathlib.Path(run["artifacts"][name]) / file).read_text("utf-8"))


def test_it_ends_pushed_and_knows_the_digits(digits):
    result = digits[1]
    assert result["state"] == "pushed"
    assert result["metrics"]["shipped"]["accuracy"] > 0.95
    assert result["metrics"]["teacher"]["accuracy"] > 0.97


def test_every_variant_is_a_real_file(digits):
    variants = {v["name"]: v for v in digits[1]["variants"]}
    assert set(RECIPES) <= set(variants)
    for name in RECIPES:
        assert variants[name]["state"] != "skipped", variants[name]["reason"]
        assert variants[name]["metrics"]["accuracy"] > 0.9
    assert variants["int8_qat"]["bytes"] < 0.7 * variants["float32"]["bytes"]
    assert variants["pruned50_int8"]["gzip_bytes"] < variants["int8_qat"]["gzip_bytes"]


def test_both_networks_are_convolutions_and_the_controls_are_there(digits):
    for name in ("Trainer.model", "Distiller.model"):
        network = artifact(digits, name, "network.json")
        assert network["convolution"] == ("full" if name == "Trainer.model" else "separable")
    report = artifact(digits, "Distiller.model_run", "distillation.json")
    assert {"distilled", "control", "control_dropout"} <= set(report["networks"])
    assert report["teacher"]["parameters"] > 20 * report["networks"]["control"]["parameters"]
    assert "pixels" in report["reference"]["kind"]


def test_what_is_validated_is_what_was_measured_of_the_pictures(digits):
    verdict = artifact(digits, "SchemaValidator.anomalies", "verdict.json")
    assert not [r for r in verdict["reasons"] if r["severity"] == "block"]
    command, result = digits
    page = pathlib.Path(result["report"]).read_text("utf-8")
    assert "image_brightness" in page


def test_a_folder_of_pictures_is_predicted(digits):
    command, _ = digits
    folder = next((command.folder / "cache" / "flywheel").glob("digits-*"))
    done = command.json("predict", str(folder), "--output", "all.csv")
    assert done["rows"] == 1797
    with (command.folder / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "image" not in rows[0]
    right = np.mean([row["label"] == row["prediction"] for row in rows])
    assert right > 0.95
    total = sum(float(v) for k, v in rows[0].items() if k.startswith("probability_"))
    assert total == pytest.approx(1.0, abs=1e-3)
    one = next(folder.glob("7/*.png"))
    command("predict", str(one), "--output", "one.csv")
    with (command.folder / "one.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["prediction"] == rows[[r["file"] for r in rows].index(f"7/{one.name}")]["prediction"]


def test_a_tfrecord_of_encoded_pictures_is_predicted(digits, tmp_path):
    import tensorflow as tf

    command, _ = digits
    folder = next((command.folder / "cache" / "flywheel").glob("digits-*"))
    files = sorted(folder.glob("[3-5]/*.png"))[::60]
    with tf.io.TFRecordWriter(str(tmp_path / "new.tfrecord")) as writer:
        for file in files:
            content = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file.read_bytes()]))
            features = tf.train.Features(feature={"image": content})
            writer.write(tf.train.Example(features=features).SerializeToString())
    command("predict", str(tmp_path / "new.tfrecord"), "--output", "record.csv")
    with (command.folder / "record.csv").open(newline="") as file:
        said = [row["prediction"] for row in csv.DictReader(file)]
    assert len(said) == len(files)
    assert np.mean([a == b.parent.name for a, b in zip(said, files, strict=True)]) > 0.8


def test_the_deployed_version_is_complete(digits):
    command, _ = digits
    listed = json.loads(command("models", "list", "--json").stdout)
    [version] = [v for v in listed if v["current"]]
    shown = command.json("models", "show", version["name"])
    assert shown["inputs"] == {"image": "uint8 8 x 8 x 1"}
    spec = ModelSpec.load(shown["path"])
    assert spec.image.shape == (8, 8, 1)
    black = np.zeros((3, 8, 8, 1), np.uint8)
    answers = Predictor.load(shown["path"]).predict_inputs({"image": black})
    assert answers.shape == (3, 10)
    assert command("models", "verify").returncode == 0
    again = command.json("run", XDG_CACHE_HOME=str(command.folder / "cache"))
    assert again["state"] == "pushed"
