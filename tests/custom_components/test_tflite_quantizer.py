"""Variants from real converters in processes of their own."""

from __future__ import annotations

import json
import os
import time

import pytest
from tfx.types import standard_artifacts

from custom_components.tflite_quantizer import recipes
from custom_components.tflite_quantizer.executor import Executor
from custom_components.tflite_quantizer.options import QuantizerOptions
from models.errors import ConfigError, FlywheelError


def test_unknown_recipes_name_the_closest():
    with pytest.raises(ConfigError, match="Did you mean 'int8_ptq'"):
        recipes.get("int8_ptx")


class Aborts(recipes.Recipe):
    """Arrives in the converting process as a call of `os.abort`."""

    def __reduce__(self):
        return os.abort, ()


class Hangs(recipes.Recipe):
    """Arrives there as a long sleep."""

    def __reduce__(self):
        return time.sleep, (600,)


class Greedy:
    """Takes 4 GB as soon as something is asked of it."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return bytearray(4 * 1024**3)


class Eats(recipes.Recipe):
    """Arrives there as something greedy."""

    def __reduce__(self):
        return Greedy, ()


@pytest.fixture
def crashing_recipes():
    faulty = (Aborts("aborts", "int8"), Hangs("hangs", "int8"), Eats("eats", "int8"))
    for recipe in faulty:
        recipes.register(recipe)
    yield
    for recipe in faulty:
        del recipes._REGISTRY[recipe.name]


def run(taxi, folder, **options) -> tuple[dict, str]:
    command, _ = taxi
    first = command.json("runs", "list")[-1]["run_id"]
    uris = command.json("runs", "show", first)["artifacts"]

    def artifact(kind, uri):
        made = kind()
        made.uri = str(uri)
        return [made]

    examples = artifact(standard_artifacts.Examples, uris["ExampleGen.examples"])
    examples[0].split_names = json.dumps(["train", "eval", "test"])
    outputs = {
        "chosen": artifact(standard_artifacts.Model, folder / "chosen"),
        "variants": artifact(standard_artifacts.ModelRun, folder / "variants"),
    }
    Executor().Do(
        {
            "examples": examples,
            "model": artifact(standard_artifacts.Model, uris["Distiller.model"]),
            "teacher": artifact(standard_artifacts.Model, uris["Trainer.model"]),
        },
        outputs,
        {"options": QuantizerOptions(**options).model_dump_json(), "seed": 0},
    )
    report = json.loads((folder / "variants" / "variants.json").read_text())
    return report, uris["TFLiteQuantizer.variants"]


@pytest.mark.slow
def test_a_recipe_that_crashes_hangs_or_eats_costs_itself(taxi, tmp_path, crashing_recipes):
    report, _ = run(
        taxi,
        tmp_path,
        recipes=("aborts", "float32", "hangs", "eats", "int16x8", "float16"),
        timeout_seconds=60,
        memory_mb=2048,
    )
    found = {v["name"]: v for v in report["variants"]}
    assert found["aborts"]["state"] == "skipped" and "SIGABRT" in found["aborts"]["reason"]
    assert found["hangs"]["state"] == "skipped" and "60 s" in found["hangs"]["reason"]
    assert found["eats"]["state"] == "skipped" and "2,048 MB" in found["eats"]["reason"]
    assert found["int16x8"]["reason"].startswith("SKIPPED: int16x8 needs ")
    assert {found["float32"]["state"], found["float16"]["state"]} == {"shipped", "eligible"}
    shipped = (tmp_path / "chosen" / "Format-Serving" / "tflite").read_bytes()
    [name] = [n for n, v in found.items() if v["state"] == "shipped"]
    assert len(shipped) == found[name]["bytes"]


@pytest.mark.slow
def test_a_search_adds_its_best_and_layers_are_judged_alone(taxi, tmp_path):
    report, _ = run(
        taxi,
        tmp_path / "TFLiteQuantizer" / "variants" / "1",
        recipes=("float32",),
        search={"trials": 3},
        sensitivity=True,
    )
    folder = tmp_path / "TFLiteQuantizer" / "variants" / "1" / "variants"
    tried = json.loads((folder / "trials.json").read_text())
    assert tried["stopped"] == "trials" and tried["best"]
    [best] = [v for v in report["variants"] if v["name"] == tried["best"]]
    assert best["state"] == "shipped" and best["bytes"] < 10_000
    assert (folder / f"{best['name']}.tflite").stat().st_size == best["bytes"]
    assert report["search"]["recipes"] == 3
    assert list((tmp_path / "TFLiteQuantizer" / "variants").glob("**/search/*.jsonl"))
    layers = {layer["layer"]: layer["quality"] for layer in report["layers"]}
    assert list(layers) == ["embedding", "hidden_1", "logits"]
    assert layers["logits"]["high"] > layers["embedding"]["high"]


@pytest.mark.slow
def test_integers_keep_the_quality_and_many_different_answers(taxi):
    """The last layer stays in float: otherwise a model has 256 answers at most."""
    import numpy as np
    import pyarrow as pa

    from models import examples
    from models.predictor import Predictor, TFLiteRunner
    from models.spec import ModelSpec

    command, result = taxi
    first = command.json("runs", "list")[-1]["run_id"]
    uris = command.json("runs", "show", first)["artifacts"]
    spec = ModelSpec.load(uris["TFLiteQuantizer.chosen"])
    rows = pa.Table.from_batches(examples.read_split(f"{uris['ExampleGen.examples']}/Split-test"))
    by_name = {v["name"]: v for v in result["variants"]}
    for name in ("int8_ptq", "int8_qat"):
        path = f"{uris['TFLiteQuantizer.variants']}/{name}.tflite"
        answers = Predictor(spec, TFLiteRunner(path)).predict(rows)
        assert len(np.unique(answers)) > 1000
        drop = by_name["float32"]["metrics"]["auc"] - by_name[name]["metrics"]["auc"]
        assert abs(drop) < 0.003


@pytest.mark.slow
def test_when_no_recipe_works_the_component_says_so(taxi, tmp_path, crashing_recipes):
    with pytest.raises(FlywheelError) as error:
        run(taxi, tmp_path, recipes=("aborts",))
    assert error.value.reason.code == "NO_VARIANT" and "SIGABRT" in str(error.value)
