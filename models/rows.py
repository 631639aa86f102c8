"""The rows of a split as the network sees them, in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import tensorflow as tf

from models import feeds
from models.graph import Preprocessor, network_inputs
from models.spec import ModelSpec


@dataclasses.dataclass(frozen=True)
class Rows:
    """Preprocessed rows.

    Attributes:
      numeric: float32 `[rows, numeric features]`, standardised.
      ids: int32 `[rows, categorical features]`.
      labels: float32 `[rows]`: the class index or the standardised target; NaN
        where unknown.
      inputs: The raw inputs, `[rows, 1]` per feature, as the exported model takes
        them; None when not asked for.
      image: uint8 `[rows, height, width, channels]`; None when the spec has no image.
    """

    numeric: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    inputs: dict[str, np.ndarray] | None = None
    image: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def network_inputs(self, spec: ModelSpec) -> list[np.ndarray]:
        """What the network takes: the parts the spec has."""
        return network_inputs(spec, self.numeric, self.ids, self.image)

    def append(self, other: Rows) -> Rows:
        """Both, one after the other; raw inputs are dropped."""
        return Rows(
            np.concatenate([self.numeric, other.numeric]),
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.labels, other.labels]),
            image=None if self.image is None else np.concatenate([self.image, other.image]),
        )

    def take(self, picked: np.ndarray) -> Rows:
        """The rows of these indices."""
        inputs = self.inputs and {name: x[picked] for name, x in self.inputs.items()}
        image = None if self.image is None else self.image[picked]
        return Rows(self.numeric[picked], self.ids[picked], self.labels[picked], inputs, image)


def preprocess(
    spec: ModelSpec,
    batches: Iterable[pa.RecordBatch | pa.Table],
    preprocessor: Preprocessor | None = None,
    *,
    keep_inputs: bool = False,
    unlabelled: bool = False,
) -> Rows:
    """Runs the graph's own preprocessing over the batches, once.

    Args:
      spec: The contract.
      batches: Columns, flat or as read from tf.Examples.
      preprocessor: Reused when given.
      keep_inputs: Keep the raw inputs as well.
      unlabelled: Keep rows without a label; they are dropped otherwise.
    """
    preprocessor = preprocessor or Preprocessor(spec)
    run = tf.function(preprocessor.__call__, autograph=False, reduce_retracing=True)
    numeric, ids, labels, inputs, images = [], [], [], [], []
    for batch in batches:
        label = feeds.label_index(spec, feeds.flat_column(batch, spec.label))
        if spec.task == "regression":
            label = (label - np.float32(spec.target_mean)) / np.float32(spec.target_std)
        fed = feeds.encode(spec, batch)
        if not unlabelled:
            known = np.isfinite(label)
            label, fed = label[known], {name: x[known] for name, x in fed.items()}
        if not len(label):
            continue
        if spec.image:
            images.append(fed[spec.image.name])
        part_numeric, part_ids = run({name: tf.constant(x) for name, x in fed.items()})
        numeric.append(part_numeric.numpy())
        ids.append(part_ids.numpy())
        labels.append(label)
        if keep_inputs:
            inputs.append(fed)
    if not labels:
        empty = np.zeros((0, len(spec.numeric)), np.float32)
        image = np.zeros((0, *spec.image.shape), np.uint8) if spec.image else None
        no_ids, no_labels = np.zeros((0, len(spec.categorical)), np.int32), np.zeros(0, np.float32)
        return Rows(empty, no_ids, no_labels, image=image)
    kept = (
        {name: np.concatenate([part[name] for part in inputs]) for name in inputs[0]}
        if keep_inputs
        else None
    )
    return Rows(
        np.concatenate(numeric),
        np.concatenate(ids),
        np.concatenate(labels),
        kept,
        np.concatenate(images) if images else None,
    )
