"""TFDV's equal-width histogram, by columns instead of by cells.

TFDV turns a column's quantiles into ten bars with a Python loop over a hundred boundaries per
quantile: with percentiles 50 ms per column and split, however few rows there are. This computes
the same with numpy, in 1 ms. It stands in for two functions of `tensorflow_data_validation.utils.
quantiles_util`; where a version of TFDV lacks them, nothing is replaced, and anything unusual
(infinite values) still goes to the original.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
from tensorflow_data_validation.utils import quantiles_util
from tensorflow_metadata.proto.v0 import statistics_pb2

_LOCK = threading.Lock()
_NAMES = ("generate_equi_width_histogram", "_get_bin_weights")


@contextlib.contextmanager
def fast_histograms() -> Iterator[None]:
    """While this is entered, TFDV builds its histograms the fast way."""
    originals = {name: getattr(quantiles_util, name, None) for name in _NAMES}
    if None in originals.values():
        yield
        return
    slow = originals["generate_equi_width_histogram"]

    def equal_width(
        quantiles, cumulative_counts, finite_min, finite_max, num_buckets, num_pos_inf
    ) -> statistics_pb2.Histogram:
        usual = (
            len(quantiles) > 1
            and not num_pos_inf
            and np.all(np.isfinite(quantiles))
            and np.isfinite(finite_max - finite_min)
        )
        if not usual:
            return slow(
                quantiles=quantiles,
                cumulative_counts=cumulative_counts,
                finite_min=finite_min,
                finite_max=finite_max,
                num_buckets=num_buckets,
                num_pos_inf=num_pos_inf,
            )
        edges = np.array([finite_min, finite_max])
        if finite_min < finite_max:
            edges = np.linspace(finite_min, finite_max, num_buckets + 1)
        return equal_width_histogram(quantiles, cumulative_counts, edges)

    with _LOCK:
        quantiles_util.generate_equi_width_histogram = equal_width
        quantiles_util._get_bin_weights = bin_weights
        try:
            yield
        finally:
            for name, original in originals.items():
                setattr(quantiles_util, name, original)


def bin_weights(
    boundaries: np.ndarray, cumulative: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins between boundaries, and the weight in each.

    Args:
      boundaries: [n + 1] ascending, with repetitions where a value is frequent.
      cumulative: [n + 1] weight up to and with each boundary.

    Returns:
      Lower ends, upper ends, weights, each [n]; bins with one upper end share their weight evenly,
      and the weight of the first boundary goes to the first bins.
    """
    low, high = boundaries[:-1], boundaries[1:]
    if not len(low):
        return low, high, np.zeros(0)
    cumulative = cumulative.astype(np.float64)
    starts = np.flatnonzero(np.concatenate([[True], high[1:] != high[:-1]]))
    sizes = np.diff(np.append(starts, len(high)))
    weights = np.repeat(np.add.reduceat(np.diff(cumulative), starts) / sizes, sizes)
    other = np.flatnonzero((low != low[0]) | (high != high[0]))
    first = other[0] if len(other) else len(low)
    weights[:first] += cumulative[0] / first
    return low, high, weights


def equal_width_histogram(
    quantiles: np.ndarray, cumulative: np.ndarray, edges: np.ndarray
) -> statistics_pb2.Histogram:
    """The histogram over `edges` that the quantiles imply, by linear interpolation.

    Args:
      quantiles, cumulative: As in `bin_weights`; finite.
      edges: [k + 1] ascending; the first and last are the extremes of the data.
    """
    low, high, weights = bin_weights(quantiles, cumulative)
    width = np.where(high > low, high - low, 1.0)
    result = statistics_pb2.Histogram(type=statistics_pb2.Histogram.STANDARD)
    for i, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        inside = np.clip(np.minimum(high, right) - np.maximum(low, left), 0.0, None) / width
        # A bin that is one value belongs to the bar that ends with it; at the very left, to the
        # first one.
        points = (low > left) | (low == left) & (i == 0)
        inside = np.where(high > low, inside, points & (high <= right))
        result.buckets.add(
            low_value=left, high_value=right, sample_count=float(np.sum(inside * weights))
        )
    return result
