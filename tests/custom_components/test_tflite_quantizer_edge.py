"""Recipes of ai-edge-quantizer, and layers that stay in float: read from real files.

What needs the environment of `make edge` is skipped where it is not.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from custom_components.tflite_quantizer import builtin, convert, edge, needs, recipes, sensitivity
from custom_components.tflite_quantizer.convert import Job
from custom_components.tflite_quantizer.recipe import Edge, Recipe
from custom_components.tflite_quantizer.search_space import Space
from models import isolation
from models.errors import ConfigError
from models.options import NetworkOptions
from tests.custom_components import test_tflite_quantizer_recipes as real

EDGE = [recipe for recipe in builtin.RECIPES if recipe.edge]
installed = pytest.mark.skipif(edge.version() is None, reason="`make edge` was not run")


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> real.Workshop:
    isolation.warm_up(["custom_components.tflite_quantizer.convert"])
    return real.Workshop(tmp_path_factory.mktemp("edge"))


def types(content: bytes) -> dict[str, list[str]]:
    """Of each dense layer's weights, as the file says; of widened ones, what they were before.

    Read from the file: the interpreter calls 4-bit integers int8.
    """
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    graph = model.subgraphs[0]  # others fill hash tables
    names = {v: k.lower() for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    operation = schema.BuiltinOperator
    widened = {
        o.outputs[0]: o.inputs[0]
        for o in graph.operators
        if codes[o.opcodeIndex] == operation.DEQUANTIZE
    }

    def kinds(code: int, operand: int, dimensions: int) -> list[str]:
        found = [
            widened.get(o.inputs[operand], o.inputs[operand])
            for o in graph.operators
            if codes[o.opcodeIndex] == code
        ]
        tensors = [graph.tensors[i] for i in found]
        return [names[t.type] for t in tensors if len(t.shape) == dimensions]

    return {"dense": kinds(operation.FULLY_CONNECTED, 1, 2), "table": kinds(operation.GATHER, 0, 2)}


def test_a_missing_environment_is_a_skipped_recipe_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv(edge.VARIABLE, str(tmp_path / "python"))
    for recipe in EDGE:
        said = needs.reason_to_skip(recipe, real.SPEC, real.OPTIONS, 1000)
        assert said.startswith(f"SKIPPED: {recipe.name} needs ai-edge-quantizer")
        assert "`make edge`" in said and str(tmp_path / "python") in said and edge.VARIABLE in said
    plain = recipes.get("dynamic_range")
    assert needs.reason_to_skip(plain, real.SPEC, real.OPTIONS, 1000) is None


def test_a_python_without_it_is_told_from_none_at_all(monkeypatch):
    monkeypatch.setenv(edge.VARIABLE, sys.executable)
    assert "cannot import it" in edge.reason_to_skip(EDGE[0])
    assert edge.version() is None


def test_the_environment_is_looked_for_beside_the_pipelines_own(monkeypatch, tmp_path):
    monkeypatch.delenv(edge.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert edge.python() == str(tmp_path / ".venv-edge" / "bin" / "python")


def test_what_the_quantizer_says_is_the_reason(monkeypatch, shop):
    monkeypatch.setenv(edge.VARIABLE, sys.executable)
    content = shop.make(dataclasses.replace(recipes.get("float32"), name="named")).content
    with pytest.raises(ValueError, match="ai-edge-quantizer: ModuleNotFoundError"):
        edge.quantize(content, recipes.get("edge_dynamic_int8"))


def test_blocks_need_inputs_of_their_size(shop):
    """The student's only hidden layer has 15 inputs: three numbers and three embeddings of 4."""
    content = shop.make(dataclasses.replace(recipes.get("float32"), name="named")).content
    with pytest.raises(ValueError, match="a multiple of 32; those here have 15"):
        edge.quantize(content, recipes.get("edge_blockwise_int4"))
    with pytest.raises(ValueError, match="no dense layer to quantize"):
        edge.quantize(content, recipes.get("edge_dynamic_int8"), float_layers=(0,))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"weights": "int4"}, "int4 need `edge`"),
        ({"weights": "float16", "edge": {}}, "int8 or int4"),
        ({"weights": "int8", "edge": {"block": 32}}, "`edge.block` is for weights in int4"),
        (
            {"weights": "int4", "edge": {"block": 32, "compute": "weight_only"}},
            "computed dynamically",
        ),
        ({"weights": "int4", "edge": {"blocks": 32}}, "Did you mean 'block'"),
        ({"weights": "int8", "slim": False, "float_layers": ["logits"]}, "needs `slim`"),
    ],
)
def test_recipes_that_cannot_be_are_refused(fields, problem):
    with pytest.raises(ConfigError, match=problem):
        recipes.from_dict({"name": "own", **fields})


def test_recipes_go_to_json_and_back():
    for recipe in (*EDGE, Recipe("own", "int8", float_layers=("hidden_1",))):
        assert recipes.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@installed
@pytest.mark.parametrize("recipe", [r for r in EDGE if not r.edge.block], ids=lambda r: r.name)
def test_dense_weights_have_the_bits_and_the_answers_stay(shop, recipe):
    made = shop.make(recipe)
    wanted = recipe.weights
    # The last layer has 16 weights: fewer than `least_elements`.
    assert types(made.content) == {"dense": [wanted, "float32"], "table": ["int8"]}
    assert np.abs(made.answers - made.float_answers).max() < (0.05 if wanted == "int8" else 0.5)
    assert made.float_auc - made.auc < (0.005 if wanted == "int8" else 0.03)
    assert len(made.content) < 0.8 * len(shop.make("float32_compact").content)


@installed
def test_blocks_are_kept_when_the_file_is_made_slim(tmp_path):
    """A hidden layer with 64 inputs: two scales for each output."""
    import tensorflow as tf

    from custom_components.tflite_quantizer.slim import slim
    from models.predictor import SIGNATURE, TFLiteRunner

    r = np.random.default_rng(0)
    first, last = (tf.constant(r.normal(size=s), tf.float32) for s in ((64, 32), (32, 1)))

    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 64], tf.float32, "x")])
        def __call__(self, x):
            return {"y": tf.sigmoid(tf.nn.relu(x @ first) @ last)}

    module = Two()
    tf.saved_model.save(module, str(tmp_path), signatures={SIGNATURE: module.__call__})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path), signature_keys=[SIGNATURE])
    plain = converter.convert()
    quantized = edge.quantize(plain, recipes.get("edge_blockwise_int4"))
    small = slim(quantized, "int8", 64)
    assert len(small) < len(quantized) < len(plain)
    assert types(small)["dense"] == ["int4", "float32"]
    x = {"x": r.normal(size=(50, 64)).astype(np.float32)}
    answers = [TFLiteRunner(content)(x) for content in (plain, quantized, small)]
    np.testing.assert_array_equal(answers[1], answers[2])
    assert 1e-4 < np.abs(answers[0] - answers[2]).mean() < 0.1


@installed
def test_the_worker_goes_when_its_parent_does():
    """Whoever asked may be killed at its time bound; nobody is left waiting on stdin then."""
    script = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([{edge.python()!r}, '-I', {str(edge._WORKER)!r}],"
        " stdin=subprocess.PIPE)\n"
        "time.sleep(1); print(p.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(worker)


def gone(process: int) -> bool:
    import pathlib
    import time

    for _ in range(100):
        try:
            state = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def float_variant(name: str, *layers: str) -> Recipe:
    return dataclasses.replace(
        recipes.get(name), name=f"{name}_{'_'.join(layers)}", float_layers=layers
    )


@pytest.mark.parametrize("name", ["dynamic_range", "float16"])
@pytest.mark.parametrize("layer", ["embedding", "hidden_1"])
def test_named_layers_stay_float_and_the_others_do_not(shop, name, layer):
    made = shop.make(float_variant(name, layer))
    low = {"dynamic_range": "int8", "float16": "float16"}[name]
    found = types(made.content)
    assert found["table"] == (["float32"] if layer == "embedding" else [low])
    assert found["dense"][0] == ("float32" if layer == "hidden_1" else low)
    assert len(made.content) > len(shop.make(name).content)


@pytest.mark.parametrize("name", ["int8_ptq", "int8_qat"])
def test_integers_leave_the_named_one_of_two_hidden_layers(tmp_path, name):
    """With two hidden layers, the first in float, the second in integers."""
    options = NetworkOptions(
        embedding=4, hidden=(16, 8), dropout=0.0, learning_rate=1e-2, weight_decay=0.0
    )
    shop = TwoLayers(tmp_path, options)
    hidden, second, last = types(shop.content(float_variant(name, "hidden_1")))["dense"]
    assert (hidden, second, last) == ("float32", "int8", "float32")
    first, second, last = types(shop.content(recipes.get(name)))["dense"]
    assert (first, second, last) == ("int8", "int8", "float32")


class TwoLayers:
    """A network as built, with rows to calibrate and to fine-tune on."""

    def __init__(self, folder, options: NetworkOptions):
        from custom_components.tflite_quantizer import executor
        from models import bundle
        from models.network import build_network
        from models.rows import preprocess
        from models.training import predict_logits

        self._folder = folder
        train, valid = (
            preprocess(real.SPEC, real.table(seed)[0].to_batches(), keep_inputs=True)
            for seed in (0, 1)
        )
        network = build_network(real.SPEC, options, 0)
        bundle.save(str(folder / "bundle"), real.SPEC, options, network)
        logits = predict_logits(network, real.SPEC, train)
        executor.write_rows(str(folder / "rows.npz"), real.SPEC, train, valid, logits, 100)

    def content(self, recipe: Recipe) -> bytes:
        output = self._folder / f"{recipe.name}.tflite"
        rows = str(self._folder / "rows.npz")
        convert.convert(Job(recipe, str(self._folder / "bundle"), str(output), rows, 1, 0))
        return output.read_bytes()


def test_a_layer_that_is_not_there_is_said_before_any_process_starts():
    said = needs.reason_to_skip(
        float_variant("int8_ptq", "hidden_3"), real.SPEC, real.OPTIONS, 1000
    )
    assert "the layer `hidden_3`" in said and "embedding, hidden_1, logits" in said
    every = needs.reason_to_skip(
        float_variant("int8_qat", "hidden_1"), real.SPEC, real.OPTIONS, 1000
    )
    assert "`float_layers` names all of them" in every
    with pytest.raises(ValueError, match="no layer `hidden_3`"):
        sensitivity.places(real.SPEC, real.OPTIONS, ["hidden_3"])


def test_the_search_may_leave_the_most_sensitive_layers_in_float():
    space = Space.of(real.SPEC, real.OPTIONS, sensitive=("hidden_1", "embedding"))
    assert space.float_layers == ((), ("hidden_1",), ("hidden_1", "embedding"))
    plain = Space.of(real.SPEC, real.OPTIONS)
    kept = [r for r in space.recipes() if r.float_layers]
    assert len(space) > len(plain) and kept
    assert {r.weights for r in kept} == {"int8"}  # 16 bits bear every layer
    assert all(space.point(r) is not None and recipes.from_dict(r.to_dict()) == r for r in kept)
    assert len({r.name for r in space.recipes()}) == len(space)


def test_the_search_tries_four_bits_where_they_can_be_made():
    without, with_edge = (Space.of(real.SPEC, real.OPTIONS, edge=e) for e in (False, True))
    assert not [r for r in without.recipes() if r.edge]
    found = [r for r in with_edge.recipes() if r.edge]
    assert recipes.get("edge_dynamic_int4") in found and len(found) > 10
    assert {r.weights for r in found} == {"int4"}
    assert all(with_edge.point(r) is not None for r in found)


def test_edge_has_only_what_it_says():
    assert {r.name for r in EDGE} == {
        "edge_dynamic_int8",
        "edge_dynamic_int4",
        "edge_weight_only_int8",
        "edge_weight_only_int4",
        "edge_blockwise_int4",
    }
    assert Edge() == Edge("dynamic", None)
