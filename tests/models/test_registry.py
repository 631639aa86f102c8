from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from models import golden
from models.errors import ConfigError, FlywheelError
from models.predictor import Predictor, TFLiteRunner
from models.registry import Registry
from models.spec import ModelSpec, NumericFeature

SPEC = ModelSpec("binary", "y", ("0", "1"), (NumericFeature("x", 0.0, -9.0, 9.0, 0.0, 1.0),), ())


@pytest.fixture(scope="module")
def model_files(tmp_path_factory) -> list[dict[str, bytes]]:
    """Two small models, as the Pusher hands them over."""
    from custom_components.tflite_quantizer import recipes
    from custom_components.tflite_quantizer.convert import to_tflite
    from models.graph import Serving
    from models.network import build_network
    from models.options import StudentOptions

    made = []
    for seed in (0, 1):
        content = to_tflite(
            Serving(SPEC, build_network(SPEC, StudentOptions(), seed)), recipes.get("float32")
        )
        rows = {"x": np.array([[-1.0], [np.nan], [3.0]], np.float32)}
        made.append(
            {
                "model.tflite": content,
                "model.json": json.dumps(SPEC.to_dict()).encode(),
                "golden.json": golden.record(Predictor(SPEC, TFLiteRunner(content)), rows),
            }
        )
    return made


DETAILS = {"run_id": "r1", "data_fingerprint": "d1", "metrics": {"auc": 0.9}}


def test_a_push_is_complete_and_current(tmp_path, model_files):
    registry = Registry(tmp_path / "deployed")
    version, new = registry.publish(model_files[0], DETAILS)
    assert new and registry.current() == version
    assert registry.verify()["requests"] == 3
    [listed] = registry.versions()
    assert (listed.name, listed.current, listed.metrics) == (version, True, {"auc": 0.9})
    manifest = registry.manifest(version)
    assert set(manifest["files"]) == set(model_files[0])
    assert manifest["run_id"] == "r1"


def test_the_same_content_is_the_same_version(tmp_path, model_files):
    registry = Registry(tmp_path)
    first = registry.publish(model_files[0], DETAILS)
    again = registry.publish(model_files[0], {**DETAILS, "run_id": "r2"})
    assert again == (first[0], False)
    assert len(registry.versions()) == 1


def test_rollback_moves_the_pointer_and_is_recorded(tmp_path, model_files):
    registry = Registry(tmp_path)
    old, _ = registry.publish(model_files[0], DETAILS)
    new, _ = registry.publish(model_files[1], DETAILS)
    assert registry.current() == new
    assert registry.rollback(old[:5]) == new
    assert registry.current() == old
    assert [e["to"] for e in registry.history()] == [old, new, old]


def test_a_file_that_answers_otherwise_is_never_visible(tmp_path, model_files):
    registry = Registry(tmp_path)
    old, _ = registry.publish(model_files[0], DETAILS)
    swapped = {**model_files[1], "golden.json": model_files[0]["golden.json"]}
    with pytest.raises(FlywheelError) as error:
        registry.publish(swapped, DETAILS)
    assert error.value.reason.code == "GOLDEN_MISMATCH"
    assert registry.current() == old and len(registry.versions()) == 1
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".staging")) == []


def test_a_file_that_cannot_be_loaded_is_never_visible(tmp_path, model_files):
    registry = Registry(tmp_path)
    broken = {**model_files[0], "model.tflite": b"\x00" * 400}
    with pytest.raises(FlywheelError) as error:
        registry.publish(broken, DETAILS)
    assert error.value.reason.code == "MODEL_UNUSABLE"
    assert registry.current() is None and registry.versions() == []


@pytest.mark.parametrize("name", ["model.tflite", "model.json", "golden.json"])
def test_damage_is_found_and_not_rolled_back_to(tmp_path, model_files, name):
    registry = Registry(tmp_path)
    old, _ = registry.publish(model_files[0], DETAILS)
    new, _ = registry.publish(model_files[1], DETAILS)
    path = registry.folder(old) / name
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(FlywheelError) as error:
        registry.rollback(old)
    assert error.value.reason.code == "VERSION_DAMAGED"
    assert error.value.reason.cases == ({"file": name, "problem": "has changed (SHA-256 differs)"},)
    assert registry.current() == new


def test_a_damaged_version_is_mended_by_pushing_it_again(tmp_path, model_files):
    registry = Registry(tmp_path)
    version, _ = registry.publish(model_files[0], DETAILS)
    (registry.folder(version) / "golden.json").unlink()
    assert registry.publish(model_files[0], DETAILS) == (version, True)
    registry.verify(version)


def test_names_that_are_not_there_are_explained(tmp_path, model_files):
    registry = Registry(tmp_path)
    with pytest.raises(ConfigError, match="No model has been deployed"):
        registry.resolve()
    version, _ = registry.publish(model_files[0], DETAILS)
    with pytest.raises(ConfigError, match="is not a deployed version"):
        registry.resolve("zz")
    assert registry.resolve(version[:4]) == version


def test_a_half_written_version_is_not_listed(tmp_path: pathlib.Path, model_files):
    registry = Registry(tmp_path)
    version, _ = registry.publish(model_files[0], DETAILS)
    (tmp_path / "versions" / "half").mkdir()
    (tmp_path / "versions" / "half" / "model.tflite").write_bytes(b"")
    assert [v.name for v in registry.versions()] == [version]
