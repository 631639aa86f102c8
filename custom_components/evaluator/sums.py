"""Sums per slice over batches of rows, in memory that does not grow with rows."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Batch:
    """Labelled rows and the slices they are in.

    Attributes:
      labels: `[n]`, int64 class index or float32 value.
      predictions: Model name to float32 `[n, 1]` or `[n, classes]`.
      rows, slices: Equally long: row `rows[i]` is in slice `slices[i]`.
      slice_count: Slices known so far, in this and all earlier batches.
    """

    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    rows: np.ndarray
    slices: np.ndarray
    slice_count: int


class Sums:
    """Running sums of a few columns, per slice.

    Attributes:
      values: float64 `[slices, columns]`.
    """

    def __init__(self, columns: int):
        self.values = np.zeros((0, columns))

    def add(self, batch: Batch, *columns: np.ndarray | None) -> None:
        """Adds `[n]` columns; None counts rows."""
        grown = batch.slice_count - len(self.values)
        if grown:
            self.values = np.pad(self.values, ((0, grown), (0, 0)))
        for index, column in enumerate(columns):
            weights = None if column is None else column[batch.rows].astype(np.float64)
            self.values[:, index] += np.bincount(batch.slices, weights, batch.slice_count)


class SparseSums:
    """Running sums per slice and bucket, where most buckets are empty.

    Args:
      buckets: Buckets per slice.
      columns: Columns to sum.
    """

    COMPACT_AT = 1 << 18

    def __init__(self, buckets: int, columns: int):
        self._buckets = buckets
        self._keys = np.zeros(0, np.int64)
        self._sums = np.zeros((0, columns))
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, batch: Batch, buckets: np.ndarray, *columns: np.ndarray | None) -> None:
        """Adds `[n]` columns to the rows' buckets; None counts rows."""
        keys, inverse = np.unique(
            batch.slices * self._buckets + buckets[batch.rows], return_inverse=True
        )
        sums = [
            np.bincount(
                inverse,
                None if column is None else column[batch.rows].astype(np.float64),
                len(keys),
            )
            for column in columns
        ]
        self._waiting.append((keys, np.stack(sums, axis=1)))
        if sum(len(keys) for keys, _ in self._waiting) > self.COMPACT_AT:
            self._compact()

    def _compact(self) -> None:
        parts = [(self._keys, self._sums), *self._waiting]
        self._keys, inverse = np.unique(
            np.concatenate([keys for keys, _ in parts]), return_inverse=True
        )
        sums = np.concatenate([sums for _, sums in parts])
        self._sums = np.stack(
            [np.bincount(inverse, column, len(self._keys)) for column in sums.T], axis=1
        )
        self._waiting = []

    def of(self, slice_index: int) -> tuple[np.ndarray, np.ndarray]:
        """The slice's non-empty buckets in ascending order, and their sums."""
        if self._waiting:
            self._compact()
        start, end = np.searchsorted(
            self._keys, [slice_index * self._buckets, (slice_index + 1) * self._buckets]
        )
        return self._keys[start:end] - slice_index * self._buckets, self._sums[start:end]
