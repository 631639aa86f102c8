"""Small summaries of one feature, made from rows or from a pipeline's statistics.

Both sides of a comparison are counted in the same cells, fixed by the reference. From
rows the counts are exact. From statistics (TFDV's FeatureStats, which hold a histogram of
quantiles and no rows) they are as good as this:

- Values: exact, where the rank histogram lists every value (it does in this product's
  statistics; what a shorter one leaves out is counted as `other`).
- Numbers, reference side: its bins end at its own quantiles, where the cumulative count
  is known, so a count is off by no more than the quantile sketch is.
- Numbers, current side: the cumulative count is interpolated linearly between the current side's
  own quantiles, so at an edge it is off by less than the histogram bucket the edge falls
  into: 1/Q of the rows for Q quantiles, and the share of a bin by less than 2/Q (2 % for the
  usual 100), plus the sketch. It is exact at repeated values, because these are quantiles
  themselves. What lies beyond the reference's range is counted only where it is
  certain (at least 0, at most one bucket too few): one outlier stretches the last bucket so
  far that interpolation would see a hundredth of all rows out there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

BINS = 10
#: Values listed one by one; a reference with more has the rest as one.
MOST_VALUES = 5000
QUANTILES = 1  # tensorflow_metadata's Histogram.QUANTILES
LARGEST = 1e300  # stands for infinity, so that differences stay finite


@dataclasses.dataclass(frozen=True)
class Binned:
    """Numbers, counted in bins that are open to the left and closed to the right.

    Attributes:
      edges: Increasing. The first lies just below the reference's least value and the last is
        its largest, so the two outer bins hold what lies beyond the reference's range.
      counts: Rows in (-inf, e0], (e0, e1], .. (ek, inf): one more than the edges. Need not be
        whole when they come from statistics.
      missing: Rows without a number.
      median: Of the numbers, for words; None when unknown.
    """

    edges: tuple[float, ...]
    counts: tuple[float, ...]
    missing: float = 0.0
    median: float | None = None

    @property
    def rows(self) -> float:
        return sum(self.counts) + self.missing


@dataclasses.dataclass(frozen=True)
class Categories:
    """Values, counted.

    Attributes:
      counts: Rows per value.
      missing: Rows without a value.
      other: Rows of values that were not counted one by one.
    """

    counts: Mapping[str, float]
    missing: float = 0.0
    other: float = 0.0

    @property
    def rows(self) -> float:
        return sum(self.counts.values()) + self.missing + self.other


Summary = Binned | Categories


def edges_from_values(values: np.ndarray, bins: int = BINS) -> tuple[float, ...]:
    """Bin edges of a reference given as rows: its quantiles, repeated ones once.

    Returns:
      At most bins + 1 increasing edges (see `Binned`); empty when there is no number.
    """
    values = _reals(values)
    values = values[np.isfinite(values)]
    if not len(values):
        return ()
    quantiles = np.quantile(values, np.arange(1, bins + 1) / bins, method="inverted_cdf")
    return (_just_below(values.min()), *(float(edge) for edge in np.unique(quantiles)))


def bin_values(values: np.ndarray, edges: tuple[float, ...]) -> Binned:
    """Counts rows in given bins.

    Args:
      values: Numbers, shape [rows]; NaN is missing. Reals are compared as float32, the
        precision of tf.Example, so that an edge holds the rows it was made of.
      edges: As in `Binned`.
    """
    values = _reals(values)
    present = values[~np.isnan(values)]
    bounds = np.asarray(edges, float)
    if values.dtype == np.float32 and len(bounds):
        bounds = bounds.astype(np.float32)
        bounds[0] = np.nextafter(bounds[0], np.float32(-np.inf))
    counts = np.bincount(np.searchsorted(bounds, present, side="left"), minlength=len(edges) + 1)
    return Binned(
        tuple(edges),
        tuple(float(count) for count in counts),
        float(len(values) - len(present)),
        float(np.median(present)) if len(present) else None,
    )


def count_values(values: np.ndarray) -> Categories:
    """Counts rows per value; None, NaN and '' are missing."""
    values = np.asarray(values, object)
    present = [str(v) for v in values if v is not None and v == v and v != ""]
    names, counts = np.unique(np.asarray(present, str), return_counts=True)
    return Categories(
        dict(zip(names.tolist(), counts.astype(float).tolist(), strict=True)),
        float(len(values) - len(present)),
    )


def _reals(values: np.ndarray) -> np.ndarray:
    """Whole numbers as float64, so that large ones stay exact; reals as float32."""
    values = np.asarray(values)
    return values.astype(np.float32 if values.dtype.kind == "f" else np.float64)


def pair_statistics(
    reference: statistics_pb2.FeatureNameStatistics,
    current: statistics_pb2.FeatureNameStatistics,
    bins: int = BINS,
) -> tuple[Summary, Summary] | None:
    """Counts two statistics of one feature in the same cells.

    Numbers that take only a few distinct values on both sides become categories.

    Args:
      reference, current: Statistics of one feature, with its quantile histogram (numbers)
        or rank histogram (values).
      bins: Wanted bins within the reference's range.

    Returns:
      The two summaries; None when one side holds numbers and the other values. A side
      without any value has no kind of its own and follows the other.
    """
    sides = (reference, current)
    numbers = [_is_numeric(side) for side in sides if _present(side)]
    if not numbers or not any(numbers):
        return _count_listed(reference), _count_listed(current)
    if not all(numbers):
        return None
    few = [_few_values(side, bins) for side in sides]
    if all(few) and few[0].unsure <= few[1].counts.keys() and few[1].unsure <= few[0].counts.keys():
        before, now = (
            Categories(found.counts, _missing(side)) for found, side in zip(few, sides, strict=True)
        )
        return before, now
    edges = edges_from_statistics(reference, bins)
    return bin_statistics(reference, edges), bin_statistics(current, edges)


def edges_from_statistics(
    stats: statistics_pb2.FeatureNameStatistics, bins: int = BINS
) -> tuple[float, ...]:
    """Bin edges of a reference given as statistics; see `edges_from_values`."""
    values, cumulative, _ = _quantiles(stats)
    finite = np.isfinite(values)
    values, cumulative = values[finite], cumulative[finite]
    if not len(values):
        return ()
    if len(values) > bins:
        wanted = cumulative[-1] * np.arange(1, bins + 1) / bins
        # The sum of the buckets misses the count by rounding, hence the slack.
        picks = np.searchsorted(cumulative, wanted * (1 - 1e-9), side="left")
        values = values[np.unique(picks)]
    low = max(float(stats.num_stats.min), -LARGEST)
    return (_just_below(low), *(float(value) for value in values))


def bin_statistics(stats: statistics_pb2.FeatureNameStatistics, edges: tuple[float, ...]) -> Binned:
    """Counts statistics in given bins; the module says how exactly.

    Args:
      stats: Statistics of one feature.
      edges: As in `Binned`.
    """
    values, cumulative, before = _quantiles(stats)
    missing = _missing(stats)
    if not len(values) or not edges:
        total = cumulative[-1] if len(values) else 0.0
        counts = (0.0,) * len(edges) + (float(total),)
        return Binned(tuple(edges), counts, missing)
    total = cumulative[-1]
    low = float(np.clip(stats.num_stats.min, -LARGEST, LARGEST))
    values = np.clip(values, -LARGEST, LARGEST)
    # Points (x, rows at or below x): both ends of the step at each quantile, and the start.
    # At least one row has the least value, and one the largest.
    before = np.append(before[:-1], min(before[-1], total - min(total, 1.0)))
    steps = np.nextafter(values, -np.inf)
    x = np.concatenate([np.column_stack([steps, values]).ravel(), [_just_below(low), low]])
    y = np.concatenate([np.column_stack([before, cumulative]).ravel(), [0.0, min(total, 1.0)]])
    x, order = np.unique(x, return_index=True)
    y = np.maximum.accumulate(y[order])
    bounds = np.asarray(edges)
    # Beyond the range only what is certain: `before` is TFDV's estimate and must not be used.
    known = np.searchsorted(values, bounds[0], side="right")
    below = cumulative[known - 1] if known else (min(total, 1.0) if low <= bounds[0] else 0.0)
    last = np.searchsorted(values, bounds[-1], side="left")
    at_most = cumulative[last] if last < len(values) else total
    if last == len(values) - 1 and values[last] > bounds[-1]:
        at_most = total - min(total, 1.0)
    inner = np.clip(np.interp(bounds, x, y, left=0.0, right=total), below, at_most)
    inner[0], inner[-1] = below, at_most
    counts = np.diff(np.concatenate([[0.0], np.maximum.accumulate(inner), [total]]))
    return Binned(
        tuple(edges),
        tuple(float(count) for count in counts),
        missing,
        float(stats.num_stats.median),
    )


def _quantiles(
    stats: statistics_pb2.FeatureNameStatistics,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct quantiles, the rows at or below each, and the rows below each.

    TFDV spreads the rows of buckets that end at one value evenly over them; the first of those
    buckets holds what lies between the previous quantile and the value, the others the value.
    """
    for histogram in stats.num_stats.histograms:
        if histogram.type == QUANTILES and histogram.buckets:
            break
    else:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    low = np.array([bucket.low_value for bucket in histogram.buckets])
    high = np.array([bucket.high_value for bucket in histogram.buckets])
    counts = np.array([bucket.sample_count for bucket in histogram.buckets])
    cumulative = np.cumsum(counts)
    last = np.append(high[1:] != high[:-1], True)
    first = np.concatenate([[True], high[1:] != high[:-1]])
    spread = np.where(low[first] < high[first], counts[first], 0.0)
    repeated = np.append(np.flatnonzero(first)[1:], len(high)) - np.flatnonzero(first) > 1
    start = cumulative[first] - counts[first]
    before = np.where(repeated | (low[first] == high[first]), start + spread, cumulative[last])
    return high[last], cumulative[last], before


class _Few(NamedTuple):
    """Rows per value, and the values that may be the end of a range instead."""

    counts: dict[str, float]
    unsure: set[str]


def _few_values(stats: statistics_pb2.FeatureNameStatistics, most: int) -> _Few | None:
    """Rows per value of numbers that take only a few; None when they do not.

    Few distinct quantiles are not enough: nine tenths zeros and a continuous rest has few
    too. So every quantile but the outermost must be a value that is repeated, and the
    outermost, if they are not, are left to the other side to confirm.
    """
    values, cumulative, before = _quantiles(stats)
    if len(values) > most or (len(values) > 1 and stats.num_stats.min != values[0]):
        return None
    repeated = before < cumulative
    if not repeated[1:-1].all():
        return None
    names = [f"{int(v)}" if np.isfinite(v) and v == int(v) else f"{v:.7g}" for v in values]
    counts = np.diff(cumulative, prepend=0.0).tolist()
    unsure = {name for name, sure in zip(names, repeated, strict=True) if not sure}
    return _Few(dict(zip(names, counts, strict=True)), unsure)


def _count_listed(stats: statistics_pb2.FeatureNameStatistics) -> Categories:
    counts = {
        bucket.label: float(bucket.sample_count)
        for bucket in stats.string_stats.rank_histogram.buckets
    }
    common = stats.string_stats.common_stats
    other = max(common.tot_num_values - sum(counts.values()), 0.0)
    return Categories(counts, _missing(stats), float(other))


def _just_below(value: float) -> float:
    return float(np.nextafter(float(value), -np.inf))


def _common(stats: statistics_pb2.FeatureNameStatistics) -> Any:
    side = getattr(stats, stats.WhichOneof("stats") or "num_stats")
    return side.common_stats


def _present(stats: statistics_pb2.FeatureNameStatistics) -> bool:
    return _common(stats).num_non_missing > 0


def _missing(stats: statistics_pb2.FeatureNameStatistics) -> float:
    common = _common(stats)
    nan = max((histogram.num_nan for histogram in stats.num_stats.histograms), default=0)
    return float(common.num_missing + nan)


def _is_numeric(stats: statistics_pb2.FeatureNameStatistics) -> bool:
    return stats.WhichOneof("stats") == "num_stats"
