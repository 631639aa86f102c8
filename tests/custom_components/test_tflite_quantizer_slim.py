"""Files made slim answer as before; graphs made compact compute the same function."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from custom_components.tflite_quantizer import recipes, tables
from custom_components.tflite_quantizer.convert import to_tflite
from custom_components.tflite_quantizer.pack import SharingBuilder, pack
from custom_components.tflite_quantizer.slim import slim
from custom_components.tflite_quantizer.student import Student
from models import feeds
from models.graph import Serving
from models.network import build_network
from models.options import NetworkOptions
from models.predictor import SIGNATURE, TFLiteRunner, by_tensor
from models.rows import preprocess
from models.spec import CategoricalFeature, ModelSpec, NumericFeature

OPTIONS = NetworkOptions(
    embedding=3, hidden=(8,), dropout=0.0, learning_rate=1e-2, weight_decay=0.0
)
PLAIN = recipes.get("float32")


def spec_of(features) -> ModelSpec:
    """A spec of drawn features: numbers as (low, high), categories as sets of values."""
    numeric, categorical = [], []
    for number, feature in enumerate(features):
        name = f"x{number}"
        if isinstance(feature, tuple):
            low, high = sorted(feature)
            middle = (low + high) / 2
            numeric.append(NumericFeature(name, middle, low, high, middle, (high - low) / 4 + 0.1))
        elif all(isinstance(v, int) for v in feature):
            values = tuple(str(v) for v in sorted(feature))
            categorical.append(CategoricalFeature(name, "integer", values, "integer"))
        else:
            categorical.append(CategoricalFeature(name, "string", tuple(sorted(feature))))
    return ModelSpec("binary", "y", ("no", "yes"), tuple(numeric), tuple(categorical))


def awkward_rows(spec: ModelSpec, rows: int = 64) -> dict[str, np.ndarray]:
    """Known, unknown and missing values, around and far outside every range."""
    r = np.random.default_rng(3)
    columns = {}
    for feature in spec.features:
        if isinstance(feature, NumericFeature):
            span = feature.high - feature.low
            values = r.uniform(feature.low - span, feature.high + span, rows).astype(np.float32)
        elif feature.dtype == "integer":
            known = [int(v) for v in feature.vocabulary]
            near = [known[0] - 1, known[0] - 2, known[-1] + 1, known[-1] + 2, -(10**6), 10**6]
            values = r.choice(np.array(known + near), rows).astype(np.float32)
            values[::9] += 0.5
        else:
            known = [v.encode() for v in feature.vocabulary]
            columns[feature.name] = r.choice(
                np.array([*known, b"", b"unknown"], dtype=object), rows
            ).reshape(-1, 1)
            continue
        values[::7] = np.nan
        columns[feature.name] = values.reshape(-1, 1)
    return columns


def student_of(spec: ModelSpec, options: NetworkOptions = OPTIONS) -> Student:
    network = build_network(spec, options, 1)
    table = {
        f.name: pa.nulls(4, pa.float32() if f.dtype != "string" else pa.string())
        if isinstance(f, CategoricalFeature)
        else pa.nulls(4, pa.float32())
        for f in spec.features
    }
    rows = preprocess(spec, pa.table({**table, "y": ["no"] * 4}).to_batches())
    return Student(spec, spec, options, network, rows, rows, np.zeros((4, 1), np.float32), 1, 0)


def answer(serving: Serving, spec: ModelSpec, inputs) -> np.ndarray:
    fed = {name: tf.constant(x) for name, x in by_tensor(spec, inputs).items()}
    return serving.function()(**fed)[spec.output].numpy()


WORDS = st.sets(st.text("abcdé", min_size=1, max_size=5), min_size=1, max_size=6)
INTEGERS = st.sets(st.integers(-40, 300), min_size=1, max_size=12)
NUMBERS = st.tuples(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32)).filter(
    lambda bounds: abs(bounds[0] - bounds[1]) > 1e-2
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(NUMBERS, INTEGERS, WORDS), min_size=1, max_size=6),
    st.sampled_from([1, 2, 4]),
)
def test_compact_graphs_compute_the_same_function(features, weight_bytes):
    spec = spec_of(features)
    student = student_of(spec)
    recipe = recipes.Recipe("c", {4: "float32", 2: "float16", 1: "int8"}[weight_bytes])
    changed = tables.reduce(student, recipe)
    assert changed.layout != "as_trained"
    inputs = awkward_rows(spec)
    expected = answer(Serving(spec, student.network), spec, inputs)
    np.testing.assert_allclose(answer(changed.serving(), spec, inputs), expected, atol=1e-5)


@pytest.mark.parametrize(
    "features",
    [
        [(0.0, 10.0)],
        [{1, 2, 3}],
        [{1, 900}],
        [{"a", "b"}],
        [{"b"}, (0.0, 1.0), {5, 7, 900}, {"x", "y", "z"}, {0, 1}],
        [{"b"}, {60601, 60602, 60609}],
    ],
)
def test_compact_files_answer_as_the_network(features):
    spec = spec_of(features)
    student = tables.reduce(student_of(spec), recipes.get("float32_compact"))
    inputs = awkward_rows(spec)
    expected = answer(Serving(spec, student_of(spec).network), spec, inputs)
    run = TFLiteRunner(to_tflite(student.serving(), recipes.get("float32_compact")))
    np.testing.assert_allclose(run(by_tensor(spec, inputs)), expected, atol=1e-5)
    half = tables.reduce(student_of(spec), recipes.get("float16"))
    run = TFLiteRunner(to_tflite(half.serving(), recipes.get("float16")))
    np.testing.assert_allclose(run(by_tensor(spec, inputs)), expected, atol=5e-3)


MIXED = spec_of([(0.0, 10.0), {1, 2, 3, 9}, {"a", "bb", "c"}, (-1.0, 1.0), {"d", "e"}])


@pytest.fixture(scope="module")
def file() -> bytes:
    return to_tflite(Serving(MIXED, build_network(MIXED, OPTIONS, 1)), PLAIN)


def tree(node):
    """A model object as plain values; nothing and empty are the same."""
    if isinstance(node, (list, tuple, np.ndarray)) and not (
        isinstance(node, np.ndarray) and node.dtype != object
    ):
        return [tree(x) for x in node]
    if isinstance(node, np.ndarray):
        return node.tolist()
    if hasattr(node, "__dict__"):
        return {k: tree(v) for k, v in vars(node).items()}
    return node


def parse(content: bytes):
    return flatbuffer_utils.convert_bytearray_to_object(bytearray(content))


def test_sharing_changes_bytes_and_nothing_else(file):
    packed = pack(parse(file))
    assert tree(parse(packed)) == tree(parse(file))
    stock = flatbuffer_utils.convert_object_to_bytearray(parse(file))
    assert len(packed) < 0.9 * len(stock)


def test_slim_files_answer_bit_by_bit_as_before_at_any_batch_size(file):
    small = slim(file)
    assert len(small) < 0.75 * len(file)
    before, after = TFLiteRunner(file), TFLiteRunner(small)
    assert set(before.inputs) == set(after.inputs) == set(MIXED.tensors.values())
    assert before.output == after.output == MIXED.output
    for rows in (1, 1000, 3, 64, 1):
        fed = by_tensor(MIXED, awkward_rows(MIXED, rows))
        np.testing.assert_array_equal(after(fed), before(fed))


def test_a_slim_file_stays_as_it_is(file):
    once = slim(file)
    assert slim(once) == once


def test_buffers_are_aligned_as_the_schema_says(file):
    content = slim(file)
    model = schema.Model.GetRootAs(bytearray(content), 0)
    seen = 0
    for index in range(model.BuffersLength()):
        table = model.Buffers(index)._tab
        offset = table.Offset(4)
        if offset:
            assert table.Vector(offset) % 16 == 0
            seen += 1
    assert seen > 5
    assert model.SignatureDefs(0).SignatureKey().decode() == SIGNATURE


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(-1, 3), max_size=4),
            st.lists(st.integers(0, 2), max_size=3),
            st.sampled_from(["", "name", "näme", "n"]),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_tables_come_back_as_they_went_in(tensors):
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
    for shape, signature, name, kind in tensors:
        tensor = schema.TensorT()
        tensor.shape, tensor.shapeSignature, tensor.name = shape, signature, name
        tensor.type, tensor.buffer = kind, len(shape)
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.zeroPoint = signature
        graph.tensors.append(tensor)
        operator = schema.OperatorT()
        operator.inputs, operator.outputs, operator.opcodeIndex = shape, signature, kind
        graph.operators.append(operator)
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, model.description = [schema.OperatorCodeT()], "x"
    [back] = parse(pack(model)).subgraphs
    for tensor, (shape, signature, name, kind) in zip(back.tensors, tensors, strict=True):
        assert list(tensor.shape if tensor.shape is not None else []) == shape
        assert list(tensor.shapeSignature if tensor.shapeSignature is not None else []) == signature
        assert (tensor.name or b"").decode() == name and tensor.type == kind
    for operator, (shape, _, _, kind) in zip(back.operators, tensors, strict=True):
        assert list(operator.inputs if operator.inputs is not None else []) == shape
        assert operator.opcodeIndex == kind
    assert isinstance(SharingBuilder(), object)


def test_merged_text_values_answer_as_unknown_ones():
    spec = spec_of([(0.0, 1.0), {"a", "b", "c"}])
    spec = dataclasses.replace(
        spec, categorical=(CategoricalFeature("x1", "string", ("a", "b", "c")),)
    )
    words = ["a"] * 60 + ["b"] * 38 + ["c"] * 2
    rows = preprocess(
        spec, pa.table({"x0": [0.5] * 100, "x1": words, "y": ["no"] * 100}).to_batches()
    )
    student = student_of(spec).replace(train=rows, valid=rows)
    cut = tables.cut_vocabularies(student, 0.95)
    assert cut.spec.categorical[0].vocabulary == ("a", "b")
    assert sorted(set(cut.train.ids[:, 0])) == [1, 2, 3]  # the rare one is out of vocabulary
    inputs = feeds.encode(spec, pa.table({"x0": [0.5] * 4, "x1": ["a", "b", "c", "zzz"]}))
    got = answer(Serving(cut.spec, cut.network), spec, inputs)[:, 0]
    before = answer(Serving(spec, student.network), spec, inputs)[:, 0]
    assert got[2] == got[3] and before[2] != before[3]
    # Only unknown words were never seen: the shared row is the merged word's own.
    np.testing.assert_allclose(got[:3], before[:3], atol=1e-6)


def test_hashed_text_values_share_rows_and_unknown_ones_keep_theirs():
    rare = tuple(f"rare {i}" for i in range(20))
    spec = dataclasses.replace(
        spec_of([(0.0, 1.0), {"a", "b"}, {1, 2, 3}]),
        categorical=(
            CategoricalFeature("x1", "string", ("a", "b", *rare)),
            CategoricalFeature("x2", "integer", ("1", "2", "3"), "integer"),
        ),
    )
    words = ["a"] * 600 + ["b"] * 380 + list(rare)
    columns = {"x0": [0.5] * 1000, "x1": words, "x2": [1, 2, 3, 2] * 250, "y": ["no"] * 1000}
    rows = preprocess(spec, pa.table(columns).to_batches())
    student = student_of(spec).replace(train=rows, valid=rows)
    cut = tables.cut_vocabularies(student, 0.98, buckets=4)
    assert set(cut.hashed) == {"x1"} and set(cut.hashed["x1"]) == set(rare)
    assert len(set(cut.hashed["x1"].values())) == 4
    made = tables.compact(cut, 1)  # puts the whole numbers first
    assert made.spec.categorical[0].name == "x2"
    asked = ["a", "b", *rare, "zzz", None]
    table = pa.table({"x0": [0.5] * 24, "x1": asked, "x2": [2] * 24})
    inputs = feeds.encode(spec, table)
    content = to_tflite(made.serving(), recipes.get("float32_compact"))
    got = TFLiteRunner(content)(by_tensor(spec, inputs))[:, 0]
    before = answer(Serving(spec, student.network), spec, inputs)[:, 0]
    np.testing.assert_allclose(got[[0, 1, 22, 23]], before[[0, 1, 22, 23]], atol=1e-6)
    said = {}
    for word, value in zip(rare, got[2:22], strict=True):
        said.setdefault(cut.hashed["x1"][word], set()).add(round(float(value), 6))
    assert all(len(values) == 1 for values in said.values())  # one bucket, one answer
    assert len({value for values in said.values() for value in values}) == 4
    # The row of a bucket is the mean of those that share it; training sees the same rows.
    [old] = student.network.get_layer("embedding").get_weights()
    [new] = cut.network.get_layer("embedding").get_weights()
    bucket = cut.hashed["x1"][rare[0]]
    own = [4 + i for i, word in enumerate(rare) if cut.hashed["x1"][word] == bucket]
    np.testing.assert_allclose(new[bucket], old[own].mean(axis=0), rtol=1e-5)
    assert set(cut.train.ids[980:, 0]) == set(cut.hashed["x1"].values())


def test_few_rare_values_need_no_buckets():
    spec = dataclasses.replace(
        spec_of([(0.0, 1.0), {"a", "b", "c"}]),
        categorical=(CategoricalFeature("x1", "string", ("a", "b", "c")),),
    )
    words = ["a"] * 60 + ["b"] * 38 + ["c"] * 2
    columns = {"x0": [0.5] * 100, "x1": words, "y": ["no"] * 100}
    rows = preprocess(spec, pa.table(columns).to_batches())
    cut = tables.cut_vocabularies(student_of(spec).replace(train=rows, valid=rows), 0.95, 8)
    assert cut.hashed == {} and cut.spec.categorical == spec.categorical


def test_a_narrower_embedding_is_the_closest_of_its_rank():
    spec = spec_of([(0.0, 1.0), {1, 2, 3}, {"a", "b", "c", "d"}])
    student = student_of(spec)
    [table] = student.network.get_layer("embedding").get_weights()
    low_rank = np.outer(np.linspace(-1, 1, len(table)), [1.0, 2.0, -1.0]).astype(np.float32)
    student.network.get_layer("embedding").set_weights([low_rank])
    narrow = tables.narrow(student, 1)
    assert narrow.network.get_layer("embedding").get_weights()[0].shape == (len(table), 1)
    inputs = awkward_rows(spec)
    np.testing.assert_allclose(
        answer(narrow.serving(), spec, inputs), answer(student.serving(), spec, inputs), atol=1e-5
    )
