"""Every technique on a network of convolutions, with the real converter and real fine-tuning."""

from __future__ import annotations

import dataclasses
import gzip

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from custom_components.tflite_quantizer import compress, coverage, executor, needs, recipes
from custom_components.tflite_quantizer import student as student_module
from custom_components.tflite_quantizer.convert import Job, convert
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
