"""Small real models and data for the Evaluator's tests, converted by the real converter."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pyarrow as pa

from models import stack

stack.prepare_environment()

import tensorflow as tf  # noqa: E402
from tfx.types import standard_artifacts  # noqa: E402
from tfx_bsl.coders import example_coder  # noqa: E402

from custom_components.evaluator import executor  # noqa: E402
from custom_components.evaluator.options import EvaluationOptions  # noqa: E402
from custom_components.evaluator.verdict import Verdict  # noqa: E402
from models.options import TaskOptions  # noqa: E402
from models.predictor import Predictor  # noqa: E402
from models.spec import CategoricalFeature, ModelSpec, NumericFeature  # noqa: E402

FEATURES = (
    NumericFeature("x", 0.0, -4.0, 4.0, 0.0, 1.0),
    NumericFeature("y", 0.0, -4.0, 4.0, 0.0, 1.0),
)
HOUR = (CategoricalFeature("hour", "integer", tuple(str(hour) for hour in range(6))),)
BINARY = ModelSpec("binary", "tip", ("no", "yes"), FEATURES, HOUR)
MULTICLASS = ModelSpec("multiclass", "kind", ("a", "b", "c"), FEATURES, HOUR)
REGRESSION = ModelSpec("regression", "fare", (), FEATURES, HOUR, target_mean=20.0, target_std=8.0)
WEIGHTS = {
    "binary": np.array([[2.0], [-1.5]], np.float32),
    "multiclass": np.array([[2.0, -2.0, 0.0], [1.0, 1.0, -2.0]], np.float32),
    "regression": np.array([[6.0], [-4.0]], np.float32),
}


class Formula(tf.Module):
    """A linear model of x and y; `flip` turns its sign where the hour is one of those."""

    def __init__(self, spec: ModelSpec, weights: np.ndarray, flip: tuple[int, ...] = ()):
        super().__init__()
        self.spec, self.flip = spec, flip
        self.weights = tf.constant(weights, tf.float32)
        features = [tf.TensorSpec([None, 1], tf.float32, name=f.name) for f in spec.features]
        self.signature = tf.function(self._answer, autograph=False).get_concrete_function(*features)

    def _answer(self, x, y, hour):
        known = [tf.where(tf.math.is_nan(value), tf.zeros_like(value), value) for value in (x, y)]
        score = tf.matmul(tf.concat(known, 1), self.weights)
        for flipped in self.flip:
            score = tf.where(tf.equal(hour, float(flipped)), -score, score)
        if self.spec.task == "binary":
            return {"probability": tf.sigmoid(score)}
        if self.spec.task == "multiclass":
            return {"probabilities": tf.nn.softmax(score)}
        return {"value": score + 20.0}


def make_model(
    folder: pathlib.Path,
    spec: ModelSpec,
    weights: np.ndarray | None = None,
    *,
    flip: tuple[int, ...] = (),
    saved_model: bool = False,
) -> standard_artifacts.Model:
    """A Model artifact in the folder: TFLite file or SavedModel, and `model.json`."""
    module = Formula(spec, WEIGHTS[spec.task] if weights is None else weights, flip)
    serving = folder / "Format-Serving"
    serving.mkdir(parents=True)
    spec.save(folder)
    if saved_model:
        tf.saved_model.save(module, str(serving), signatures={"raw": module.signature})
    else:
        exported = folder.with_name(folder.name + "-exported")
        tf.saved_model.save(module, str(exported), signatures={"serving_default": module.signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(exported), signature_keys=["serving_default"]
        )
        (serving / "tflite").write_bytes(converter.convert())
    return _artifact(standard_artifacts.Model, folder, 7)


def _artifact(cls, folder: pathlib.Path, number: int = 0):
    folder.mkdir(parents=True, exist_ok=True)
    artifact = cls()
    artifact.uri = str(folder)
    artifact.id = number
    return artifact


def make_table(spec: ModelSpec, rows: int, seed: int = 0, noise: float = 1.0) -> pa.Table:
    """Rows whose label follows the formula with some noise; a few cells are missing."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, rows)).astype(np.float32)
    score = np.stack([x, y], 1) @ WEIGHTS[spec.task]
    score = score + noise * rng.logistic(size=score.shape)
    if spec.task == "binary":
        label = pa.array(np.where(score[:, 0] > 0, "yes", "no"))
    elif spec.task == "multiclass":
        label = pa.array(np.asarray(spec.classes)[score.argmax(axis=1)])
    else:
        label = pa.array((score[:, 0] + 20.0).astype(np.float32))
    return pa.table(
        {
            "x": pa.array(x, mask=rng.random(rows) < 0.02),
            "y": pa.array(y),
            "hour": pa.array(rng.integers(0, 6, rows), mask=rng.random(rows) < 0.01),
            "payment": pa.array(rng.choice(["Cash", "Card", "Überweisung"], rows)),
            "surge": pa.array(rng.choice([1.0, 1.5, 2.25], rows).astype(np.float32)),
            spec.label: label,
        }
    )


def make_examples(folder: pathlib.Path, tables: dict[str, pa.Table]) -> standard_artifacts.Examples:
    """An Examples artifact of gzip TFRecords, missing cells as keys with no kind set."""
    for split, table in tables.items():
        path = folder / f"Split-{split}"
        path.mkdir(parents=True)
        lists = []
        for column in table.columns:
            column = column.combine_chunks()
            if pa.types.is_string(column.type):
                column = column.cast(pa.binary())
            valid = np.asarray(column.is_valid())
            offsets = np.concatenate([[0], np.cumsum(valid)]).astype(np.int32)
            mask = np.concatenate([~valid, [False]])
            lists.append(pa.ListArray.from_arrays(pa.array(offsets, mask=mask), column.drop_null()))
        batch = pa.RecordBatch.from_arrays(lists, table.column_names)
        options = tf.io.TFRecordOptions(compression_type="GZIP")
        with tf.io.TFRecordWriter(
            str(path / "data_tfrecord-00000-of-00001.gz"), options=options
        ) as writer:
            for record in example_coder.RecordBatchToExamples(batch):
                writer.write(record)
    artifact = _artifact(standard_artifacts.Examples, folder)
    artifact.split_names = json.dumps(list(tables))
    artifact.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    artifact.set_string_custom_property("file_format", "tfrecords_gzip")
    return artifact


@dataclasses.dataclass
class Run:
    """What an evaluation left behind."""

    evaluation: str
    blessing: standard_artifacts.ModelBlessing
    verdict: Verdict

    @property
    def codes(self) -> set[str]:
        return {reason.code for reason in self.verdict.reasons}

    def reason(self, code: str):
        return next(reason for reason in self.verdict.reasons if reason.code == code)


def run_evaluator(
    folder: pathlib.Path,
    examples,
    model,
    teacher,
    champion=None,
    *,
    engine: str = "local",
    schema=None,
    spec: ModelSpec = BINARY,
    **options,
) -> Run:
    """Calls the executor as TFX would."""
    evaluation = _artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")
    blessing = _artifact(standard_artifacts.ModelBlessing, folder / "blessing")
    inputs = {"examples": [examples], "model": [model], "teacher": [teacher]}
    if champion is not None:
        inputs["champion"] = [champion]
    if schema is not None:
        inputs["schema"] = [schema]
    executor.Executor().Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "options": EvaluationOptions(**options).model_dump_json(),
            "task": TaskOptions(label=spec.label, type=spec.task).model_dump_json(),
            "engine": engine,
            "split": "test",
        },
    )
    return Run(evaluation.uri, blessing, Verdict.load(evaluation.uri))


def test_the_formulas_survive_conversion(tmp_path):
    """Both kinds of model folder answer what the formula says."""
    table = make_table(BINARY, 50)
    x = np.nan_to_num(table["x"].to_numpy(), nan=0.0)
    expected = 1 / (1 + np.exp(-(2.0 * x - 1.5 * table["y"].to_numpy())))
    for name, saved_model in (("tflite", False), ("saved", True)):
        make_model(tmp_path / name, BINARY, saved_model=saved_model)
        answer = Predictor.load(tmp_path / name).predict(table)
        np.testing.assert_allclose(answer[:, 0], expected, atol=1e-6)
