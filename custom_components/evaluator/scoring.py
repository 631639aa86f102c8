"""Rows in, labels and every model's predictions out: the same code for both engines."""

from __future__ import annotations

import collections
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from tfx import types
from tfx.components.util import tfxio_utils
from tfx.types import artifact_utils
from tfx.utils import io_utils
from tfx_bsl.tfxio import dataset_options, tfxio

from models import decoded, feeds
from models.errors import DataError
from models.predictor import Predictor
from models.spec import ModelSpec

BATCH_ROWS = 2000


@dataclasses.dataclass(frozen=True)
class Task:
    """What is evaluated; small enough to travel to Beam's workers.

    Attributes:
      spec: The shipped model's contract: its label and class order rule.
      models: Model name to the folder of its artifact.
      slices: Columns of each slicing.
    """

    spec: ModelSpec
    models: Mapping[str, str]
    slices: tuple[tuple[str, ...], ...]

    @property
    def slice_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for columns in self.slices for column in columns))


@dataclasses.dataclass(frozen=True)
class Scored:
    """The labelled rows of a batch.

    Attributes:
      labels: `[n]`, int64 class index or float32 value.
      predictions: Model name to float32 `[n, 1]` or `[n, classes]` in the spec's class order.
      columns: The slicing columns as they were read, null where the batch lacks one.
      counts: `label_missing`, `label_unknown`: rows that were left out;
        `not_finite:<model>`: predictions that were no numbers.
    """

    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    columns: pa.RecordBatch
    counts: collections.Counter[str]


class Scorer:
    """All models, loaded: answers a record batch with `Scored`."""

    def __init__(self, task: Task):
        self._task = task
        self._predictors = {
            name: Predictor.load(local_folder(folder)) for name, folder in task.models.items()
        }

    def __call__(self, batch: pa.RecordBatch) -> Scored:
        spec, counts = self._task.spec, collections.Counter()
        label = feeds.flat_column(batch, spec.label)
        labels = feeds.label_index(spec, label)
        known = np.isfinite(labels)
        if not known.all():
            missing = _missing(label)
            counts["label_missing"] = int((~known & missing).sum())
            counts["label_unknown"] = int((~known & ~missing).sum())
            batch = batch.filter(pa.array(known))
            labels = labels[known]
        predictions = {}
        for name, predictor in self._predictors.items():
            answer = align(predictor.predict(batch), predictor.spec, spec)
            finite = np.isfinite(answer).all(axis=1)
            if not finite.all():
                counts[f"not_finite:{name}"] = int((~finite).sum())
                answer[~finite] = _constant_answer(spec)
            predictions[name] = answer
        columns = {
            name: batch.column(name) if name in batch.schema.names else pa.nulls(len(labels))
            for name in self._task.slice_columns
        }
        return Scored(
            labels=labels if spec.task == "regression" else labels.astype(np.int64),
            predictions=predictions,
            columns=pa.RecordBatch.from_arrays(list(columns.values()), list(columns)),
            counts=counts,
        )


def _missing(label: pa.Array) -> np.ndarray:
    """Where there is no label, `[n]`: null, NaN or empty text."""
    if pa.types.is_floating(label.type):
        return np.isnan(label.to_numpy(zero_copy_only=False).astype(np.float64))
    text = feeds.to_text(label)
    return np.asarray([value is None or value == "" for value in text], bool)


def _constant_answer(spec: ModelSpec) -> float:
    """What stands in where a model answers no number, so that the rest can be measured."""
    if spec.task == "regression":
        return spec.target_mean
    return 1.0 / len(spec.classes)


def incomparable(spec: ModelSpec, reference: ModelSpec) -> str:
    """Why the two models cannot be measured on the same labels; empty if they can."""
    if spec.task != reference.task:
        return f"it solves a {spec.task} task, this one is {reference.task}"
    if spec.label != reference.label:
        return f"it predicts `{spec.label}`, this one predicts `{reference.label}`"
    known = set(spec.classes) & set(reference.classes)
    needed = len(reference.classes) if spec.task == "binary" else min(2, len(reference.classes))
    if spec.task != "regression" and len(known) < needed:
        return (
            f"it knows the classes {', '.join(spec.classes)}, "
            f"this one {', '.join(reference.classes)}"
        )
    return ""


def align(predictions: np.ndarray, spec: ModelSpec, reference: ModelSpec) -> np.ndarray:
    """Predictions in the reference's class order.

    Args:
      predictions: `[n, 1]` or `[n, classes of spec]`.
      spec: The model's own contract.
      reference: The contract whose classes rule.

    Returns:
      A new float32 array, `[n, 1]` or `[n, classes of reference]`; a class that the
      model does not know has probability 0.
    """
    predictions = np.array(predictions, np.float32)
    if spec.classes == reference.classes or spec.task == "regression":
        return predictions
    if spec.task == "binary":
        return np.float32(1.0) - predictions
    aligned = np.zeros((len(predictions), len(reference.classes)), np.float32)
    for index, name in enumerate(reference.classes):
        if name in spec.classes:
            aligned[:, index] = predictions[:, spec.classes.index(name)]
    return aligned


def local_folder(uri: str) -> str:
    """The artifact's folder, copied to this machine when it lies elsewhere."""
    if "://" not in uri:
        return uri
    folder = tempfile.mkdtemp(prefix="model-")
    io_utils.copy_dir(uri, folder)
    return folder


def split_tfxio(examples: Sequence[types.Artifact], split: str) -> list[tfxio.TFXIO]:
    """One reader per Examples artifact.

    Raises:
      DataError: SPLIT_MISSING when an artifact has no such split.
    """
    for artifact in examples:
        splits = artifact_utils.decode_split_names(artifact.split_names)
        if split not in splits:
            raise DataError(
                "SPLIT_MISSING",
                f"The examples have the splits {', '.join(splits) or 'none'}, and no `{split}`, "
                "which the Evaluator needs: it judges on rows that no other component saw.",
                next="Let the ExampleGen write three splits, or name another one with "
                "`Evaluator(split=...)`.",
            )
    factory = tfxio_utils.get_tfxio_factory_from_artifact(
        examples=list(examples), telemetry_descriptors=["Evaluator"]
    )
    uris = artifact_utils.get_split_uris(list(examples), split)
    return [factory(io_utils.all_files_pattern(uri)) for uri in uris]


def read(examples: Sequence[types.Artifact], split: str) -> Iterator[pa.RecordBatch]:
    """The rows of the split in order, `BATCH_ROWS` at a time."""
    options = dataset_options.RecordBatchesOptions(
        batch_size=BATCH_ROWS, num_epochs=1, shuffle=False
    )
    sources = split_tfxio(examples, split)
    uris = artifact_utils.get_split_uris(list(examples), split)
    for source, uri in zip(sources, uris, strict=True):
        yield from decoded.read(uri, BATCH_ROWS) or source.RecordBatches(options)
