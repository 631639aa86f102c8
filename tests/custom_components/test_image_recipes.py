"""Every technique on a network of convolutions, with the real converter and real fine-tuning."""

from __future__ import annotations

import dataclasses
import gzip

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from custom_components.tflite_quantizer import (
    compress,
    coverage,
    executor,
    needs,
    recipes,
    sensitivity,
)
from custom_components.tflite_quantizer import student as student_module
from custom_components.tflite_quantizer.convert import Job, convert
from custom_components.tflite_quantizer.search_space import Space
from models import bundle
from models.graph import network_inputs
from models.network import build_network
from models.options import StudentOptions
from models.predictor import Predictor, TFLiteRunner
from models.rows import Rows
from models.spec import ImageFeature, ModelSpec
from models.student import answers
from models.training import fit, predict_logits

SPEC = ModelSpec(
    "multiclass", "label", ("0", "1", "2", "3"), (), (), image=ImageFeature("image", 8, 8, 1)
)
OPTIONS = StudentOptions(filters=(8, 16), hidden=(8,), learning_rate=1e-2)
LAYERS = ("block_1", "block_2_depthwise", "block_2", "hidden_1", "logits")
NAMES = (
    "float32_compact float16 dynamic_range int8_ptq int8_qat int16x8 pruned50_polynomial "
    "sparse_2_4 sparse_block clustered16 pruned50_int8"
).split()


def pictures(part: int) -> Rows:
    """Every third handwritten digit from 0 to 3, or the other two thirds."""
    data = load_digits()
    known = np.flatnonzero(data.target < 4)
    picked = known[(np.arange(len(known)) % 3 == 0) == (part == 1)]
    pixels = np.round(data.images[picked] * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    empty = np.zeros((len(picked), 0), np.float32)
    labels = data.target[picked].astype(np.float32)
    return Rows(empty, empty.astype(np.int32), labels, {"image": pixels}, pixels)


TRAIN, VALID = pictures(0), pictures(1)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """The float network's folder, its answers, and the rows for converting processes."""
    folder = tmp_path_factory.mktemp("student")
    network = build_network(SPEC, OPTIONS)
    fit(network, SPEC, TRAIN, VALID, OPTIONS, name="student", usual_epochs=30)
    bundle.save(str(folder), SPEC, OPTIONS, network)
    rows = str(folder / "rows.npz")
    executor.write_rows(rows, SPEC, TRAIN, VALID, predict_logits(network, SPEC, TRAIN), 200)
    said = answers(SPEC, predict_logits(network, SPEC, VALID))
    assert np.mean(said.argmax(axis=1) == VALID.labels) > 0.95
    return folder, rows, said


@pytest.fixture(scope="module")
def made(student):
    """Recipe to file."""
    folder, rows, _ = student
    found = {}
    with pytest.MonkeyPatch.context() as patch:  # enough for four digits, and a fifth of the time
        patch.setattr(student_module, "LEAST_IMAGE_STEPS", 80)
        patch.setattr(compress, "PRUNING_STEPS", 60)
        for name in NAMES:
            recipe = recipes.get(name)
            assert needs.reason_to_skip(recipe, SPEC, OPTIONS, len(TRAIN)) is None
            convert(Job(recipe, str(folder), str(folder / f"{name}.tflite"), rows, 2, 0))
            found[name] = folder / f"{name}.tflite"
    return found


def answer(path) -> np.ndarray:
    return Predictor(SPEC, TFLiteRunner(path)).predict_inputs(VALID.inputs)


def constants(path) -> list[tuple[str, int, np.ndarray]]:
    """Operation, type and values of the weights of every convolution and dense layer."""
    model = flatbuffer_utils.read_model(str(path))
    [graph] = model.subgraphs
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    types = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT8: np.int8}
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        tensor = graph.tensors[operator.inputs[1]]
        data = model.buffers[tensor.buffer].data
        if data is not None and tensor.type in types:
            found.append((name, tensor.type, np.frombuffer(bytes(data), types[tensor.type])))
    return found


def stored(path) -> list[str]:
    """How each layer's weights are stored, in the order in which they compute."""
    names = {schema.TensorType.FLOAT32: "float32", schema.TensorType.INT8: "int8"}
    return [names[code] for _, code, _ in constants(path)]


def channel_scales(path) -> list[np.ndarray]:
    """Scales of every convolution's weights."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    tensors = {t["index"]: t["quantization_parameters"] for t in interpreter.get_tensor_details()}
    return [
        tensors[operation["inputs"][1]]["scales"]
        for operation in interpreter._get_ops_details()
        if "CONV" in operation["op_name"]
    ]


def test_the_compact_file_says_what_the_network_says(made, student):
    assert np.abs(answer(made["float32_compact"]) - student[2]).max() < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_every_file_still_knows_the_classes(made, student, name):
    said = answer(made[name])
    assert np.allclose(said.sum(axis=1), 1.0, atol=1e-3)
    assert np.mean(said.argmax(axis=1) == VALID.labels) > 0.9


@pytest.mark.parametrize("name", ["int8_ptq", "int8_qat", "pruned50_int8"])
def test_convolutions_compute_in_integers_and_the_last_layer_does_not(made, name):
    found = constants(made[name])
    assert [kind for kind, _, _ in found].count("CONV_2D") == 2
    assert {
        code == schema.TensorType.INT8 for kind, code, _ in found if kind != "FULLY_CONNECTED"
    } == {True}
    assert found[-1][1] != schema.TensorType.INT8 or "qat" in name


def test_normalisation_is_folded_away(made):
    """What is left of it would be a multiplication and an addition for each layer."""
    model = flatbuffer_utils.read_model(str(made["int8_qat"]))
    codes = {max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes}
    assert not codes & {schema.BuiltinOperator.MUL, schema.BuiltinOperator.ADD}


def test_zeros_are_where_they_were_asked_for(made):
    for kind, _, values in constants(made["pruned50_polynomial"])[:-1]:
        zeros = np.mean(values == 0)
        assert zeros < 0.1 if kind == "DEPTHWISE_CONV_2D" else zeros >= 0.49
    [pointwise] = [
        values
        for kind, _, values in constants(made["sparse_2_4"])
        if kind == "CONV_2D" and values.size == 8 * 16
    ]
    assert ((pointwise.reshape(-1, 4) == 0).sum(axis=1) >= 2).all()
    dense = [v for kind, _, v in constants(made["sparse_block"]) if kind == "FULLY_CONNECTED"]
    assert np.mean(dense[0] == 0) >= 0.4


def test_few_values_where_it_is_clustered_and_smaller_when_compressed(made):
    # Normalisation is folded in: at most 16 values for each filter.
    for kind, _, values in constants(made["clustered16"])[:-1]:
        if kind == "CONV_2D":
            filters = 8 if values.size == 72 else 16
            assert all(len(np.unique(row)) <= 16 for row in values.reshape(filters, -1))
    packed = {name: len(gzip.compress(made[name].read_bytes(), 9)) for name in NAMES}
    # Of so small a network the quantization's own parameters outweigh a zero here and there.
    assert packed["pruned50_int8"] < 1.02 * packed["int8_qat"] < packed["float32_compact"]
    size = {name: made[name].stat().st_size for name in NAMES}
    assert max(size["int8_ptq"], size["float16"]) < size["float32_compact"]


@pytest.mark.parametrize("name", ["float16", "dynamic_range"])
def test_convolutions_are_stored_in_fewer_bits(made, name):
    """The converter leaves tensors under 1,024 elements in float: all of a small network."""
    found = sensitivity.weighted_layers(made["float32_compact"].read_bytes())
    assert [layer.operation for layer in found] == [
        *("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"),
        *("FULLY_CONNECTED", "FULLY_CONNECTED"),
    ]
    if name == "dynamic_range":
        assert stored(made[name]) == ["int8"] * 4 + ["float32"]  # the last has 32 weights
        scales = channel_scales(made[name])
        assert [len(s) for s in scales] == [8, 8, 16]
    assert made[name].stat().st_size < 0.9 * made["float32_compact"].stat().st_size
    assert np.abs(answer(made[name]) - answer(made["float32_compact"])).mean() < 0.01


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("dynamic_range", ["block_2_depthwise"]),
        ("dynamic_range", ["block_2", "hidden_1"]),
        ("int8_ptq", ["block_2_depthwise"]),
        ("int8_ptq", ["block_1", "hidden_1"]),
        ("int8_qat", ["block_1", "hidden_1"]),
    ],
)
def test_named_convolutions_stay_float_and_the_others_do_not(student, made, name, kept, tmp_path):
    folder, rows, _ = student
    recipe = dataclasses.replace(recipes.get(name), float_layers=tuple(kept))
    assert needs.reason_to_skip(recipe, SPEC, OPTIONS, len(TRAIN)) is None
    path = tmp_path / "made.tflite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_module, "LEAST_IMAGE_STEPS", 20)
        convert(Job(recipe, str(folder), str(path), rows, 1, 0))
    expected = ["float32" if layer in kept else "int8" for layer in LAYERS[:-1]]
    assert stored(path) == [*expected, "float32"]
    assert path.stat().st_size > made[name].stat().st_size


def test_one_convolution_at_a_time_in_8_bits(student, made, tmp_path):
    folder, rows, _ = student
    job = Job(recipes.get("float32_compact"), str(folder), str(tmp_path / "one"), rows, 1, 0)
    for position, layer in enumerate(LAYERS):
        sensitivity.convert_layer(sensitivity.LayerJob(job, layer, position))
        path = tmp_path / "one"
        assert stored(path) == ["int8" if other == layer else "float32" for other in LAYERS]
        assert np.abs(answer(path) - answer(made["float32_compact"])).max() > 1e-5


@pytest.mark.parametrize("convolution", ["separable", "full"])
def test_layers_are_called_as_the_network_calls_them(convolution):
    options = StudentOptions(filters=(4, 4, 8), hidden=(8,), convolution=convolution)
    network = build_network(SPEC, options)
    weighted = [
        layer.name
        for layer in network.layers
        if "norm" not in layer.name and any("kernel" in w.name for w in layer.weights)
    ]
    assert sensitivity.layers(SPEC, options) == tuple(weighted)
    assert sensitivity.places(SPEC, options, ["block_2", "logits"]) == (
        weighted.index("block_2"),
        len(weighted) - 1,
    )


def test_simulated_quantization_cannot_leave_a_layer_out_in_the_middle():
    recipe = dataclasses.replace(recipes.get("int8_qat"), float_layers=("block_2_depthwise",))
    said = needs.reason_to_skip(recipe, SPEC, OPTIONS, 600)
    assert "`block_2_depthwise`" in said and "`ranges: representative`" in said
    every = dataclasses.replace(recipe, float_layers=tuple(LAYERS[:-1]))
    assert "names all of them" in needs.reason_to_skip(every, SPEC, OPTIONS, 600)


def test_a_search_may_leave_convolutions_in_float_and_compute_in_integers_without_dense_layers():
    plain = OPTIONS.model_copy(update={"hidden": ()})
    space = Space.of(SPEC, plain, sensitive=("block_1",))
    assert "int8_ptq" in space.precisions
    assert ("block_1",) in space.float_layers


def test_what_cannot_work_is_said_before_it_is_tried():
    plain = OPTIONS.model_copy(update={"hidden": ()})
    assert needs.reason_to_skip(recipes.get("int8_qat"), SPEC, plain, 600) is None
    blocks = needs.reason_to_skip(recipes.get("sparse_block"), SPEC, plain, 600)
    assert blocks.startswith("SKIPPED: sparse_block needs a hidden layer to prune")
    tables = needs.reason_to_skip(recipes.get("int8_qat_tables"), SPEC, OPTIONS, 600)
    assert "categorical" in tables
    tiny = OPTIONS.model_copy(update={"filters": (1, 1), "hidden": (16,)})
    assert "to cluster" in needs.reason_to_skip(recipes.get("clustered16"), SPEC, tiny, 600)


def test_calibration_sees_the_darkest_and_the_brightest():
    rows = dataclasses.replace(TRAIN, image=TRAIN.image.copy())
    rows.image[17], rows.image[399] = 0, 255
    picked = coverage.representative(rows, 20)
    assert {17, 399} <= set(picked) and len(picked) == 20


def test_a_kernel_as_a_matrix():
    assert compress.matrix(np.zeros((3, 3, 4, 8))).shape == (36, 8)
    parts = network_inputs(SPEC, TRAIN.numeric, TRAIN.ids, TRAIN.image)
    assert [part.shape for part in parts] == [(len(TRAIN), 8, 8, 1)]
