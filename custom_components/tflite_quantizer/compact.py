"""Preprocessing in few operations: one chain for everything that arrives as a number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models import graph
from models.spec import (
    MISSING_ID,
    OUT_OF_VOCABULARY_ID,
    RESERVED_IDS,
    CategoricalFeature,
    ModelSpec,
)


class Preprocessor(graph.Preprocessor):
    """What `models.graph.Preprocessor` computes, for a spec laid out by `tables.compact`.

    Numbers and integer categories are concatenated and go through one chain: clip,
    replace what is missing. An integer category, shifted, is the row of the embedding
    table, or of a look-up table.

    Args:
      spec: Integer categories before text.
      direct: Every whole number of a category's range has a row of its own, the last
        one for all above: the row is found without a look-up table.
      hashed: As in `Student`.
    """

    def __init__(
        self, spec: ModelSpec, direct: bool, hashed: Mapping[str, Mapping[str, int]] | None = None
    ):
        super().__init__(spec)
        self._rows, self._table = self._arrange(direct)
        if hashed:
            self._tables = [
                _hashed_table(feature, offset, hashed[feature.name])
                if feature.name in hashed
                else table
                for table, (feature, offset) in zip(self._tables, self._strings, strict=True)
            ]

    def __call__(self, inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        numeric, index = self._numbers(inputs)
        parts = []
        if index is not None:
            index = tf.cast(index, tf.int32)
            parts.append(index if self._table is None else tf.gather(self._table, index))
        if self._strings:
            parts.append(self._string_ids(inputs))
        if not parts:
            return numeric, graph._empty(inputs, tf.int32)
        ids = graph._concat(parts)
        # Look-ups in a hash table lose the shape; the layers behind need the width.
        ids.set_shape([None, len(self._spec.categorical)])
        return numeric, ids

    def _numbers(self, inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Standardised numbers, and the integer categories' rows as float."""
        spec = self._spec
        features = [*spec.numeric, *(f for f, _ in self._integers)]
        if not features:
            return graph._empty(inputs, tf.float32), None
        columns = [(f.low, f.high, f.impute, f.mean) for f in spec.numeric] + self._rows
        low, high, impute, shift = (
            tf.constant([values], tf.float32) for values in zip(*columns, strict=True)
        )
        x = graph._concat([inputs[f.name] for f in features])
        missing = tf.not_equal(x, x)
        x = tf.minimum(tf.maximum(x, low), high)
        # After clipping: the row of missing values lies just below those in range.
        x = tf.where(missing, impute, x)
        count = len(spec.numeric)
        if not count:
            return graph._empty(inputs, tf.float32), x - shift
        index = None
        if self._integers:
            # Divided before the shift: the converter moves the quantization of standardised
            # numbers up through a split, and the rows with it.
            x, index = tf.split(x, [count, len(self._integers)], axis=1)
            index -= shift[:, count:]
        scale = tf.constant([[1.0 / f.std for f in spec.numeric]], tf.float32)
        return (x - shift[:, :count]) * scale, index

    def _arrange(self, direct: bool) -> tuple[list[tuple[float, ...]], tf.Tensor | None]:
        """The chain's numbers for each integer category, and the look-up table if one is needed.

        A stretch reads: missing, below the range, every whole number of the range, above it.
        """
        rows, table, start = [], [], 0
        for feature, offset in self._integers:
            values = [int(v) for v in feature.vocabulary]
            low = min(values)
            above = max(values) + (0 if direct else 1)
            first = offset if direct else start
            # (low, high, what replaces a missing one, shift to its row)
            rows.append((low - 1.0, float(above), low - 2.0, low - 2.0 - first))
            stretch = np.full(above - low + 3, offset + OUT_OF_VOCABULARY_ID, np.int32)
            stretch[0] = offset + MISSING_ID
            for position, value in enumerate(values):
                stretch[value - low + 2] = offset + RESERVED_IDS + position
            table.extend(stretch)
            start += len(stretch)
        return rows, None if direct or not rows else tf.constant(table, tf.int32)


def _hashed_table(
    feature: CategoricalFeature, offset: int, hashed: Mapping[str, int]
) -> tf.lookup.StaticHashTable:
    """Words to rows, where several words may have the same one."""
    buckets = len(set(hashed.values()))
    own = feature.vocabulary[: len(feature.vocabulary) - buckets]
    rows = {"": MISSING_ID, **{w: RESERVED_IDS + i for i, w in enumerate(own)}, **hashed}
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(rows)), tf.constant([offset + r for r in rows.values()], tf.int64)
        ),
        default_value=offset + OUT_OF_VOCABULARY_ID,
    )
