"""The smallest change the monitor could see, so that silence is not taken for health."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from monitoring import drift
from monitoring.decisions import laws
from monitoring.decisions.blocks import Column
from monitoring.decisions.thresholds import Threshold, Thresholds

_LARGEST_SHIFT = 10.0


def detectable(threshold: Threshold, n: int, power: float) -> float:
    """True change of a statistic that would be found with this probability in n rows.

    For independent rows by their law; a limit made from resampled days already holds the
    spread of days, so a change as large as the limit adds to it: found about every second time
    at the limit, nearly always at twice it, and 1.5 times it is said here.
    """
    if threshold.law == "fixed":
        return threshold.critical
    limit, m = threshold.limit(n), max(threshold.rows, 1)
    if threshold.law == "days":
        return 1.5 * limit
    if threshold.law == "chi-square":
        return laws.detectable_psi(limit, threshold.cells, n, m, power)
    if threshold.law == "ks":
        return laws.detectable_ks(limit, n, m, power)
    if threshold.law == "proportion":
        return laws.detectable_rate(limit, threshold.reference, n, m, power)
    return limit + laws.mean_limit(2 * (1 - power), threshold.spread, n, m)


def detectable_all(
    thresholds: Thresholds,
    n: int,
    power: float,
    values: Mapping[str, np.ndarray] | None = None,
    columns: Mapping[str, Column] | None = None,
) -> Thresholds:
    """The same thresholds with, per feature, the smallest visible change of each statistic.

    Args:
      thresholds: Learnt.
      n: Rows of a window.
      power: Probability of being found.
      values: Numeric features' reference rows: then `shift`, in standard deviations, is there.
      columns: How these are counted.
    """
    found: dict[str, dict[str, float]] = {}
    for (feature, statistic), threshold in thresholds.items.items():
        found.setdefault(feature, {})[statistic] = detectable(threshold, n, power)
    for feature, rows in (values or {}).items():
        if columns and feature in columns and feature in found:
            shift = smallest_shift(rows, columns[feature], found[feature])
            found[feature]["shift"] = shift
    return dataclasses.replace(thresholds, detectable=found)


def smallest_shift(values: np.ndarray, column: Column, visible: Mapping[str, float]) -> float:
    """Standard deviations by which all values must move to be seen; inf when not even ten do.

    Numbers that come in steps are not moved by less than one: a hair's breadth would put all rows
    that lie on an edge into the next bin.

    Args:
      values: The reference's rows, NaN where missing.
      column: Numeric.
      visible: Statistic to its smallest visible value.
    """
    spread = float(np.nanstd(values))
    if not spread > 0:
        return float("inf")
    before = np.bincount(column.codes(values), minlength=column.cells).astype(float)

    def seen(shift: float) -> bool:
        now = np.bincount(column.codes(values + shift * spread), minlength=column.cells)
        p, q = drift.pooled(before, now.astype(float))
        p, q = p / p.sum(), q / q.sum()
        # What Pearson's test sees; PSI makes more of cells that empty.
        apart = float(np.sum((q - p) ** 2 / np.maximum((p + q) / 2, 1e-12)))
        return bool(
            apart >= visible.get("psi", np.inf)
            or drift.ks(before[:-1], now[:-1].astype(float)) >= visible.get("ks", np.inf)
        )

    if not seen(_LARGEST_SHIFT):
        return float("inf")
    steps = np.diff(np.unique(values[np.isfinite(values)]))
    low, high = float(np.median(steps)) / spread if len(steps) else 0.0, _LARGEST_SHIFT
    if seen(low):
        return low
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
