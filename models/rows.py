"""The rows of a split as the network sees them, in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import tensorflow as tf

from models import feeds
from models.graph import Preprocessor
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
    """

    numeric: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    inputs: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def network_inputs(self, spec: ModelSpec) -> list[np.ndarray]:
        """What the network takes: the parts the spec has."""
        return ([self.numeric] if spec.numeric else []) + ([self.ids] if spec.categorical else [])

    def append(self, other: Rows) -> Rows:
        """Both, one after the other; raw inputs are dropped."""
        return Rows(
            np.concatenate([self.numeric, other.numeric]),
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.labels, other.labels]),
        )


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
    numeric, ids, labels, inputs = [], [], [], []
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
        part_numeric, part_ids = run({name: tf.constant(x) for name, x in fed.items()})
        numeric.append(part_numeric.numpy())
        ids.append(part_ids.numpy())
        labels.append(label)
        if keep_inputs:
            inputs.append(fed)
    if not labels:
        empty = np.zeros((0, len(spec.numeric)), np.float32)
        return Rows(empty, np.zeros((0, len(spec.categorical)), np.int32), np.zeros(0, np.float32))
    kept = (
        {name: np.concatenate([part[name] for part in inputs]) for name in inputs[0]}
        if keep_inputs
        else None
    )
    return Rows(np.concatenate(numeric), np.concatenate(ids), np.concatenate(labels), kept)
