"""The reference as counts per block (a day): what a window of any length is made of.

Counts add up, so a window of whole days is the sum of its days' rows here, and a thousand
resampled windows cost no second look at the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa

from monitoring import summaries

#: A number that is zero in more rows than this is watched by its non-zero rows.
MOSTLY_ZERO = 0.5


@dataclasses.dataclass(frozen=True)
class Levels:
    """Rows as places among their distinct values: taking some is taking whole numbers.

    Attributes:
      values: Distinct: text ('' where missing), or numbers (NaN where missing) in order.
      places: The value of each row.
    """

    values: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, kind: str) -> Levels:
        """Looks rows up, once."""
        if kind == "categorical":
            names, places = _distinct(values)
            return cls(np.array(names, object), places.astype(np.int32))
        distinct, places = np.unique(values, return_inverse=True)
        return cls(distinct, places.astype(np.int32))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: np.ndarray) -> Levels:
        return Levels(self.values, self.places[rows])

    def counts(self) -> np.ndarray:
        """Rows of each value."""
        return np.bincount(self.places, minlength=len(self.values))

    def to_numpy(self) -> np.ndarray:
        """A value per row; None where a text is missing."""
        if self.values.dtype == object:
            return np.array([name or None for name in self.values], object)[self.places]
        return self.values[self.places]


@dataclasses.dataclass(frozen=True)
class Column:
    """How rows of one feature are counted.

    Attributes:
      name: Feature.
      kind: `numeric`: cells in order. `categorical`: one per value.
      edges: Numeric: bin edges, see `summaries.Binned`.
      values: Categorical: the values of the reference, commonest first; others share a cell.
      mostly_zero: Whether non-zero rows are watched apart.
      complete: Categorical: whether `values` are all that the reference has.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    mostly_zero: bool = False
    complete: bool = True

    @property
    def cells(self) -> int:
        """Bins or values, those beyond the reference, and missing."""
        return (len(self.edges) + 1 if self.kind == "numeric" else len(self.values) + 1) + 1

    def codes(self, values: np.ndarray | Levels) -> np.ndarray:
        """The cell of each row; the last is missing, the one before it new values."""
        if isinstance(values, Levels):
            return self.codes(values.values)[values.places]
        if self.kind == "categorical":
            known = {value: i for i, value in enumerate(self.values)}
            names, places = _distinct(values)
            cell = np.array(
                [self.cells - 1 if n == "" else known.get(n, len(known)) for n in names], np.int32
            )
            return cell[places] if len(names) else np.zeros(0, np.int32)
        # As float32, the precision of tf.Example, so that an edge holds the rows it was made of.
        numbers, bounds = np.asarray(values, np.float32), np.asarray(self.edges, np.float32)
        if len(bounds):
            bounds[0] = np.nextafter(bounds[0], np.float32(-np.inf))
        found = np.searchsorted(bounds, numbers, side="left")
        return np.where(np.isnan(numbers), self.cells - 1, found).astype(np.int32)


def _texts(values: np.ndarray) -> np.ndarray:
    """Values as text, '' where missing; whole numbers without a fraction."""
    if values.dtype.kind == "U":
        return values
    if values.dtype.kind == "f":
        whole = np.where(np.isnan(values), 0, values)
        if np.all(whole == np.round(whole)):
            texts = whole.astype(np.int64).astype(str)
        else:
            texts = values.astype(str)
        return np.where(np.isnan(values), "", texts)
    return np.array(["" if v is None or v != v else str(v) for v in values], str)


def _distinct(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The distinct values as text in their order, '' where missing, and each row's place there."""
    encoded = pa.array(_texts(values), pa.string()).dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(names) if len(names) else np.zeros(0, int)
    back = np.empty(len(names), int)
    back[order] = np.arange(len(names))
    return names[order].tolist(), back[encoded.indices.to_numpy()]


def column_of(
    name: str, values: np.ndarray | Levels, kind: str, bins: int = summaries.BINS
) -> Column:
    """How a feature is counted, from its reference rows."""
    levels = values if isinstance(values, Levels) else None
    if kind == "categorical":
        levels = levels or Levels.of(values, kind)
        names, counts = levels.values.tolist(), levels.counts()
        order = np.argsort(-counts, kind="stable")
        kept = [names[i] for i in order if names[i] != "" and counts[i]]
        most = summaries.MOST_VALUES
        return Column(name, "categorical", values=tuple(kept[:most]), complete=len(kept) <= most)
    numbers = np.asarray(levels.to_numpy() if levels else values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    zero = len(numbers) > 0 and float(np.mean(numbers == 0)) > MOSTLY_ZERO
    edges = summaries.edges_from_values(numbers, bins)
    return Column(name, "numeric", edges=tuple(map(float, edges)), mostly_zero=zero)


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Rows, counted.

    Attributes:
      columns: Features.
      counts: Feature to rows per block and cell, shape [blocks, cells].
      nonzero: Mostly-zero feature to count, sum and sum of squares of its non-zero rows,
        shape [blocks, 3].
      timed: Whether blocks are days; otherwise there is one.
    """

    columns: tuple[Column, ...]
    counts: Mapping[str, np.ndarray]
    nonzero: Mapping[str, np.ndarray]
    timed: bool

    @property
    def blocks(self) -> int:
        return len(next(iter(self.counts.values()))) if self.counts else 0

    @property
    def rows(self) -> int:
        return int(self.block_rows.sum())

    @property
    def block_rows(self) -> np.ndarray:
        """Rows per block."""
        if not self.counts:
            return np.zeros(0)
        return next(iter(self.counts.values())).sum(axis=1)

    @classmethod
    def of(
        cls,
        table: pa.Table | Mapping[str, np.ndarray],
        kinds: Mapping[str, str],
        times: np.ndarray | None = None,
        *,
        bins: int = summaries.BINS,
        columns: tuple[Column, ...] | None = None,
    ) -> Blocks:
        """Counts rows.

        Args:
          table: One array per feature, of equal length.
          kinds: Feature to `numeric` or `categorical`; others are left out.
          times: datetime64 per row, or whole numbers that name the block; None: independent rows.
          bins: Per number.
          columns: Count by these instead of the table's own quantiles and values.
        """
        arrays = {n: to_numpy(table[n], k) for n, k in kinds.items() if k != "ignore"}
        if columns is None:
            columns = tuple(column_of(n, x, kinds[n], bins) for n, x in arrays.items())
        rows = len(next(iter(arrays.values()))) if arrays else 0
        codes = {column.name: column.codes(arrays[column.name]) for column in columns}
        return cls.of_codes(columns, codes, arrays, block_of(times, rows), times is not None)

    @classmethod
    def of_codes(
        cls,
        columns: tuple[Column, ...],
        codes: Mapping[str, np.ndarray],
        arrays: Mapping[str, np.ndarray],
        days: np.ndarray,
        timed: bool = False,
    ) -> Blocks:
        """Counts rows whose cells are known.

        Args:
          columns: How they were coded.
          codes: Feature to the cell of each row.
          arrays: Values of the mostly-zero features.
          days: Block of each row, from 0.
          timed: Whether blocks are days.
        """
        blocks = int(days.max()) + 1 if len(days) else 0
        counts, nonzero = {}, {}
        for column in columns:
            flat = days * column.cells + codes[column.name]
            counts[column.name] = (
                np.bincount(flat, minlength=blocks * column.cells)
                .reshape(blocks, column.cells)
                .astype(float)
            )
            if column.mostly_zero:
                numbers = np.nan_to_num(np.asarray(arrays[column.name], np.float64), nan=0.0)
                nonzero[column.name] = np.stack(
                    [
                        np.bincount(days, weights=w, minlength=blocks)
                        for w in (numbers != 0, numbers, numbers**2)
                    ],
                    axis=1,
                )
        return cls(columns, counts, nonzero, timed)

    def take(self, blocks: np.ndarray) -> Blocks:
        """Some blocks, repeated ones as often as they are named."""
        return dataclasses.replace(
            self,
            counts={name: x[blocks] for name, x in self.counts.items()},
            nonzero={name: x[blocks] for name, x in self.nonzero.items()},
        )

    def summed(self) -> Blocks:
        """The same rows as one block: comparing many windows adds nothing up again."""
        return dataclasses.replace(
            self,
            counts={name: x.sum(axis=0, keepdims=True) for name, x in self.counts.items()},
            nonzero={name: x.sum(axis=0, keepdims=True) for name, x in self.nonzero.items()},
        )

    def only(self, feature: str) -> Blocks:
        """One feature of it."""
        return dataclasses.replace(
            self,
            columns=tuple(c for c in self.columns if c.name == feature),
            counts={feature: self.counts[feature]},
            nonzero={k: x for k, x in self.nonzero.items() if k == feature},
        )


def to_numpy(values: np.ndarray | pa.ChunkedArray, kind: str) -> np.ndarray:
    """Numbers as float64 with NaN where missing, categories as they are."""
    if isinstance(values, (pa.ChunkedArray, pa.Array)):
        if kind == "numeric":
            return values.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
        return np.asarray(values.to_numpy(zero_copy_only=False))
    return np.asarray(values)


def block_of(times: np.ndarray | None, rows: int) -> np.ndarray:
    """The number of each row's block, from 0 in order of time."""
    if times is None:
        return np.zeros(rows, np.int64)
    times = np.asarray(times)
    days = times.astype("datetime64[D]") if times.dtype.kind == "M" else times
    return np.unique(days, return_inverse=True)[1].astype(np.int64)
