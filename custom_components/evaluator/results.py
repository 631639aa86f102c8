"""TFMA's files read back as plain numbers, whichever engine wrote them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.slicer import slicer_lib

from custom_components.evaluator.verdict import SHIPPED, Metrics, slice_name
from models.spec import ModelSpec, Task

#: Metric names of the verdict, in the order they are shown.
NAMES: dict[Task, tuple[str, ...]] = {
    "binary": (
        "auc",
        "pr_auc",
        "accuracy",
        "precision",
        "recall",
        "log_loss",
        "calibration",
        "mean_label",
        "mean_prediction",
        "example_count",
    ),
    "multiclass": ("accuracy", "log_loss", "auc", "example_count"),
    "regression": ("mae", "rmse", "r2", "mean_label", "mean_prediction", "example_count"),
}
CALIBRATION_BINS = 20


@dataclasses.dataclass(frozen=True)
class Measured:
    """One slice.

    Attributes:
      slice: Column to value; empty for all rows.
      key: The same as TFMA's slice key.
      rows: Labelled rows.
      metrics: Model name to metric name to value; None where it is not defined.
      values: TFMA's own keys and numbers, differences included.
      plots: Model name to plot data.
    """

    slice: dict[str, Any]
    key: tuple[tuple[str, Any], ...]
    rows: int
    metrics: dict[str, Metrics]
    values: dict[tfma.metrics.MetricKey, float]
    plots: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """The slice in words; empty for all rows."""
        return slice_name(self.slice)


def load(
    folder: str, spec: ModelSpec, models: Sequence[str], slices: Sequence[Sequence[str]]
) -> list[Measured]:
    """All slices of an evaluation.

    Args:
      folder: Of the evaluation artifact.
      spec: The shipped model's contract.
      models: Names of the models.
      slices: Columns of each slicing; the answer is in their order.

    Returns:
      All rows first, then by slicing and falling number of rows; empty when no row
      had a label.
    """
    plots = {}
    for proto in tfma.load_plots(folder):
        key = _slice_key(proto)
        if not key or spec.task == "multiclass":  # curves of slices are not shown
            plots[key] = _plots(proto, spec)
    measured = []
    for proto in tfma.load_metrics(folder):
        key = _slice_key(proto)
        values, matrices = {}, {}
        for item in proto.metric_keys_and_values:
            metric = tfma.metrics.MetricKey.from_proto(item.key)
            kind = item.value.WhichOneof("type")
            if kind == "double_value":
                values[metric] = item.value.double_value.value
            elif kind == "confusion_matrix_at_thresholds" and not metric.is_diff:
                matrices[metric.model_name] = item.value.confusion_matrix_at_thresholds.matrices[0]
        plot = plots.get(key, {})
        for name, matrix in matrices.items():
            plot.setdefault(name, {})["confusion"] = _binary_confusion(matrix, spec)
        by_name = {(m.model_name, m.name): v for m, v in values.items() if not m.is_diff}
        metrics = {
            model: {name: _number(by_name.get((model, name))) for name in NAMES[spec.task]}
            for model in models
        }
        for model in models:
            _blank_undefined(metrics[model], plot.get(model, {}), spec)
        rows = int(by_name[SHIPPED, "example_count"])
        measured.append(Measured(dict(key), key, rows, metrics, values, plot))
    order = {tuple(sorted(columns)): index for index, columns in enumerate(slices)}
    return sorted(
        measured,
        key=lambda m: (order.get(tuple(sorted(m.slice)), -1), -m.rows, m.name),
    )


def _slice_key(proto: Any) -> tuple[tuple[str, Any], ...]:
    return slicer_lib.deserialize_slice_key(proto.slice_key)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _blank_undefined(metrics: Metrics, plots: dict[str, Any], spec: ModelSpec) -> None:
    """TFMA answers 0 for the AUC of one class only, and averages it in."""
    if spec.task == "binary":
        if metrics["mean_label"] in (0.0, 1.0):
            metrics["auc"] = metrics["pr_auc"] = None
    elif spec.task == "multiclass":
        actual = [sum(row) for row in plots["confusion"]["matrix"]]
        if sum(1 for rows in actual if rows) < max(2, len(spec.classes)):
            metrics["auc"] = None


def _plots(proto: Any, spec: ModelSpec) -> dict[str, dict[str, Any]]:
    plots: dict[str, dict[str, Any]] = {}
    for item in proto.plot_keys_and_values:
        plot = plots.setdefault(item.key.model_name, {})
        if item.value.HasField("confusion_matrix_at_thresholds"):
            plot["roc"] = _roc(item.value.confusion_matrix_at_thresholds.matrices)
        if item.value.HasField("calibration_histogram_buckets"):
            plot["calibration"] = _calibration(item.value.calibration_histogram_buckets.buckets)
        if item.value.HasField("multi_class_confusion_matrix_at_thresholds"):
            entries = item.value.multi_class_confusion_matrix_at_thresholds.matrices[0].entries
            plot["confusion"] = _confusion(entries, spec)
    return plots


def _roc(matrices: Any) -> list[dict[str, float]]:
    """The curve from (0, 0) to (1, 1), without points that repeat."""
    points = [{"fpr": 0.0, "tpr": 0.0, "precision": 1.0, "threshold": 1.0}]
    for matrix in sorted(matrices, key=lambda m: -m.threshold):
        point = {
            "fpr": matrix.false_positive_rate,
            "tpr": matrix.recall,
            "precision": matrix.precision,
            "threshold": max(matrix.threshold, 0.0),
        }
        last = points[-1]
        if point["fpr"] != last["fpr"] or point["tpr"] != last["tpr"]:
            points.append(point)
    return points


def _calibration(buckets: Any) -> list[dict[str, float | None]]:
    """Mean prediction against mean label in bins of predictions; empty bins left out."""
    below = [[b] for b in buckets if not math.isfinite(b.lower_threshold_inclusive)]
    above = [[b] for b in buckets if not math.isfinite(b.upper_threshold_exclusive)]
    inner = buckets[len(below) : len(buckets) - len(above)]
    step = -(-len(inner) // CALIBRATION_BINS) or 1
    groups = [inner[start : start + step] for start in range(0, len(inner), step)]
    bins = []
    for group in [*below, *groups, *above]:
        rows = sum(b.num_weighted_examples.value for b in group)
        if rows:
            bins.append(
                {
                    "low": _number(group[0].lower_threshold_inclusive),
                    "high": _number(group[-1].upper_threshold_exclusive),
                    "rows": rows,
                    "predicted": sum(b.total_weighted_refined_prediction.value for b in group)
                    / rows,
                    "actual": sum(b.total_weighted_label.value for b in group) / rows,
                }
            )
    return bins


def _binary_confusion(matrix: Any, spec: ModelSpec) -> dict[str, Any]:
    rows = [
        [matrix.true_negatives, matrix.false_positives],
        [matrix.false_negatives, matrix.true_positives],
    ]
    return {"classes": list(spec.classes), "matrix": rows, "threshold": matrix.threshold}


def _confusion(entries: Any, spec: ModelSpec) -> dict[str, Any]:
    """Rows: actual class; columns: predicted class."""
    matrix = [[0.0] * len(spec.classes) for _ in spec.classes]
    for entry in entries:
        if entry.predicted_class_id >= 0:
            matrix[entry.actual_class_id][entry.predicted_class_id] += entry.num_weighted_examples
    return {"classes": list(spec.classes), "matrix": matrix}
