"""TFMA's base combiners on whole batches: numpy sums per slice instead of a call per row.

Each accumulator stands for one combiner of TFMA's plan, takes its settings from
it and answers with the same output type, so that TFMA's derived computations run
on it unchanged. What a combiner is set to that is not reproduced here raises
`Unsupported`, before anything is measured.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from custom_components.evaluator import tfma_private as tfma
from custom_components.evaluator.metrics import LabelMoments, LabelMomentsCombiner
from custom_components.evaluator.sums import Batch, SparseSums, Sums


class Unsupported(Exception):
    """The local engine does not reproduce this; Beam does."""


class Accumulator(abc.ABC):
    """One combiner of TFMA's plan."""

    @abc.abstractmethod
    def add(self, batch: Batch) -> None:
        """Takes in a batch."""

    @abc.abstractmethod
    def result(self, slice_index: int) -> dict[Any, Any]:
        """What the combiner would answer for the slice."""


def _plain(combiner: Any) -> None:
    """Refuses what no accumulator reproduces."""
    for setting in ("_example_weighted", "_class_weights", "_aggregation_type"):
        if getattr(combiner, setting, None):
            raise Unsupported(f"{type(combiner).__name__} with {setting.strip('_')}")


def _class_id(key: Any) -> int | None:
    """The class a metric looks at, or None for the whole answer."""
    if key.output_name:
        raise Unsupported(f"output {key.output_name}")
    if key.sub_key is None:
        return None
    if key.sub_key.k is not None or key.sub_key.top_k is not None:
        raise Unsupported("top k")
    return key.sub_key.class_id


def _flat(batch: Batch, key: Any, class_id: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions `[n]`: of the only output, or of one class against the rest."""
    predictions = batch.predictions[key.model_name]
    if class_id is not None:
        return (batch.labels == class_id).astype(np.int64), predictions[:, class_id]
    if predictions.shape[1] != 1:
        raise Unsupported("micro averaging")
    return batch.labels, predictions[:, 0]


class ExampleCount(Accumulator):
    def __init__(self, combiner: Any):
        _plain(combiner)
        self._keys, self._sums = combiner._keys, Sums(1)

    def add(self, batch: Batch) -> None:
        self._sums.add(batch, None)

    def result(self, slice_index: int) -> dict[Any, Any]:
        return {key: float(self._sums.values[slice_index, 0]) for key in self._keys}


class LabelsPredictions(Accumulator):
    """Sums of labels, predictions and rows: calibration and the two means."""

    def __init__(self, combiner: Any):
        _plain(combiner)
        self._key, self._sums = combiner._key, Sums(3)
        self._class_id = _class_id(self._key)

    def add(self, batch: Batch) -> None:
        self._sums.add(batch, *_flat(batch, self._key, self._class_id), None)

    def result(self, slice_index: int) -> dict[Any, Any]:
        answer = tfma.LabelsPredictions()
        (
            answer.total_weighted_labels,
            answer.total_weighted_predictions,
            answer.total_weighted_examples,
        ) = self._sums.values[slice_index].tolist()
        return {self._key: answer}


class MeanError(Accumulator):
    """Mean absolute or squared error."""

    def __init__(self, combiner: Any):
        _plain(combiner)
        self._key, self._sums = combiner._metric_key, Sums(2)
        self._class_id = _class_id(self._key)
        self._squared = type(combiner) is tfma.SquaredErrorCombiner

    def add(self, batch: Batch) -> None:
        labels, predictions = _flat(batch, self._key, self._class_id)
        error = np.abs(labels - predictions).astype(np.float64)
        self._sums.add(batch, error**2 if self._squared else error, None)

    def result(self, slice_index: int) -> dict[Any, Any]:
        total, rows = self._sums.values[slice_index].tolist()
        return {self._key: total / rows if rows else float("nan")}


class LabelMomentsAccumulator(Accumulator):
    """The label's variance, for R²."""

    def __init__(self, combiner: LabelMomentsCombiner):
        if combiner.example_weighted:
            raise Unsupported("LabelMomentsCombiner with example_weighted")
        self._key = combiner.key
        self._class_id = _class_id(self._key)
        self._moments: list[LabelMoments] = []

    def add(self, batch: Batch) -> None:
        values = _flat(batch, self._key, self._class_id)[0][batch.rows].astype(np.float64)
        rows = np.bincount(batch.slices, minlength=batch.slice_count)
        safe = np.maximum(rows, 1)
        mean = np.bincount(batch.slices, values, batch.slice_count) / safe
        deviation = (values - mean[batch.slices]) ** 2
        squares = np.bincount(batch.slices, deviation, batch.slice_count)
        self._moments += [LabelMoments() for _ in range(batch.slice_count - len(self._moments))]
        for index in np.flatnonzero(rows):
            self._moments[index].merge(
                LabelMoments(float(rows[index]), float(mean[index]), float(squares[index]))
            )

    def result(self, slice_index: int) -> dict[Any, Any]:
        return {self._key: self._moments[slice_index]}


class Histogram(Accumulator):
    """Labels and predictions by bucket of the prediction: AUC, and all curves."""

    def __init__(self, combiner: Any):
        _plain(combiner)
        if not combiner._prediction_based_bucketing:
            raise Unsupported("label based bucketing")
        self._key = combiner._key
        self._class_id = _class_id(self._key)
        self._left, self._range = combiner._left, combiner._range
        self._count = combiner._num_buckets
        self._sums = SparseSums(self._count + 2, 3)

    def add(self, batch: Batch) -> None:
        labels, predictions = _flat(batch, self._key, self._class_id)
        position = ((predictions.astype(np.float64) - self._left) / self._range * self._count) + 1
        buckets = np.clip(position, 0, self._count + 1).astype(np.int64)
        self._sums.add(batch, buckets, labels, predictions, None)

    def result(self, slice_index: int) -> dict[Any, Any]:
        buckets, sums = self._sums.of(slice_index)
        rows = zip(buckets.tolist(), sums.tolist(), strict=True)
        return {self._key: [tfma.Bucket(bucket, *values) for bucket, values in rows]}


class BinaryMatrix(Accumulator):
    """Confusion matrices at a few thresholds: accuracy, precision, recall."""

    def __init__(self, combiner: Any):
        _plain(combiner)
        if combiner._example_id_key:
            raise Unsupported("sampling of example ids")
        if (
            combiner._extract_label_prediction_and_weight
            is not tfma.to_label_prediction_example_weight
        ):
            raise Unsupported("a metric's own way of pairing labels and predictions")
        if not combiner._enable_fractional_labels:
            raise Unsupported("confusion matrices of labels that are no classes")
        self._key = combiner._key
        self._class_id = _class_id(self._key)
        self._thresholds = list(combiner._binary_confusion_matrices._thresholds)
        self._sums = [Sums(4) for _ in self._thresholds]

    def add(self, batch: Batch) -> None:
        labels, predictions = _flat(batch, self._key, self._class_id)
        positive, predictions = labels == 1, predictions.astype(np.float64)
        for threshold, sums in zip(self._thresholds, self._sums, strict=True):
            above = predictions > threshold
            sums.add(
                batch, positive & above, ~positive & ~above, ~positive & above, positive & ~above
            )

    def result(self, slice_index: int) -> dict[Any, Any]:
        return {
            self._key: {
                threshold: tfma.BinaryMatrixEntry(
                    tfma.BinaryMatrix(*sums.values[slice_index].tolist()), [], [], [], []
                )
                for threshold, sums in zip(self._thresholds, self._sums, strict=True)
            }
        }


class MultiClassMatrix(Accumulator):
    """Rows by actual and predicted class."""

    def __init__(self, combiner: Any):
        _plain(combiner)
        if (
            combiner._extract_label_prediction_and_weight
            is not tfma.to_label_prediction_example_weight
        ):
            raise Unsupported("a metric's own way of pairing labels and predictions")
        if len(combiner._thresholds) != 1:
            raise Unsupported("a multi-class confusion matrix at several thresholds")
        self._key, self._threshold = combiner._key, combiner._thresholds[0]
        if _class_id(self._key) is not None:
            raise Unsupported("a multi-class confusion matrix of one class")
        self._width = 0
        self._sums: SparseSums | None = None

    def add(self, batch: Batch) -> None:
        predictions = batch.predictions[self._key.model_name]
        if self._sums is None:
            self._width = predictions.shape[1] + 1
            self._sums = SparseSums(self._width**2, 1)
        predicted = predictions.argmax(axis=1)
        top = predictions[np.arange(len(predictions)), predicted]
        predicted = np.where(top <= self._threshold, -1, predicted)
        self._sums.add(batch, batch.labels * self._width + predicted + 1, None)

    def result(self, slice_index: int) -> dict[Any, Any]:
        buckets, sums = self._sums.of(slice_index)
        entries = {
            tfma.MultiClassMatrixKey(bucket // self._width, bucket % self._width - 1): rows
            for bucket, rows in zip(buckets.tolist(), sums[:, 0].tolist(), strict=True)
        }
        return {self._key: tfma.MultiClassMatrices({self._threshold: entries})}


#: tf_keras.backend.epsilon(), which Keras's cross-entropies clip with.
_EPSILON = np.float32(1e-7)


def _binary_crossentropy(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """tf_keras.backend.binary_crossentropy, in float32 as there; `[n]`."""
    p = np.clip(predictions[:, 0], _EPSILON, np.float32(1.0) - _EPSILON)
    y = labels.astype(np.float32)
    return -(y * np.log(p + _EPSILON) + (1 - y) * np.log(1 - p + _EPSILON))


def _sparse_categorical_crossentropy(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """tf_keras.backend.sparse_categorical_crossentropy, which renormalises; `[n]`."""
    p = np.clip(predictions, _EPSILON, np.float32(1.0) - _EPSILON).astype(np.float64)
    return np.log(p.sum(axis=1)) - np.log(p[np.arange(len(p)), labels])


def _sparse_categorical_accuracy(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    return (predictions.argmax(axis=1) == labels).astype(np.float32)


#: Keras class to the value per row, and the settings it must have.
_KERAS: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], dict[str, Any]]] = {
    "BinaryCrossentropy": (_binary_crossentropy, {"from_logits": False, "label_smoothing": 0}),
    "SparseCategoricalCrossentropy": (
        _sparse_categorical_crossentropy,
        {"from_logits": False, "axis": -1, "ignore_class": None},
    ),
    "SparseCategoricalAccuracy": (_sparse_categorical_accuracy, {}),
}


class KerasMetrics(Accumulator):
    """Means over rows that TFMA leaves to Keras."""

    def __init__(self, combiner: Any):
        _plain(combiner)
        if combiner._sub_key is not None or combiner._output_names != [""]:
            raise Unsupported("a Keras metric of one class or of one output")
        if any(combiner._loss_configs):
            raise Unsupported("a Keras loss")
        self._model = combiner._model_name
        self._values, self._keys = [], []
        for config in combiner._metric_configs[0]:
            name, settings = config["class_name"].split(">")[-1], config["config"]
            values, needed = _KERAS.get(name, (None, {}))
            if values is None:
                raise Unsupported(f"the Keras metric {name}")
            for setting, value in {"dtype": "float32", **needed}.items():
                if settings.get(setting, value) != value:
                    raise Unsupported(f"{name} with {setting}={settings[setting]!r}")
            self._values.append(values)
            self._keys.append(tfma.MetricKey(name=settings["name"], model_name=self._model))
        self._sums = Sums(len(self._values) + 1)

    def add(self, batch: Batch) -> None:
        predictions = batch.predictions[self._model]
        columns = [values(batch.labels, predictions) for values in self._values]
        self._sums.add(batch, *columns, None)

    def result(self, slice_index: int) -> dict[Any, Any]:
        # Keras divides in float32; so a count over a count is the same number here.
        *totals, rows = self._sums.values[slice_index].astype(np.float32)
        return {key: total / rows for key, total in zip(self._keys, totals, strict=True)}


#: Exact type: a subclass may compute something else.
_ACCUMULATORS: dict[type, type[Accumulator]] = {
    tfma.ExampleCountCombiner: ExampleCount,
    tfma.LabelsPredictionsCombiner: LabelsPredictions,
    tfma.AbsoluteErrorCombiner: MeanError,
    tfma.SquaredErrorCombiner: MeanError,
    tfma.HistogramCombiner: Histogram,
    tfma.BinaryMatrixCombiner: BinaryMatrix,
    tfma.MultiClassMatrixCombiner: MultiClassMatrix,
    tfma.KerasCombiner: KerasMetrics,
    LabelMomentsCombiner: LabelMomentsAccumulator,
}


def accumulator_for(combiner: Any) -> Accumulator:
    """The accumulator that stands for a combiner.

    Raises:
      Unsupported: None does, or not with these settings.
    """
    accumulator = _ACCUMULATORS.get(type(combiner))
    if accumulator is None:
        raise Unsupported(type(combiner).__name__)
    return accumulator(combiner)
