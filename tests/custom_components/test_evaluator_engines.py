"""The local engine computes what TFMA on Beam computes, or lets Beam do it."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf.wrappers_pb2 import BoolValue, Int32Value
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_model_analysis.proto import config_pb2
from test_evaluator_fixtures import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    WEIGHTS,
    make_examples,
    make_model,
    make_table,
    run_evaluator,
)
from tfx_bsl.coders import example_coder

from custom_components.evaluator import config, local_engine, tfma_private
from custom_components.evaluator.accumulators import Unsupported, accumulator_for
from custom_components.evaluator.metrics import LabelMoments
from custom_components.evaluator.scoring import Task
from custom_components.evaluator.sums import Batch, SparseSums, Sums

SLICES = (("hour",), ("payment",), ("payment", "surge"))
MODELS = ("shipped", "teacher", "champion")


def leaves(value, path=()):
    """Every number or text of a nested result, with the path to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def assert_same(local: dict, beam: dict, tolerance) -> int:
    """Compares two results leaf by leaf; returns how many leaves there were."""
    local, beam = dict(leaves(local)), dict(leaves(beam))
    assert local.keys() == beam.keys()
    for path, expected in beam.items():
        found = local[path]
        if isinstance(expected, str) and isinstance(found, str) and found == expected:
            continue
        found, expected = float(found), float(expected)
        if math.isnan(expected):
            assert math.isnan(found), path
            continue
        assert found == pytest.approx(expected, **tolerance(path)), path
    return len(beam)


def tolerance(path: tuple) -> dict[str, float]:
    """Equal, but for what Keras sums in float32, and the order of float64 sums elsewhere."""
    if any(str(key).startswith("log_loss") for key in path):
        return {"rel": 0.0, "abs": 3e-7}  # a few units in the last place of float32
    return {"rel": 1e-12, "abs": 1e-12}


@pytest.mark.slow
@pytest.mark.parametrize("spec", [BINARY, MULTICLASS, REGRESSION], ids=lambda spec: spec.task)
def test_local_and_beam_agree_leaf_by_leaf(tmp_path, spec):
    table = make_table(spec, 900, 1)
    labels = table[spec.label].to_pylist()
    labels[:5] = [None] * 5
    position = table.column_names.index(spec.label)
    label = pa.array(labels, table[spec.label].type)
    examples = make_examples(
        tmp_path / "examples", {"test": table.set_column(position, spec.label, label)}
    )
    rng = np.random.default_rng(0)
    shape = WEIGHTS[spec.task].shape
    models = (
        make_model(tmp_path / "model", spec, flip=(2,)),
        make_model(tmp_path / "teacher", spec, saved_model=True),
        make_model(
            tmp_path / "champion",
            spec,
            WEIGHTS[spec.task] + rng.normal(size=shape).astype(np.float32),
        ),
    )
    models[2].set_int_custom_property("present", 1)
    runs = {
        engine: run_evaluator(
            tmp_path / engine,
            examples,
            *models,
            engine=engine,
            spec=spec,
            slices=SLICES,
            min_slice_rows=60,
            max_drop_champion_slice=0.01,
        )
        for engine in ("local", "beam")
    }
    assert {engine: run.verdict.engine["ran"] for engine, run in runs.items()} == {
        "local": "local",
        "beam": "beam",
    }
    compared = 0
    for model in MODELS:
        local, beam = (
            tfma.load_eval_result(run.evaluation, model_name=model) for run in runs.values()
        )
        for local_slices, beam_slices in (
            (local.slicing_metrics, beam.slicing_metrics),
            (local.plots, beam.plots),
        ):
            local_slices, beam_slices = dict(local_slices), dict(beam_slices)
            assert local_slices.keys() == beam_slices.keys()
            assert len(beam_slices) == 1 + 6 + 3 + 9
            for key, expected in beam_slices.items():
                compared += assert_same(local_slices[key], expected, tolerance)
        assert local.config == beam.config
        assert local.model_location == beam.model_location
    assert compared > 1000
    local, beam = (run.verdict for run in runs.values())
    assert local.reasons and [r.code for r in local.reasons] == [r.code for r in beam.reasons]
    assert local.rows == beam.rows and local.rows["label_missing"] == 5
    assert [(t.kind, t.slice, t.passed) for t in local.thresholds] == [
        (t.kind, t.slice, t.passed) for t in beam.thresholds
    ]
    assert not all(t.passed for t in local.thresholds)
    failures = [
        sorted(
            (str(item.slice_key), f.metric_key.name, f.message)
            for item in tfma.load_validation_result(run.evaluation).metric_validations_per_slice
            for f in item.failures
        )
        for run in runs.values()
    ]
    assert failures[0] == failures[1]


@pytest.mark.slow
def test_what_local_does_not_reproduce_goes_to_beam_with_the_reason(tmp_path, caplog):
    """A slicing column with several values in a row, in someone else's examples."""
    rows = 300
    table = make_table(BINARY, rows, 1)
    examples = make_examples(tmp_path / "examples", {"test": table})
    path = f"{examples.uri}/Split-test/data_tfrecord-00000-of-00001.gz"
    records = [r.numpy() for r in tf.data.TFRecordDataset(path, compression_type="GZIP")]
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(path, options=options) as writer:
        for index, record in enumerate(records):
            example = tf.train.Example.FromString(record)
            tags = [b"old", b"new"][: 1 + index % 2]
            example.features.feature["tags"].bytes_list.value.extend(tags)
            writer.write(example.SerializeToString())
    model = make_model(tmp_path / "model", BINARY)
    teacher = make_model(tmp_path / "teacher", BINARY, saved_model=True)
    run = run_evaluator(tmp_path, examples, model, teacher, slices=[["tags"]])
    assert run.verdict.blessed
    assert run.verdict.engine["requested"] == "local" and run.verdict.engine["ran"] == "beam"
    assert "`tags`" in run.verdict.engine["why"] and "`tags`" in caplog.text
    by_tag = {s.slice["tags"]: s.rows for s in run.verdict.slices}
    assert by_tag == {"old": rows, "new": rows // 2}
    assert tfma.load_validation_result(run.evaluation).validation_ok


def plan_of(change) -> local_engine.Plan:
    """The plan of a config with a few metrics of one model after `change(config, spec)`."""
    changed = tfma.EvalConfig(model_specs=[{"name": "shipped"}, {"name": "teacher"}])
    changed.slicing_specs.add()
    metrics = changed.metrics_specs.add(model_names=["shipped"])
    for name in ("AUC", "Precision", "CalibrationPlot"):
        metrics.metrics.add(class_name=name)
    change(changed, metrics)
    return local_engine.Plan(changed)


def _metric(class_name: str, **settings):
    def change(changed, metrics):
        settings.setdefault("name", "x")
        metrics.metrics.add(class_name=class_name, config=json.dumps(settings))

    return change


CHANGES = {
    "example weights": lambda changed, metrics: metrics.example_weights.MergeFrom(
        config_pb2.ExampleWeightOptions(weighted=True)
    ),
    "query key": lambda changed, metrics: setattr(metrics, "query_key", "hour"),
    "top k": lambda changed, metrics: metrics.binarize.top_k_list.values.append(2),
    "k": lambda changed, metrics: metrics.binarize.k_list.values.append(2),
    "micro average": lambda changed, metrics: setattr(metrics.aggregate, "micro_average", True),
    "class weights": lambda changed, metrics: metrics.aggregate.MergeFrom(
        config_pb2.AggregationOptions(micro_average=True, class_weights={0: 1.0})
    ),
    "outputs": lambda changed, metrics: metrics.output_names.append("other"),
    "confidence intervals": lambda changed, metrics: (
        changed.options.compute_confidence_intervals.MergeFrom(BoolValue(value=True))
    ),
    "small slices": lambda changed, metrics: changed.options.min_slice_size.MergeFrom(
        Int32Value(value=5)
    ),
    "SQL slices": lambda changed, metrics: changed.slicing_specs.add(slice_keys_sql="SELECT 1"),
    "cross slices": lambda changed, metrics: changed.cross_slicing_specs.add(),
    "label smoothing": _metric("BinaryCrossentropy", label_smoothing=0.1),
    "logits": _metric("BinaryCrossentropy", from_logits=True),
    "another Keras metric": _metric("Poisson"),
    "another TFMA metric": _metric("SquaredPearsonCorrelation"),
    "several thresholds": _metric("MultiClassConfusionMatrixPlot", thresholds=[0.1, 0.5]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_unsupported_settings_are_found_before_anything_is_read(name):
    assert plan_of(lambda changed, metrics: None).accumulators
    with pytest.raises(Unsupported):
        plan_of(CHANGES[name])


def test_a_subclass_of_a_supported_combiner_is_unsupported():
    combiner = tfma_private.ExampleCountCombiner("", "", [], False)

    class Twice(tfma_private.ExampleCountCombiner):
        def add_input(self, accumulator, element):
            return super().add_input(super().add_input(accumulator, element), element)

    assert accumulator_for(combiner)
    with pytest.raises(Unsupported, match="Twice"):
        accumulator_for(Twice("", "", [], False))


def test_a_tfma_without_a_private_name_is_left_to_beam(monkeypatch):
    monkeypatch.setattr(tfma_private, "MISSING", "")
    assert isinstance(tfma_private._name("metrics.calibration", "_Gone"), type)
    assert "metrics.calibration._Gone" in tfma_private.MISSING
    with pytest.raises(Unsupported, match="_Gone"):
        plan_of(lambda changed, metrics: None)


def test_every_private_name_is_there():
    assert tfma_private.MISSING == ""


def _batch(slices: list[int], count: int) -> Batch:
    rows = np.arange(len(slices))
    return Batch(rows, {}, rows, np.asarray(slices, np.int64), count)


chunks = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(-9, 9)), min_size=1),
    min_size=1,
    max_size=5,
)


@given(chunks, st.integers(0, 40))
def test_sums_per_slice_do_not_depend_on_the_batches(chunks, compact_at):
    sparse, dense, known = SparseSums(7, 2), Sums(2), 0
    sparse.COMPACT_AT = compact_at
    expected: dict[tuple[int, int], list[float]] = {}
    for chunk in chunks:
        slices, buckets, values = (np.asarray(column) for column in zip(*chunk, strict=True))
        known = max(known, int(slices.max()) + 1)
        batch = _batch(list(slices), known)
        sparse.add(batch, buckets, values, None)
        dense.add(batch, values, None)
        for index, bucket, value in chunk:
            total = expected.setdefault((index, bucket), [0.0, 0.0])
            total[0] += value
            total[1] += 1
    for index in range(known):
        buckets, sums = sparse.of(index)
        assert {
            (index, b): row for b, row in zip(buckets.tolist(), sums.tolist(), strict=True)
        } == {key: value for key, value in expected.items() if key[0] == index}
        assert dense.values[index].tolist() == sums.sum(axis=0).tolist()


@given(
    st.lists(st.lists(st.floats(-1e3, 1e3), max_size=20), max_size=6),
    st.sampled_from([0.0, 1e6]),
)
def test_label_moments_merge_like_one_pass(parts, offset):
    merged, everything = LabelMoments(), []
    for part in parts:
        values = np.asarray(part, np.float64) + offset
        everything.extend(values)
        if len(values):
            squares = float(((values - values.mean()) ** 2).sum())
            merged.merge(LabelMoments(float(len(values)), float(values.mean()), squares))
        else:
            merged.merge(LabelMoments())
    assert merged.rows == len(everything)
    if everything:
        everything = np.asarray(everything)
        assert merged.mean == pytest.approx(everything.mean(), abs=1e-6)
        expected = ((everything - everything.mean()) ** 2).sum()
        assert merged.squares == pytest.approx(expected, rel=1e-6, abs=1e-2)


def test_slicer_agrees_with_tfma_row_by_row():
    """Missing cells, text beyond ASCII, numbers: the keys that TFMA gives each row."""
    table = make_table(BINARY, 200, 7)
    lists = [
        pa.array([[v] if v is not None else None for v in table[name].to_pylist()])
        for name in ("hour", "payment", "surge")
    ]
    lists[1] = lists[1].cast(pa.list_(pa.binary()))
    lists[2] = lists[2].cast(pa.list_(pa.float32()))
    batch = pa.RecordBatch.from_arrays(lists, ["hour", "payment", "surge"])
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(
        list(example_coder.RecordBatchToExamples(batch))
    )
    eval_config = config.eval_config(BINARY, MODELS, SLICES)
    slicer = local_engine.Slicer(eval_config)
    rows, slices = slicer(batch, batch.num_rows)
    found = {(row, slicer.keys[index]) for row, index in zip(rows, slices, strict=True)}
    specs = [tfma.slicer.SingleSliceSpec(spec=spec) for spec in eval_config.slicing_specs]
    expected = set()
    for row in range(batch.num_rows):
        features = {
            name: np.asarray(
                batch.column(name)[row].as_py() or [],
                dtype=object
                if name == "payment"
                else batch.column(name).type.value_type.to_pandas_dtype(),
            )
            for name in batch.schema.names
        }
        keys = tfma_private.slices_of_features([], features, specs)
        expected |= {(row, key) for key in keys}
    assert found == expected


def test_batches_do_not_change_the_result(tmp_path):
    """The same rows at once and in three parts of different size give the same metrics."""
    eval_config = config.eval_config(BINARY, ("shipped",), SLICES[:1])
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 400)
    predictions = rng.random((400, 1)).astype(np.float32)
    hours = rng.integers(0, 3, 400)
    results = []
    for edges in ([0, 400], [0, 7, 250, 400]):
        plan = local_engine.Plan(eval_config)
        for start, end in zip(edges, edges[1:], strict=False):
            part = slice(start, end)
            rows = np.arange(end - start)
            plan.add(
                Batch(
                    labels[part],
                    {"": predictions[part], "shipped": predictions[part]},
                    np.concatenate([rows, rows]),
                    np.concatenate([np.zeros_like(rows), 1 + hours[part]]),
                    4,
                )
            )
        results.append([plan.results(index)[0] for index in range(4)])
    for once, parts in zip(*results, strict=True):
        assert once.keys() == parts.keys()
        numbers = {key: v for key, v in once.items() if isinstance(v, (int, float, np.floating))}
        assert len(numbers) >= 9
        for key, value in numbers.items():
            assert parts[key] == pytest.approx(value, rel=1e-6), key


def test_models_travel_to_beam_workers():
    """Beam pickles the task: it must be small and whole."""
    task = Task(BINARY, {"shipped": "folder"}, SLICES)
    copy = pickle.loads(pickle.dumps(task))
    assert copy == task and dataclasses.is_dataclass(copy)
    assert copy.slice_columns == ("hour", "payment", "surge")
