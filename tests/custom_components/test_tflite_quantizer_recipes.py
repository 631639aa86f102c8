"""Every recipe with the real converter: what it promises is read from the file it writes."""

from __future__ import annotations

import dataclasses
import gzip
import math

import numpy as np
import pyarrow as pa
import pytest
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from custom_components.tflite_quantizer import builtin, coverage, executor, needs, recipes
from custom_components.tflite_quantizer.convert import Job, convert
from models import bundle, metrics
from models.network import build_network
from models.options import NetworkOptions
from models.predictor import Predictor, TFLiteRunner
from models.rows import preprocess
from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from models.student import answers, labels_of
from models.training import fit, predict_logits

ROWS = 3000
OPTIONS = NetworkOptions(
    embedding=4, hidden=(16,), dropout=0.0, learning_rate=1e-2, weight_decay=0.0
)
AREAS = [v for v in range(3, 60) if v % 5]  # with gaps
WORDS = [f"company number {i}" for i in range(30)]
SPEC = ModelSpec(
    "binary",
    "y",
    ("no", "yes"),
    (
        NumericFeature("fare", 10.0, 0.0, 60.0, 20.0, 12.0),
        NumericFeature("longitude", -87.65, -88.0, -87.0, -87.65, 0.05),
        NumericFeature("seconds", 600.0, 0.0, 7200.0, 900.0, 700.0, "integer"),
    ),
    (
        CategoricalFeature("company", "string", tuple(WORDS)),
        CategoricalFeature("area", "integer", tuple(map(str, AREAS)), "integer"),
        CategoricalFeature("hour", "integer", tuple(map(str, range(24))), "integer"),
    ),
)


def table(seed: int) -> tuple[pa.Table, np.ndarray]:
    """Rows, and the logits of the truth they were drawn from."""
    r = np.random.default_rng(seed)
    fare, longitude = r.gamma(3, 7, ROWS), r.normal(-87.65, 0.05, ROWS)
    seconds, hour = r.integers(0, 4000, ROWS), r.integers(0, 24, ROWS)
    area = r.choice([*AREAS, 5, 99], ROWS)
    company = r.choice(WORDS, ROWS, p=np.arange(30, 0, -1) / 465)
    effect = np.array([math.sin(len(WORDS) * i) for i in range(30)])
    logits = (
        1.5 * np.sin(fare / 8)
        + (longitude + 87.65) * 12
        + 2 * effect[[WORDS.index(c) for c in company]]
        + np.cos(area / 9)
        - (hour > 17)
    )
    y = np.where(r.random(ROWS) < 1 / (1 + np.exp(-logits)), "yes", "no")
    missing = r.random(ROWS) < 0.05
    columns = {
        "fare": pa.array(fare, mask=missing),
        "longitude": pa.array(longitude),
        "seconds": pa.array(seconds),
        "company": pa.array(company.tolist(), mask=r.random(ROWS) < 0.1),
        "area": pa.array(area, mask=r.random(ROWS) < 0.05),
        "hour": pa.array(hour),
        "y": pa.array(y.tolist()),
    }
    return pa.table(columns), logits.astype(np.float32).reshape(-1, 1)


@dataclasses.dataclass
class Made:
    """A file, and what the float student answers on the same rows."""

    content: bytes
    answers: np.ndarray
    auc: float
    float_answers: np.ndarray
    float_auc: float

    @property
    def model(self):
        return flatbuffer_utils.convert_bytearray_to_object(bytearray(self.content))

    @property
    def gzip_bytes(self) -> int:
        return len(gzip.compress(self.content, 9, mtime=0))


class Workshop:
    """One trained student, and the files made from it so far."""

    def __init__(self, folder):
        train_table, teacher = table(0)
        self.train = preprocess(SPEC, train_table.to_batches(), keep_inputs=True)
        self.valid = preprocess(SPEC, table(1)[0].to_batches(), keep_inputs=True)
        self.network = build_network(SPEC, OPTIONS, 0)
        fit(
            self.network,
            SPEC,
            self.train,
            self.valid,
            OPTIONS.model_copy(update={"epochs": 12}),
            name="student",
            usual_epochs=12,
        )
        self.bundle, self.rows = str(folder / "bundle"), str(folder / "rows.npz")
        self.folder = folder
        bundle.save(self.bundle, SPEC, OPTIONS, self.network)
        executor.write_rows(self.rows, SPEC, self.train, self.valid, teacher, 1000)
        self.labels = labels_of(SPEC, self.valid)
        self.reference = answers(SPEC, predict_logits(self.network, SPEC, self.valid))
        self._made: dict[str, Made] = {}

    def make(self, recipe: recipes.Recipe | str) -> Made:
        recipe = recipes.get(recipe) if isinstance(recipe, str) else recipe
        if recipe.name not in self._made:
            output = str(self.folder / f"{recipe.name}.tflite")
            convert(Job(recipe, self.bundle, output, self.rows, 8, 0))
            with open(output, "rb") as file:
                content = file.read()
            got = Predictor(SPEC, TFLiteRunner(content)).predict_inputs(self.valid.inputs)
            self._made[recipe.name] = Made(
                content,
                got,
                self.score(got),
                self.reference,
                self.score(self.reference),
            )
        return self._made[recipe.name]

    def score(self, predictions: np.ndarray) -> float:
        return metrics.score("binary", self.labels, predictions)["auc"]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


TYPES = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
CODES = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
NUMPY = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8, "INT64": np.int64}


def operations(model) -> list[tuple[str, object]]:
    graph = model.subgraphs[0]
    codes = [CODES[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    return [(codes[o.opcodeIndex], o) for o in graph.operators]


def constant(model, index: int) -> tuple[str, np.ndarray | None]:
    """Type and values of a tensor; a widened constant is looked up behind its widening."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        for name, operator in operations(model):
            if name == "DEQUANTIZE" and operator.outputs[0] == index:
                return constant(model, operator.inputs[0])
        return TYPES[tensor.type], None
    kind = TYPES[tensor.type]
    return kind, np.frombuffer(bytes(data), NUMPY[kind]).reshape(tensor.shape)


def dense_weights(model) -> list[tuple[str, np.ndarray]]:
    """Type and `[units, inputs]` of each dense layer, in order."""
    return [
        constant(model, operator.inputs[1])
        for name, operator in operations(model)
        if name == "FULLY_CONNECTED"
    ]


def embedding(model) -> tuple[str, np.ndarray]:
    """Type and `[rows, width]` of the only two-dimensional table."""
    found = [
        constant(model, operator.inputs[0])
        for name, operator in operations(model)
        if name == "GATHER" and len(model.subgraphs[0].tensors[operator.inputs[0]].shape) == 2
    ]
    [one] = found
    return one


def test_float_files_answer_as_the_network(workshop):
    for name in ("float32", "float32_compact"):
        made = workshop.make(name)
        np.testing.assert_allclose(made.answers, made.float_answers, atol=2e-6)
    assert workshop.make("float32").content != workshop.make("float32_compact").content


def test_float16_keeps_the_preprocessing_exact(workshop):
    made = workshop.make("float16")
    assert {kind for kind, _ in dense_weights(made.model)} == {"FLOAT16"}
    assert embedding(made.model)[0] == "FLOAT16"
    assert np.abs(made.answers - made.float_answers).max() < 2e-3
    by_converter = workshop.make(dataclasses.replace(recipes.get("float16"), name="f", slim=False))
    # The converter's own also rounds longitudes and the like: far more is lost.
    worse = np.abs(by_converter.answers - by_converter.float_answers).max()
    assert worse > 10 * np.abs(made.answers - made.float_answers).max()


def test_dynamic_range_reaches_small_layers_and_the_table(workshop):
    made = workshop.make("dynamic_range")
    hidden, logits = dense_weights(made.model)
    assert hidden[0] == "INT8" and logits[0] == "FLOAT32"
    kind, rows = embedding(made.model)
    assert kind == "INT8" and np.abs(rows).max() == 127
    assert made.float_auc - made.auc < 0.005
    alone = workshop.make(
        dataclasses.replace(recipes.get("dynamic_range"), name="d", least_elements=None)
    )
    # The converter's limit of 1,024 elements leaves all of this student in float.
    assert {kind for kind, _ in dense_weights(alone.model)} == {"FLOAT32"}
    assert len(made.content) < 0.8 * len(alone.content)


@pytest.mark.parametrize("name", ["int8_ptq", "int8_qat"])
def test_integers_compute_the_hidden_layer_and_not_the_last(workshop, name):
    made = workshop.make(name)
    hidden, logits = dense_weights(made.model)
    assert hidden[0] == "INT8" and logits[0] == "FLOAT32"
    assert embedding(made.model)[0] == "INT8"
    [first, last] = [o for n, o in operations(made.model) if n == "FULLY_CONNECTED"]
    tensors = made.model.subgraphs[0].tensors
    assert TYPES[tensors[first.inputs[0]].type] == TYPES[tensors[first.outputs[0]].type] == "INT8"
    assert TYPES[tensors[last.outputs[0]].type] == "FLOAT32"
    assert made.float_auc - made.auc < 0.01
    assert len(np.unique(made.answers)) > 1000


@pytest.mark.parametrize("share", [50, 80])
@pytest.mark.parametrize("schedule", ["constant", "polynomial"])
def test_pruned_files_hold_the_zeros_asked_for(workshop, share, schedule):
    made = workshop.make(f"pruned{share}_{schedule}")
    hidden, logits = (weights for _, weights in dense_weights(made.model))
    assert np.mean(hidden == 0) == pytest.approx(share / 100, abs=1 / hidden.size)
    assert np.mean(logits == 0) < 0.5
    dense = workshop.make("float32_compact")
    assert len(made.content) == len(dense.content)  # zeros are stored ...
    assert made.gzip_bytes < dense.gzip_bytes - 4 * hidden.size * share / 200  # ... and compress
    assert made.float_auc - made.auc < {50: 0.02, 80: 0.08}[share]


def test_two_of_four_in_every_group(workshop):
    made = workshop.make("sparse_2_4")
    hidden = dense_weights(made.model)[0][1]
    whole = hidden.shape[1] // 4 * 4
    groups = hidden[:, :whole].reshape(hidden.shape[0], -1, 4)
    assert ((groups == 0).sum(axis=2) == 2).all()
    assert made.float_auc - made.auc < 0.02


def test_whole_blocks_are_zero(workshop):
    made = workshop.make("sparse_block")
    hidden = dense_weights(made.model)[0][1]
    whole = hidden.shape[1] // 4 * 4
    zeros = (hidden[:, :whole].reshape(hidden.shape[0], -1, 4) == 0).sum(axis=2)
    assert set(np.unique(zeros)) == {0, 4}
    assert 0.4 < np.mean(zeros == 4) < 0.6


@pytest.mark.parametrize("clusters", [8, 16, 32])
def test_clustered_files_hold_few_distinct_weights(workshop, clusters):
    made = workshop.make(f"clustered{clusters}")
    hidden = dense_weights(made.model)[0][1]
    assert clusters // 2 < len(np.unique(hidden)) <= clusters
    assert made.float_auc - made.auc < 0.02
    assert made.gzip_bytes < workshop.make("float32_compact").gzip_bytes


def test_collaborative_files_keep_zeros_and_clusters_in_integers(workshop):
    pruned = workshop.make("pruned50_int8")
    clustered = workshop.make("clustered16_int8")
    both = workshop.make("pruned50_clustered16_int8")
    kernels = [dense_weights(made.model)[0] for made in (pruned, clustered, both)]
    assert [kind for kind, _ in kernels] == ["INT8"] * 3
    zeros = [np.mean(weights == 0) for _, weights in kernels]
    assert zeros[0] >= 0.5 - 1e-9 and zeros[2] >= 0.5 - 1e-9
    assert len(np.unique(kernels[1][1])) <= 16 and len(np.unique(kernels[2][1])) <= 16
    plain = workshop.make("int8_qat")
    assert len(np.unique(dense_weights(plain.model)[0][1])) > 32
    assert both.gzip_bytes < plain.gzip_bytes and pruned.gzip_bytes < plain.gzip_bytes
    for made in (pruned, clustered, both):
        assert made.float_auc - made.auc < 0.02


def test_smaller_tables_hold_fewer_words_and_narrower_rows(workshop):
    made, before = workshop.make("dynamic_range_tables"), workshop.make("dynamic_range")
    words = [sum(f"number {i}".encode() in m.content for i in range(30)) for m in (made, before)]
    assert words[1] == 30 and 20 < words[0] < 30
    assert embedding(made.model)[1].shape[1] == 2 and embedding(before.model)[1].shape[1] == 4
    assert len(made.content) < len(before.content)
    assert made.float_auc - made.auc < 0.02
    trained = workshop.make("int8_qat_tables")
    assert len(trained.content) < len(workshop.make("int8_qat").content)
    assert trained.float_auc - trained.auc < 0.02


def test_hashed_values_keep_their_words_and_share_rows(workshop):
    """Merging takes fewer bytes: no operation of TFLite hashes text, so words have to be there."""
    hashed = dataclasses.replace(
        recipes.get("dynamic_range_hashed"),
        name="hashed_to_four",
        tables=recipes.Tables(coverage=0.6, width=2, buckets=4),
    )
    merged = dataclasses.replace(
        hashed, name="merged_rare", tables=recipes.Tables(coverage=0.6, width=2)
    )
    all_words = workshop.make("dynamic_range_hashed")  # of so few rare ones none shares a row
    made, other = workshop.make(hashed), workshop.make(merged)
    words = [sum(f"number {i}".encode() in m.content for i in range(30)) for m in (made, other)]
    assert words[0] == 30 > words[1]
    height = [embedding(m.model)[1].shape[0] for m in (other, made, all_words)]
    assert height[1] == height[0] + 4 < height[2]
    assert len(other.content) < len(made.content) <= len(all_words.content)
    assert made.float_auc - made.auc < 0.06  # of two values in five, only four rows are left


def test_all_files_of_recipes_are_slim_and_alike_in_size(workshop):
    plain = workshop.make("float32")
    for name in ("float32_compact", "float16", "dynamic_range", "int8_ptq", "int8_qat"):
        made = workshop.make(name)
        model = made.model
        assert all(not t.name for g in model.subgraphs for t in g.tensors)
        assert model.metadata is None and not model.description
        assert len(made.content) < 0.75 * len(plain.content)
        assert len(operations(model)) < len(operations(plain.model))


def test_calibration_sees_every_category_and_every_extreme(workshop):
    chosen = coverage.representative(workshop.train, 200)
    assert len(chosen) == len(np.unique(chosen)) == 200
    for column in range(workshop.train.ids.shape[1]):
        every = set(workshop.train.ids[:, column])
        assert set(workshop.train.ids[chosen, column]) == every
    numeric = workshop.train.numeric
    assert (numeric[chosen].max(axis=0) == numeric.max(axis=0)).all()
    assert (numeric[chosen].min(axis=0) == numeric.min(axis=0)).all()
    few = coverage.representative(workshop.train, 1)
    assert 1 < len(few) < 200  # coverage comes before the number
    assert len(coverage.representative(workshop.train, 10**6)) == len(workshop.train)


def test_16_bit_activations_where_nothing_arrives_as_a_number(tmp_path):
    """Raw numbers would share a scale; words alone are computed in 16 bits for real."""
    spec = ModelSpec("binary", "y", ("no", "yes"), (), SPEC.categorical[:1])
    rows = preprocess(spec, table(0)[0].to_batches(), keep_inputs=True)
    network = build_network(spec, OPTIONS, 0)
    logits = predict_logits(network, spec, rows)
    bundle.save(str(tmp_path / "bundle"), spec, OPTIONS, network)
    executor.write_rows(str(tmp_path / "rows.npz"), spec, rows, rows, logits, 1000)
    output = tmp_path / "out.tflite"
    assert needs.reason_to_skip(recipes.get("int16x8"), spec, OPTIONS, len(rows)) is None
    convert(
        Job(
            recipes.get("int16x8"),
            str(tmp_path / "bundle"),
            str(output),
            str(tmp_path / "rows.npz"),
            1,
            0,
        )
    )
    content = output.read_bytes()
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    assert {kind for kind, _ in dense_weights(model)} == {"INT8"}
    assert "INT16" in {TYPES[t.type] for t in model.subgraphs[0].tensors}
    got = Predictor(spec, TFLiteRunner(content)).predict_inputs(rows.inputs)
    assert np.abs(got - answers(spec, logits)).max() < 0.01


def test_every_builtin_recipe_is_tested_here_or_skips(workshop):
    """A recipe joins the list with a test of what it promises."""
    tested = set(workshop._made) | {"int16x8"}
    if len(workshop._made) > 12:  # the whole file ran
        assert {r.name for r in builtin.RECIPES if not r.edge} <= tested
