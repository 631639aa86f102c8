"""A column as its distinct values and how often each occurs: what exact distances are made of.

Most columns of a table have far fewer values than rows, so one pass with a hash table and a sort of
the distinct values is all that exact quantiles, KS and Wasserstein need.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pyarrow as pa

from models import feeds
from monitoring import summaries


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Values of a numeric column.

    Attributes:
      values: float64, increasing, without NaN; infinities are among them.
      counts: Rows of each.
      missing: Rows without a value, null or NaN.
    """

    values: np.ndarray
    counts: np.ndarray
    missing: int

    @classmethod
    def of(cls, column: pa.Array, name: str) -> Numbers:
        """Counts a column of numbers, or of text that reads as numbers."""
        values, counts, missing = _counted(column)
        if pa.types.is_string(values.type) or pa.types.is_null(values.type):
            numbers = feeds.to_float(values, name).astype(np.float64)
        else:
            numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        order = np.argsort(numbers, kind="stable")
        numbers, counts = numbers[order], counts[order]
        known = len(numbers) - int(np.isnan(numbers).sum())
        return cls(numbers[:known], counts[:known], missing + int(counts[known:].sum()))

    def finite(self) -> Numbers:
        """The same without infinities."""
        kept = np.isfinite(self.values)
        return Numbers(self.values[kept], self.counts[kept], self.missing)

    @property
    def rows(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    def quantiles(self, shares: np.ndarray) -> np.ndarray:
        """The least values that these shares of the rows do not exceed."""
        wanted = np.maximum(np.ceil(shares * self.rows - 1e-9), 1)
        return self.values[np.searchsorted(np.cumsum(self.counts), wanted)]

    def median(self) -> float | None:
        """Of the rows, the mean of the middle two where they are even; None without any."""
        if not self.rows:
            return None
        middle = np.array([(self.rows - 1) // 2, self.rows // 2])
        return float(self.values[np.searchsorted(np.cumsum(self.counts), middle, "right")].mean())

    def binned(self, edges: tuple[float, ...]) -> summaries.Binned:
        """Counts in bins."""
        places = np.searchsorted(np.asarray(edges), self.values, side="left")
        counts = np.bincount(places, weights=self.counts, minlength=len(edges) + 1)
        return summaries.Binned(edges, tuple(counts.tolist()), float(self.missing), self.median())

    def edges(self, bins: int) -> tuple[float, ...]:
        """Edges of quantile bins, as `summaries.edges_from_values` makes them from rows."""
        finite = self.finite()
        if not finite.rows:
            return ()
        found = np.unique(finite.quantiles(np.arange(1, bins + 1) / bins))
        return (math.nextafter(float(finite.values[0]), -math.inf), *found.tolist())


def distances(p: Numbers, q: Numbers) -> tuple[float, float, float] | None:
    """KS distance, its p-value and the Wasserstein distance; None where a side has no number.

    Equal to `scipy.stats.ks_2samp` (method `asymp`) and `wasserstein_distance` of the rows.
    """
    from scipy import stats

    p, q = p.finite(), q.finite()
    n, m = p.rows, q.rows
    if not n or not m:
        return None
    every = np.union1d(p.values, q.values)
    below = [
        np.append(0, np.cumsum(side.counts))[np.searchsorted(side.values, every, "right")] / rows
        for side, rows in ((p, n), (q, m))
    ]
    apart = np.abs(below[0] - below[1])
    ks = float(apart.max())
    p_value = float(np.clip(stats.kstwo.sf(ks, np.round(n * m / (n + m))), 0.0, 1.0))
    return ks, p_value, float(np.sum(apart[:-1] * np.diff(every)))


def texts(column: pa.Array) -> tuple[dict[str, float], int]:
    """Rows per value as text, and rows without one (null, NaN or '')."""
    values, counts, missing = _counted(column)
    found: dict[str, float] = {}
    for name, rows in zip(feeds.to_text(values), counts.tolist(), strict=True):
        if name is None or name == "":
            missing += rows
        else:
            found[name] = found.get(name, 0.0) + rows
    return found, missing


def _counted(column: pa.Array) -> tuple[pa.Array, np.ndarray, int]:
    """Distinct values, rows of each, and rows that are null."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    found = column.drop_null().value_counts()
    return found.field("values"), found.field("counts").to_numpy(), column.null_count
