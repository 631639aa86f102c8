"""The Evaluator on real models: what it blesses, what it refuses, and what it says."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pytest
import sklearn.metrics
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
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
from tfx.components.pusher import executor as pusher_executor
from tfx.types import standard_artifacts

from models.errors import ConfigError, DataError, FlywheelError
from models.predictor import Predictor
from models.spec import ModelSpec, NumericFeature

SLICES = [["hour"], ["payment"], ["hour", "payment"]]
ROWS = 1500
SPECS = {spec.task: spec for spec in (BINARY, MULTICLASS, REGRESSION)}
SCRAMBLED = {
    "binary": np.array([[-0.2], [2.0]], np.float32),
    "multiclass": -WEIGHTS["multiclass"],
    "regression": np.array([[-3.0], [5.0]], np.float32),
}
WORSE = np.array([[2.0], [-0.4]], np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes and keeps models and examples: `made(BINARY, flip=(3,))`, `made.examples(BINARY)`."""
    folder = tmp_path_factory.mktemp("made")
    kept = {}

    def model(spec, weights=None, *, flip=(), saved_model=False):
        key = (spec, None if weights is None else weights.tobytes(), flip, saved_model)
        if key not in kept:
            path = folder / f"model-{len(kept)}"
            kept[key] = make_model(path, spec, weights, flip=flip, saved_model=saved_model)
        return kept[key]

    def examples(spec):
        if spec not in kept:
            tables = {"eval": make_table(spec, 20, 2), "test": make_table(spec, ROWS, 1)}
            kept[spec] = make_examples(folder / f"examples-{len(kept)}", tables)
        return kept[spec]

    model.examples = examples
    model.teacher = lambda spec: model(spec, saved_model=True)
    return model


def champion_of(artifact: standard_artifacts.Model, present: int = 1) -> standard_artifacts.Model:
    deployed = standard_artifacts.Model()
    deployed.uri, deployed.id = artifact.uri, 42
    deployed.set_int_custom_property("present", present)
    return deployed


def failed_slices(folder: str) -> set[tuple]:
    """Slice keys of the failures that stock TFMA reads."""
    result = tfma.load_validation_result(folder)
    return {
        tfma.slicer.slicer_lib.deserialize_slice_key(item.slice_key)
        for item in result.metric_validations_per_slice
        if item.failures
    }


def messages(folder: str) -> list[str]:
    result = tfma.load_validation_result(folder)
    return [f.message for item in result.metric_validations_per_slice for f in item.failures]


@pytest.mark.parametrize("task", SPECS)
def test_an_equal_candidate_is_blessed(tmp_path, made, task):
    spec = SPECS[task]
    run = run_evaluator(
        tmp_path,
        made.examples(spec),
        made(spec),
        made.teacher(spec),
        champion_of(made(spec)),
        spec=spec,
        slices=SLICES,
    )
    assert run.verdict.blessed, run.verdict.reasons
    assert run.codes == set()
    assert os.listdir(run.blessing.uri) == ["BLESSED"]
    assert run.blessing.get_int_custom_property("blessed") == 1
    assert run.blessing.get_int_custom_property("current_model_id") == 7
    assert run.blessing.get_int_custom_property("baseline_model_id") == 42
    result = tfma.load_validation_result(run.evaluation)
    assert result.validation_ok and not result.rubber_stamp and not result.missing_slices
    assert run.verdict.engine["ran"] == "local"
    kinds = {threshold.kind for threshold in run.verdict.thresholds}
    assert kinds == {"bound", "teacher", "champion"}
    assert {tuple(s.slice) for s in run.verdict.slices} == {
        ("hour",),
        ("payment",),
        ("hour", "payment"),
    }
    assert sum(s.rows for s in run.verdict.slices if list(s.slice) == ["payment"]) == ROWS


def test_the_first_run_says_no_baseline(tmp_path, made):
    arguments = (made.examples(BINARY), made(BINARY), made.teacher(BINARY))
    absent = champion_of(made(BINARY), present=0)
    for number, champion in enumerate((None, absent)):
        run = run_evaluator(tmp_path / str(number), *arguments, champion)
        assert run.verdict.blessed
        assert run.reason("NO_BASELINE").severity == "info"
        assert set(run.verdict.metrics) == {"shipped", "teacher"}
        assert not run.blessing.has_custom_property("baseline_model_id")


@pytest.mark.parametrize("task", SPECS)
def test_a_scrambled_candidate_is_refused(tmp_path, made, task):
    spec = SPECS[task]
    run = run_evaluator(
        tmp_path,
        made.examples(spec),
        made(spec, SCRAMBLED[task]),
        made.teacher(spec),
        champion_of(made(spec)),
        spec=spec,
        slices=SLICES,
    )
    assert not run.verdict.blessed
    assert os.listdir(run.blessing.uri) == ["NOT_BLESSED"]
    assert run.blessing.get_int_custom_property("blessed") == 0
    assert run.codes == {
        "BELOW_BOUND",
        "WORSE_THAN_TEACHER",
        "WORSE_THAN_TEACHER_SLICE",
        "WORSE_THAN_CHAMPION",
        "WORSE_THAN_CHAMPION_SLICE",
    }
    for reason in run.verdict.reasons:
        assert reason.severity == "block" and reason.next and reason.cases
    result = tfma.load_validation_result(run.evaluation)
    assert not result.validation_ok
    said = " ".join(messages(run.evaluation))
    assert "below the teacher's" in said and "below the champion's" in said
    assert () in failed_slices(run.evaluation)


def test_a_candidate_taught_wrong_labels_of_one_slice_is_refused_for_that_slice(tmp_path, made):
    run = run_evaluator(
        tmp_path,
        made.examples(BINARY),
        made(BINARY, flip=(3,)),
        made.teacher(BINARY),
        champion_of(made(BINARY)),
        slices=[["hour"]],
        max_drop_teacher=0.5,
        max_drop_champion=0.5,
    )
    assert run.codes == {"WORSE_THAN_TEACHER_SLICE", "WORSE_THAN_CHAMPION_SLICE"}
    for code, other in (
        ("WORSE_THAN_TEACHER_SLICE", "teacher"),
        ("WORSE_THAN_CHAMPION_SLICE", "champion"),
    ):
        (case,) = run.reason(code).cases
        assert case["slice"] == "hour=3"
        assert case["shipped"] == pytest.approx(1 - case[other], abs=1e-3)
        assert "hour=3" in run.reason(code).message
    assert failed_slices(run.evaluation) == {(("hour", 3),)}
    failed = [t for t in run.verdict.thresholds if not t.passed]
    assert [t.slice for t in failed] == [{"hour": 3}, {"hour": 3}]


def test_a_better_champion_stays(tmp_path, made):
    """The candidate is as good as its teacher; only the champion says no."""
    run = run_evaluator(
        tmp_path,
        made.examples(BINARY),
        made(BINARY, WORSE),
        made(BINARY, WORSE, saved_model=True),
        champion_of(made(BINARY)),
        slices=[["payment"]],
    )
    assert not run.verdict.blessed
    assert "WORSE_THAN_CHAMPION" in run.codes
    assert not any(code.startswith("WORSE_THAN_TEACHER") for code in run.codes)
    (failure,) = [
        f
        for item in tfma.load_validation_result(run.evaluation).metric_validations_per_slice
        for f in item.failures
        if not item.slice_key.single_slice_keys
    ]
    assert failure.metric_key.name == "auc" and failure.metric_key.is_diff
    metrics = run.verdict.metrics
    change = metrics["shipped"]["auc"] - metrics["champion"]["auc"]
    assert failure.metric_value.double_value.value == pytest.approx(change)
    (threshold,) = [t for t in run.verdict.thresholds if t.kind == "champion" and not t.slice]
    assert failure.metric_threshold.change_threshold.absolute.value == threshold.limit
    assert change < threshold.limit <= -0.002
    allowed = run_evaluator(
        tmp_path / "allowed",
        made.examples(BINARY),
        made(BINARY, WORSE),
        made(BINARY, WORSE, saved_model=True),
        champion_of(made(BINARY)),
        max_drop_champion=-change + 1e-6,
    )
    assert allowed.verdict.blessed


def test_bounds_in_both_directions(tmp_path, made):
    run = run_evaluator(
        tmp_path,
        made.examples(BINARY),
        made(BINARY),
        made.teacher(BINARY),
        thresholds={"accuracy": 0.99, "log_loss": 0.1, "recall": 0.2},
    )
    assert run.codes == {"BELOW_BOUND", "ABOVE_BOUND", "NO_BASELINE"}
    assert [case["metric"] for case in run.reason("BELOW_BOUND").cases] == ["accuracy"]
    assert [case["metric"] for case in run.reason("ABOVE_BOUND").cases] == ["log_loss"]
    assert len(messages(run.evaluation)) == 2 and all(messages(run.evaluation))


def test_impossible_thresholds_stop_before_anything_is_read(tmp_path, made):
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="can never hold"):
        run_evaluator(
            tmp_path, examples, made(BINARY), made.teacher(BINARY), thresholds={"auc": 1.5}
        )


def labels_and_predictions(made, spec):
    table = make_table(spec, ROWS, 1)
    return table[spec.label].to_numpy(), Predictor.load(made(spec).uri).predict(table)


def test_binary_metrics_agree_with_scikit_learn(tmp_path, made):
    run = run_evaluator(tmp_path, made.examples(BINARY), made(BINARY), made.teacher(BINARY))
    labels, predictions = labels_and_predictions(made, BINARY)
    truth, p = labels == "yes", predictions[:, 0].astype(np.float64)
    metrics = run.verdict.metrics["shipped"]
    assert metrics["auc"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, p), abs=5e-5)
    precision = sklearn.metrics.average_precision_score(truth, p)
    assert metrics["pr_auc"] == pytest.approx(precision, abs=5e-3)
    accuracy = sklearn.metrics.accuracy_score(truth, p > 0.5)
    assert metrics["accuracy"] == pytest.approx(accuracy)
    assert metrics["precision"] == pytest.approx(sklearn.metrics.precision_score(truth, p > 0.5))
    assert metrics["recall"] == pytest.approx(sklearn.metrics.recall_score(truth, p > 0.5))
    assert metrics["log_loss"] == pytest.approx(sklearn.metrics.log_loss(truth, p), abs=1e-6)
    assert metrics["calibration"] == pytest.approx(p.sum() / truth.sum())
    assert metrics["example_count"] == ROWS
    plots = run.verdict.plots["shipped"]
    expected = sklearn.metrics.confusion_matrix(truth, p > 0.5).tolist()
    assert plots["confusion"]["matrix"] == expected
    assert plots["confusion"]["classes"] == ["no", "yes"]
    roc = plots["roc"]
    assert (roc[0]["fpr"], roc[0]["tpr"]) == (0, 0) and (roc[-1]["fpr"], roc[-1]["tpr"]) == (1, 1)
    area = sklearn.metrics.auc([point["fpr"] for point in roc], [point["tpr"] for point in roc])
    assert area == pytest.approx(metrics["auc"], abs=2e-3)
    bins = plots["calibration"]
    assert sum(b["rows"] for b in bins) == ROWS and len(bins) <= 22
    assert all(b["low"] <= b["predicted"] <= b["high"] for b in bins)


def test_multiclass_metrics_agree_with_scikit_learn(tmp_path, made):
    spec = MULTICLASS
    run = run_evaluator(tmp_path, made.examples(spec), made(spec), made.teacher(spec), spec=spec)
    labels, p = labels_and_predictions(made, spec)
    metrics = run.verdict.metrics["shipped"]
    predicted = np.asarray(spec.classes)[p.argmax(axis=1)]
    assert metrics["accuracy"] == pytest.approx((labels == predicted).mean())
    assert metrics["log_loss"] == pytest.approx(
        sklearn.metrics.log_loss(labels, p.astype(np.float64)), abs=1e-5
    )
    each = [sklearn.metrics.roc_auc_score(labels == c, p[:, i]) for i, c in enumerate(spec.classes)]
    assert metrics["auc"] == pytest.approx(np.mean(each), abs=1e-4)
    matrix = run.verdict.plots["shipped"]["confusion"]["matrix"]
    assert matrix == sklearn.metrics.confusion_matrix(labels, predicted).tolist()


def test_regression_metrics_agree_with_scikit_learn(tmp_path, made):
    spec = REGRESSION
    run = run_evaluator(tmp_path, made.examples(spec), made(spec), made.teacher(spec), spec=spec)
    y, p = labels_and_predictions(made, spec)
    y, p = y.astype(np.float64), p[:, 0].astype(np.float64)
    metrics = run.verdict.metrics["shipped"]
    assert metrics["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(y, p), rel=1e-6)
    rmse = sklearn.metrics.mean_squared_error(y, p) ** 0.5
    assert metrics["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert metrics["r2"] == pytest.approx(sklearn.metrics.r2_score(y, p), rel=1e-6)
    bins = run.verdict.plots["shipped"]["calibration"]
    assert sum(b["rows"] for b in bins) == ROWS
    assert sum(b["rows"] * b["actual"] for b in bins) / ROWS == pytest.approx(y.mean(), rel=1e-6)


def test_a_champion_whose_classes_are_ordered_differently(tmp_path, made):
    backwards = ModelSpec("binary", "tip", ("yes", "no"), BINARY.numeric, BINARY.categorical)
    run = run_evaluator(
        tmp_path,
        made.examples(BINARY),
        made(BINARY),
        made.teacher(BINARY),
        champion_of(made(backwards, -WEIGHTS["binary"])),
    )
    assert run.verdict.blessed
    metrics = run.verdict.metrics
    assert metrics["champion"] == pytest.approx(metrics["shipped"], abs=1e-5)


def test_a_champion_that_lacks_a_class(tmp_path, made):
    spec, weights = MULTICLASS, WEIGHTS["multiclass"]
    fewer = ModelSpec("multiclass", "kind", ("b", "a"), spec.numeric, spec.categorical)
    run = run_evaluator(
        tmp_path,
        made.examples(spec),
        made(spec),
        made.teacher(spec),
        champion_of(made(fewer, weights[:, [1, 0]].copy())),
        spec=spec,
    )
    assert run.verdict.blessed
    matrix = np.asarray(run.verdict.plots["champion"]["confusion"]["matrix"])
    assert matrix[:, 2].sum() == 0 and matrix.sum() == ROWS
    assert matrix[0, 0] > matrix[0, 1] and matrix[1, 1] > matrix[1, 0]


def test_a_champion_of_another_task_or_in_pieces_is_not_compared(tmp_path, made):
    arguments = (made.examples(BINARY), made(BINARY), made.teacher(BINARY))
    other = ModelSpec("binary", "big", ("no", "yes"), BINARY.numeric, BINARY.categorical)
    broken = standard_artifacts.Model()
    broken.uri = str(tmp_path / "broken")
    (tmp_path / "broken" / "Format-Serving").mkdir(parents=True)
    BINARY.save(broken.uri)
    (tmp_path / "broken" / "Format-Serving" / "tflite").write_bytes(b"not a model")
    for name, champion, says in (
        ("task", made(REGRESSION), "solves a regression task"),
        ("label", made(other), "predicts `big`"),
        ("broken", broken, "cannot be loaded"),
    ):
        run = run_evaluator(tmp_path / name, *arguments, champion_of(champion))
        assert run.verdict.blessed
        assert run.reason("CHAMPION_INCOMPARABLE").severity == "warn"
        assert says in run.reason("CHAMPION_INCOMPARABLE").message
        assert "champion" not in run.verdict.metrics


def test_rows_without_a_usable_label_are_left_out_and_counted(tmp_path, made):
    table = make_table(BINARY, 400, 3)
    labels = table["tip"].to_pylist()
    labels[:30], labels[30:40] = [None] * 30, ["perhaps"] * 10
    changed = table.set_column(table.column_names.index("tip"), "tip", pa.array(labels))
    examples = make_examples(tmp_path / "examples", {"test": changed})
    run = run_evaluator(tmp_path, examples, made(BINARY), made.teacher(BINARY))
    assert run.verdict.rows == {"evaluated": 360, "label_missing": 30, "label_unknown": 10}
    assert run.reason("LABELS_MISSING").severity == "info"
    assert run.reason("LABELS_UNKNOWN").severity == "warn"
    assert run.verdict.metrics["shipped"]["example_count"] == 360


def test_integer_labels_and_slices_that_are_numbers(tmp_path, made):
    spec = ModelSpec("binary", "tip", ("0", "1"), BINARY.numeric, BINARY.categorical)
    table = make_table(BINARY, 600, 3)
    numbers = pa.array((np.asarray(table["tip"]) == "yes").astype(np.int64))
    table = table.set_column(table.column_names.index("tip"), "tip", numbers)
    examples = make_examples(tmp_path / "examples", {"test": table})
    champion = champion_of(made(spec, flip=(1,)))
    run = run_evaluator(
        tmp_path,
        examples,
        made(spec, SCRAMBLED["binary"]),
        made(spec, saved_model=True),
        champion,
        slices=[["surge"], ["hour"]],
        min_slice_rows=50,
    )
    assert run.verdict.rows["evaluated"] == 600
    assert {s.slice["surge"] for s in run.verdict.slices if "surge" in s.slice} == {1, 1.5, 2.25}
    # Each failure is in the ValidationResult once per kind, under its own slice key.
    failed = [t for t in run.verdict.thresholds if not t.passed]
    assert len(messages(run.evaluation)) == len(failed)
    assert {tuple(t.slice.items()) for t in failed} == failed_slices(run.evaluation)


def test_small_slices_are_shown_and_not_judged(tmp_path, made):
    run = run_evaluator(
        tmp_path,
        made.examples(BINARY),
        made(BINARY, flip=(3,)),
        made.teacher(BINARY),
        slices=[["hour"]],
        min_slice_rows=ROWS,
        max_drop_teacher=0.5,
    )
    assert run.verdict.blessed
    assert len(run.verdict.slices) == 6
    assert not any(s.judged for s in run.verdict.slices)


def test_quality_of_one_class_only_is_undefined(tmp_path, made):
    table = make_table(BINARY, 600, 4)
    cash = np.asarray(table["payment"]) == "Cash"
    label = pa.array(np.where(cash, "yes", np.asarray(table["tip"])))
    position = table.column_names.index("tip")
    table = table.set_column(position, "tip", label)
    arguments = (made(BINARY), made.teacher(BINARY))
    examples = make_examples(tmp_path / "examples", {"test": table})
    run = run_evaluator(tmp_path / "slice", examples, *arguments, slices=[["payment"]])
    (slice_result,) = [s for s in run.verdict.slices if s.slice == {"payment": "Cash"}]
    assert not slice_result.judged and slice_result.rows >= 100
    assert slice_result.metrics["shipped"]["auc"] is None
    assert run.verdict.blessed
    table = table.set_column(position, "tip", pa.array(["yes"] * 600))
    examples = make_examples(tmp_path / "constant", {"test": table})
    run = run_evaluator(tmp_path / "all", examples, *arguments)
    assert not run.verdict.blessed
    assert {"QUALITY_UNDEFINED", "BELOW_BOUND"} <= run.codes
    assert not tfma.load_validation_result(run.evaluation).validation_ok


def test_a_model_that_answers_no_numbers_is_refused(tmp_path, made):
    broken = made(BINARY, np.array([[np.nan], [0.0]], np.float32))
    run = run_evaluator(tmp_path, made.examples(BINARY), broken, made.teacher(BINARY))
    assert not run.verdict.blessed
    assert run.reason("PREDICTION_NOT_FINITE").cases == ({"model": "shipped", "rows": ROWS},)


def test_a_saturated_model_has_a_finite_log_loss(tmp_path, made):
    """TFMA's own cross-entropy answers NaN where a probability is exactly 0 or 1."""
    sure = made(BINARY, 1000 * WEIGHTS["binary"])
    run = run_evaluator(tmp_path, made.examples(BINARY), sure, made.teacher(BINARY))
    assert run.verdict.metrics["shipped"]["log_loss"] > 1.0


def test_errors_say_what_and_what_next(tmp_path, made):
    arguments = (made(BINARY), made.teacher(BINARY))
    table = make_table(BINARY, 60, 5)
    examples = make_examples(tmp_path / "no-test", {"train": table})
    with pytest.raises(DataError, match="no `test`") as error:
        run_evaluator(tmp_path / "1", examples, *arguments)
    assert error.value.reason.code == "SPLIT_MISSING"
    nothing = pa.array([None] * 60, pa.string())
    unlabelled = table.set_column(table.column_names.index("tip"), "tip", nothing)
    examples = make_examples(tmp_path / "unlabelled", {"test": unlabelled})
    with pytest.raises(DataError, match="60 have none"):
        run_evaluator(tmp_path / "2", examples, *arguments)
    with pytest.raises(FlywheelError, match="asks for `fare`"):
        run_evaluator(tmp_path / "3", made.examples(BINARY), *arguments, spec=REGRESSION)
    with pytest.raises(FlywheelError, match="solves a regression task"):
        run_evaluator(tmp_path / "4", made.examples(BINARY), made(BINARY), made.teacher(REGRESSION))


def test_slicing_columns_are_checked_against_the_schema(tmp_path, made):
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    os.makedirs(schema.uri)
    names = ("x", "y", "hour", "payment", "tip")
    message = schema_pb2.Schema(feature=[schema_pb2.Feature(name=name) for name in names])
    with open(os.path.join(schema.uri, "schema.pbtxt"), "w", encoding="utf-8") as file:
        file.write(text_format.MessageToString(message))
    arguments = (made.examples(BINARY), made(BINARY), made.teacher(BINARY))
    with pytest.raises(ConfigError, match="did you mean `payment`") as error:
        run_evaluator(tmp_path / "1", *arguments, schema=schema, slices=[["paymnt"], ["hour"]])
    assert error.value.reason.code == "SLICE_UNKNOWN"
    run = run_evaluator(tmp_path / "2", *arguments, schema=schema, slices=[["hour"]])
    assert len(run.verdict.slices) == 6
    run = run_evaluator(tmp_path / "3", *arguments, slices=[["paymnt"]])
    assert run.reason("SLICE_EMPTY").severity == "warn" and not run.verdict.slices


def test_a_feature_that_the_data_lacks_is_fed_as_missing(tmp_path, made):
    """A champion may know columns that are gone; it is measured without them."""
    more = ModelSpec(
        "binary",
        "tip",
        BINARY.classes,
        (*BINARY.numeric[:1], NumericFeature("gone", 0.0, -4.0, 4.0, 0.0, 1.0)),
        BINARY.categorical,
    )

    folder = tmp_path / "champion"
    (folder / "Format-Serving").mkdir(parents=True)

    class Gone(tf.Module):
        @tf.function(
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, 1], tf.float32, name=name) for name in ("x", "gone", "hour")
            ],
        )
        def answer(self, x, gone, hour):
            known = tf.where(tf.math.is_nan(gone), tf.zeros_like(gone), gone)
            first = tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)
            return {"probability": tf.sigmoid(2 * first + known + 0 * hour)}

    module = Gone()
    tf.saved_model.save(module, str(tmp_path / "saved"), {"serving_default": module.answer})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    (folder / "Format-Serving" / "tflite").write_bytes(converter.convert())
    more.save(folder)
    champion = standard_artifacts.Model()
    champion.uri = str(folder)
    run = run_evaluator(
        tmp_path,
        made.examples(BINARY),
        made(BINARY),
        made.teacher(BINARY),
        champion_of(champion),
    )
    metrics = run.verdict.metrics
    assert run.verdict.blessed and 0.7 < metrics["champion"]["auc"] < metrics["shipped"]["auc"]


def test_stock_tools_read_the_artifacts(tmp_path, made):
    run = run_evaluator(
        tmp_path,
        made.examples(BINARY),
        made(BINARY),
        made.teacher(BINARY),
        champion_of(made(BINARY)),
        slices=[["payment"]],
    )
    names = {"eval_config.json", "validations.tfrecord", "verdict.json"}
    names |= {f"{n}-00000-of-00001.tfrecord" for n in ("metrics", "plots", "attributions")}
    assert set(os.listdir(run.evaluation)) == names
    for model in ("shipped", "teacher", "champion"):
        result = tfma.load_eval_result(run.evaluation, model_name=model)
        metrics = dict(result.slicing_metrics)[()][""][""]
        expected = run.verdict.metrics[model]["auc"]
        assert metrics["auc"]["doubleValue"] == pytest.approx(expected)
        assert len(result.slicing_metrics) == len(result.plots) == 4
    assert [spec.name for spec in result.config.model_specs if spec.is_baseline] == ["champion"]
    assert pusher_executor.Executor().CheckBlessing({"model_blessing": [run.blessing]})
    with open(os.path.join(run.evaluation, "verdict.json"), encoding="utf-8") as file:
        assert json.load(file)["format"] == 1
