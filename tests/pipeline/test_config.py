from __future__ import annotations

import pathlib

import pytest
import yaml

from models.errors import ConfigError
from pipeline import config as config_module

GOOD = {
    "name": "demo",
    "data": {"path": "data.csv"},
    "task": {"label": "y", "type": "binary"},
    "features": {"x": "numeric", "s": "categorical", "skip": "ignore"},
}


def changed(**settings) -> dict:
    return {**GOOD, **settings}


def test_little_is_needed_and_the_rest_has_defaults():
    config = config_module.parse(GOOD)
    assert config.teacher.hidden == (128, 64)
    assert config.kinds == {
        "x": "numeric",
        "s": "categorical",
        "skip": "ignore",
        "y": "categorical",
    }


def test_what_is_dumped_is_read_again():
    config = config_module.parse(
        changed(evaluation={"slices": [["s"]], "thresholds": {"auc": 0.8}}, seed=7)
    )
    assert config_module.parse(yaml.safe_load(config_module.dump(config))) == config


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        (changed(techer={}), "UNKNOWN_KEY", ["`techer`", "Did you mean 'teacher'?"]),
        (
            changed(teacher={"hiden": [8]}),
            "UNKNOWN_KEY",
            ["`teacher.hiden`", "Did you mean 'hidden'?"],
        ),
        (changed(teacher={"epochs": "many"}), "WRONG_VALUE", ["`teacher.epochs`", "'many'"]),
        (changed(seed=-1), "WRONG_VALUE", ["`seed` is -1", "greater than or equal to 0"]),
        (changed(features={"x": "number"}), "WRONG_VALUE", ["features.x", "'numeric'"]),
        (changed(name="a b"), "WRONG_VALUE", ["`name`"]),
        ({"name": "x"}, "WRONG_VALUE", ["`data` is missing", "`task` is missing"]),
        (
            changed(data={"path": "d", "split": {"by": "time"}}),
            "WRONG_VALUE",
            ["split by time needs `column`"],
        ),
        (
            changed(data={"path": "d", "split": {"train": 0.9}}),
            "WRONG_VALUE",
            ["must add up to 1, not 1.2"],
        ),
        (changed(quantizer={"recipes": ["int9"]}), "UNKNOWN_RECIPE", ["int9", "int8"]),
        (changed(quantizer={"recipes": []}), "NO_RECIPES", ["quantizer.recipes"]),
        (
            changed(validation={"policy": {"COLUMN_MISING": "warn"}}),
            "UNKNOWN_KEY",
            ["COLUMN_MISING", "COLUMN_MISSING"],
        ),
        (changed(features={"y": "numeric"}), "LABEL_IS_FEATURE", ["`y`"]),
        (changed(features={"x": "ignore"}), "NO_FEATURES", ["no column"]),
        (changed(beam_args=["--runner=x"]), "BEAM_ARGS_UNUSED", ["engine: beam"]),
        (
            changed(evaluation={"thresholds": {"auc": 1.2}}),
            "THRESHOLD_INVALID",
            ["auc"],
        ),
        (changed(evaluation={"thresholds": {"acuracy": 0.5}}), "THRESHOLD_INVALID", ["accuracy"]),
        (changed(evaluation={"thresholds": {"rmse": 0.5}}), "THRESHOLD_INVALID", ["rmse"]),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(settings, code, words):
    with pytest.raises(ConfigError) as error:
        config_module.parse(settings, "flywheel.yaml")
    assert error.value.reason.code == code
    for word in words:
        assert word in str(error.value)
    assert error.value.reason.next and error.value.exit_code == 2


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        config_module.parse(changed(sead=1, teacher={"epochs": 0}))
    assert {c["key"] for c in error.value.reason.cases} == {"sead", "teacher.epochs"}


def test_paths_are_taken_from_the_files_folder(tmp_path: pathlib.Path):
    path = tmp_path / "sub" / "flywheel.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(GOOD))
    config = config_module.load(path)
    assert config.data.path == str(tmp_path / "sub" / "data.csv")
    assert config.deploy.path == str(tmp_path / "sub" / "deployed")
    assert config.root == str(tmp_path / "sub" / ".flywheel")


@pytest.mark.parametrize("demo", ["demo:chicago-taxi", "gs://bucket/x.csv", "/abs/x.csv"])
def test_demos_and_absolute_paths_stay(demo, tmp_path):
    config = config_module.parse(changed(data={"path": demo}))
    assert config_module.with_absolute_paths(config, tmp_path).data.path == demo


@pytest.mark.parametrize(
    ("text", "code"),
    [("a: [1", "INVALID_YAML"), ("", "INVALID_CONFIG"), ("- a", "INVALID_CONFIG")],
)
def test_files_that_are_no_config(tmp_path, text, code):
    path = tmp_path / "flywheel.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        config_module.load(path)
    assert error.value.reason.code == code


def test_a_missing_config_says_how_to_get_one(tmp_path):
    with pytest.raises(ConfigError, match="flywheel init DATA"):
        config_module.load(tmp_path / "none.yaml")
