"""How the values of a feature are counted: cells fixed by the reference, counts that add up.

A `NumericCells` has fine quantile edges of the reference (for KS and Wasserstein) and, among
them, the coarse ones (for PSI and JSD); the two outer cells are open, and hold what lies beyond
the reference's range. A `CategoryCells` has the reference's values. `Numbers` and `Values` are
counts in such cells. Counts of two sets of rows are merged by adding, so days become weeks
without their rows. What no fixed cell can tell is kept in sketches from Apache DataSketches:
quantiles (KLL, Karnin, Lang and Liberty 2016; rank error about 1.3 %) and the commonest of the
values that the reference does not have (frequent items, Anderson et al. 2017).
"""

from __future__ import annotations

import base64
import dataclasses
import functools
from typing import Any

import datasketches
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring.summaries import MOST_VALUES, Binned, Categories, edges_from_values

FINE = 20
_SKETCH_K = 200
_FREQUENT_LG_K = 8


@dataclasses.dataclass(frozen=True)
class NumericCells:
    """Edges as in `summaries.Binned`.

    Attributes:
      edges: Fine, increasing, of float32 precision where `single` is set.
      coarse: Positions of the coarse edges among them, increasing.
      single: Values are compared as float32, the precision of tf.Example.
    """

    edges: tuple[float, ...]
    coarse: tuple[int, ...]
    single: bool = True

    @classmethod
    def of(cls, values: np.ndarray, bins: int, single: bool = True) -> NumericCells:
        """Cells from the reference's values, shape `[rows]`; NaN is missing."""
        values = as_precision(values, single)
        fine = edges_from_values(values, bins * FINE)
        coarse = edges_from_values(values, bins)
        return cls(fine, nearest(fine, coarse), single)

    @functools.cached_property
    def bounds(self) -> np.ndarray:
        bounds = np.asarray(self.edges, np.float64)
        if self.single and len(bounds):
            bounds = bounds.astype(np.float32)
            bounds[0] = np.nextafter(bounds[0], np.float32(-np.inf))
        return bounds

    @property
    def coarse_edges(self) -> tuple[float, ...]:
        return tuple(self.edges[i] for i in self.coarse)


@dataclasses.dataclass(frozen=True)
class CategoryCells:
    """Values of the reference.

    Attributes:
      names: Commonest first.
      complete: Whether these are all the values it has; a value that is not among them is
        new then.
    """

    names: tuple[str, ...]
    complete: bool = True

    @classmethod
    def of(cls, counts: dict[str, float]) -> CategoryCells:
        names = sorted(counts, key=lambda name: (-counts[name], name))
        return cls(tuple(names[:MOST_VALUES]), len(names) <= MOST_VALUES)

    @functools.cached_property
    def lookup(self) -> pa.Array:
        return pa.array(self.names, pa.string())


Cells = NumericCells | CategoryCells


def as_precision(values: np.ndarray, single: bool) -> np.ndarray:
    return np.asarray(values, np.float64).astype(np.float32) if single else np.asarray(values)


def nearest(edges: tuple[float, ...], wanted: tuple[float, ...]) -> tuple[int, ...]:
    """Positions in increasing `edges` of the ones nearest to `wanted`, each once."""
    if not edges:
        return ()
    line = np.asarray(edges)
    right = np.clip(np.searchsorted(line, wanted), 1, max(len(line) - 1, 1))
    right = np.minimum(right, len(line) - 1)
    left = np.maximum(right - 1, 0)
    wanted_line = np.asarray(wanted, float)
    closer = np.abs(line[left] - wanted_line) <= np.abs(line[right] - wanted_line)
    picked = np.unique(np.where(closer, left, right))
    return tuple(int(i) for i in np.union1d(picked, [0, len(line) - 1]))


class Numbers:
    """Counts of a numeric feature.

    Attributes:
      cells: Where they are counted.
      counts: float64 `[edges + 1]`.
      missing, unreadable, infinite, zeros: Rows; unreadable ones are among the missing.
      finite, mean, m2: Of the finite values: rows, mean, sum of squared deviations.
      low, high: Least and largest finite value; inf and -inf while there is none.
      known_median: Used where there is no sketch (training statistics).
    """

    def __init__(self, cells: NumericCells):
        self.cells = cells
        self.counts = np.zeros(len(cells.edges) + 1)
        self.missing = self.unreadable = self.infinite = self.zeros = 0.0
        self.finite = self.mean = self.m2 = 0.0
        self.low, self.high = np.inf, -np.inf
        self.sketch: Any = None
        self.known_median: float | None = None

    @property
    def rows(self) -> float:
        return float(self.counts.sum() + self.missing)

    @property
    def std(self) -> float:
        return float(np.sqrt(self.m2 / self.finite)) if self.finite else 0.0

    @property
    def median(self) -> float | None:
        return self.quantile(0.5)

    def quantile(self, share: float) -> float | None:
        """From the sketch; None when there is none."""
        if self.sketch is None or self.sketch.is_empty():
            return self.known_median if share == 0.5 else None
        return float(self.sketch.get_quantile(share))

    def add(self, column: pa.Array | np.ndarray, unreadable: int = 0) -> Numbers:
        """Counts rows: numbers, NaN or null where missing."""
        if not isinstance(column, np.ndarray):
            column = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        values = np.asarray(column, np.float64)
        present = values[~np.isnan(values)]
        self.missing += len(values) - len(present)
        self.unreadable += unreadable
        where = np.searchsorted(
            self.cells.bounds, as_precision(present, self.cells.single), side="left"
        )
        self.counts += np.bincount(where, minlength=len(self.counts))
        real = present[np.isfinite(present)]
        self.infinite += len(present) - len(real)
        if len(real):
            self.zeros += int(np.count_nonzero(real == 0))
            mean = float(real.mean())
            self._add_moments(len(real), mean, float(((real - mean) ** 2).sum()))
            self.low = min(self.low, float(real.min()))
            self.high = max(self.high, float(real.max()))
            if self.sketch is None:
                self.sketch = datasketches.kll_doubles_sketch(_SKETCH_K)
            self.sketch.update(np.ascontiguousarray(real))
        return self

    def merge(self, other: Numbers) -> Numbers:
        """Adds another's rows.

        Raises:
          ValueError: They were counted in different cells.
        """
        if other.cells != self.cells:
            raise ValueError("counts in different cells do not add up")
        self.counts = self.counts + other.counts
        for name in ("missing", "unreadable", "infinite", "zeros"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._add_moments(other.finite, other.mean, other.m2)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if other.sketch is not None:
            if self.sketch is None:
                self.sketch = datasketches.kll_doubles_sketch(_SKETCH_K)
            self.sketch.merge(other.sketch)
        return self

    def _add_moments(self, rows: float, mean: float, m2: float) -> None:
        """Chan, Golub and LeVeque, 1979: moments of two sets from those of each."""
        total = self.finite + rows
        if not rows:
            return
        delta = mean - self.mean
        self.m2 += m2 + delta**2 * self.finite * rows / total
        self.mean += delta * rows / total
        self.finite = total

    def binned(self) -> Binned:
        """In the coarse cells, as `monitoring.drift` compares them."""
        inner = np.add.reduceat(self.counts, [0, *(i + 1 for i in self.cells.coarse)])
        return Binned(
            self.cells.coarse_edges, tuple(inner.tolist()), float(self.missing), self.median
        )

    def to_dict(self) -> dict[str, Any]:
        names = ("missing", "unreadable", "infinite", "zeros", "finite", "mean", "m2")
        return {
            **{name: float(getattr(self, name)) for name in names},
            "range": [self.low, self.high] if self.finite else None,
            "counts": [int(c) if c == int(c) else c for c in self.counts.tolist()],
            "median": self.known_median,
            "sketch": None if self.sketch is None else as_text(self.sketch.serialize()),
        }

    @classmethod
    def from_dict(cls, cells: NumericCells, data: dict[str, Any]) -> Numbers:
        made = cls(cells)
        for name in ("missing", "unreadable", "infinite", "zeros", "finite", "mean", "m2"):
            setattr(made, name, data[name])
        made.low, made.high = data["range"] or (np.inf, -np.inf)
        made.counts = np.asarray(data["counts"], float)
        made.known_median = data["median"]
        if data["sketch"] is not None:
            made.sketch = datasketches.kll_doubles_sketch.deserialize(from_text(data["sketch"]))
        return made


class Values:
    """Counts of a categorical feature.

    Attributes:
      cells: Where they are counted.
      counts: float64 `[names]`.
      missing, unreadable: Rows; unreadable ones are among the missing.
      other: Rows of values that are not among the names.
    """

    def __init__(self, cells: CategoryCells):
        self.cells = cells
        self.counts = np.zeros(len(cells.names))
        self.missing = self.unreadable = self.other = 0.0
        self.sketch: Any = None

    @property
    def rows(self) -> float:
        return float(self.counts.sum() + self.other + self.missing)

    def add(self, column: pa.Array, unreadable: int = 0) -> Values:
        """Counts rows of text or whole numbers; null is missing."""
        self.unreadable += unreadable
        self.missing += column.null_count
        tally = pc.value_counts(column.drop_null())
        names = tally.field("values").cast(pa.string())
        rows = tally.field("counts").to_numpy(zero_copy_only=False)
        place = pc.index_in(names, self.cells.lookup)
        known = np.asarray(place.is_valid())
        np.add.at(self.counts, place.drop_null().to_numpy(zero_copy_only=False), rows[known])
        for name, count in zip(
            names.filter(pa.array(~known)).to_pylist(), rows[~known], strict=True
        ):
            self._frequent().update(name[:300], int(count))
        self.other += int(rows[~known].sum())
        return self

    def merge(self, other: Values) -> Values:
        """Adds another's rows.

        Raises:
          ValueError: They were counted in different cells.
        """
        if other.cells != self.cells:
            raise ValueError("counts in different cells do not add up")
        self.counts = self.counts + other.counts
        for name in ("missing", "unreadable", "other"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.sketch is not None:
            self._frequent().merge(other.sketch)
        return self

    def commonest_others(self, most: int = 50) -> dict[str, float]:
        """Values that are not among the names, with their rows as far as the sketch knows."""
        if self.sketch is None:
            return {}
        kind = datasketches.frequent_items_error_type.NO_FALSE_NEGATIVES
        found = self.sketch.get_frequent_items(kind)
        return {name: float(rows) for name, rows, *_ in found[:most]}

    def categories(self) -> Categories:
        """As `monitoring.drift` compares them; new values by name as far as known."""
        listed = {n: c for n, c in zip(self.cells.names, self.counts.tolist(), strict=True) if c}
        others = self.commonest_others() if self.cells.complete else {}
        left = max(self.other - sum(others.values()), 0.0)
        return Categories({**listed, **others}, float(self.missing), left)

    def _frequent(self) -> Any:
        if self.sketch is None:
            self.sketch = datasketches.frequent_strings_sketch(_FREQUENT_LG_K)
        return self.sketch

    def to_dict(self) -> dict[str, Any]:
        return {
            "missing": float(self.missing),
            "unreadable": float(self.unreadable),
            "other": float(self.other),
            "counts": [int(c) if c == int(c) else c for c in self.counts.tolist()],
            "sketch": None if self.sketch is None else as_text(self.sketch.serialize()),
        }

    @classmethod
    def from_dict(cls, cells: CategoryCells, data: dict[str, Any]) -> Values:
        made = cls(cells)
        made.missing, made.unreadable = data["missing"], data["unreadable"]
        made.other, made.counts = data["other"], np.asarray(data["counts"], float)
        if data["sketch"] is not None:
            sketch = from_text(data["sketch"])
            made.sketch = datasketches.frequent_strings_sketch.deserialize(sketch)
        return made


Counts = Numbers | Values


def empty(cells: Cells) -> Counts:
    """Counts of no rows."""
    return Numbers(cells) if isinstance(cells, NumericCells) else Values(cells)


def counts_from_dict(cells: Cells, data: dict[str, Any]) -> Counts:
    kind = Numbers if isinstance(cells, NumericCells) else Values
    return kind.from_dict(cells, data)


def as_text(raw: bytes) -> str:
    """Bytes for JSON."""
    return base64.b64encode(raw).decode("ascii")


def from_text(text: str) -> bytes:
    """What `as_text` was given."""
    return base64.b64decode(text)
