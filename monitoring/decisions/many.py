"""The measures that decide, for many windows at once: what learning a threshold takes.

The same numbers as `monitoring/decisions/statistics.py`, a thousand windows in one go.
"""

from __future__ import annotations

import numpy as np

from monitoring import drift
from monitoring.decisions.blocks import Column
from monitoring.decisions.statistics import is_binary_outcome


def changes(
    column: Column,
    reference: np.ndarray,
    windows: np.ndarray,
    nonzero: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """How far each window is from its reference, by every statistic that decides.

    Args:
      column: How rows were counted.
      reference, windows: Rows per cell, shape [windows, cells].
      nonzero: Count, sum and sum of squares of non-zero rows, each of shape [windows, 3].

    Returns:
      Statistic to its value (PSI, KS) or to its distance from the reference's own value (shares,
      means), shape [windows]; NaN where it is not defined. Of new values only more of them.
    """
    n, m = (np.maximum(x.sum(axis=1), 1.0) for x in (windows, reference))
    missing = np.abs(windows[:, -1] / n - reference[:, -1] / m)
    if is_binary_outcome(column):
        rate = np.abs(windows[:, 1] / n - reference[:, 1] / m)
        return {"label_rate": rate, "missing_rate": missing}
    found = {"psi": psi(reference, windows, column.kind == "categorical"), "missing_rate": missing}
    if column.kind == "categorical":
        new = np.where(reference[:, :-1] == 0, windows[:, :-1], 0.0).sum(axis=1) / n
        once = (reference[:, :-1] == 1).sum(axis=1) / m
        return {**found, "new_category_rate": np.maximum(new - once, 0.0)}
    found["ks"] = ks(reference[:, :-1], windows[:, :-1])
    if column.mostly_zero and nonzero is not None:
        before, now = nonzero
        found["nonzero_rate"] = np.abs(now[:, 0] / n - before[:, 0] / m)
        with np.errstate(divide="ignore", invalid="ignore"):
            found["nonzero_mean"] = np.abs(
                now[:, 1] / now[:, 0] - before[:, 1] / np.maximum(before[:, 0], 1.0)
            )
    return found


def ks(reference: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """`drift.ks` of each row."""
    n, m = (np.maximum(x.sum(axis=1, keepdims=True), 1.0) for x in (windows, reference))
    apart = np.abs(np.cumsum(reference, axis=1) / m - np.cumsum(windows, axis=1) / n).max(axis=1)
    either = (windows.sum(axis=1) > 0) & (reference.sum(axis=1) > 0)
    return np.where(either, apart, 0.0)


def psi(reference: np.ndarray, windows: np.ndarray, categorical: bool) -> np.ndarray:
    """PSI of each row over cells that hold enough, as `statistics.measure` pools them."""
    p, q = np.asarray(reference, float), np.asarray(windows, float)
    m, n = p.sum(axis=1, keepdims=True), q.sum(axis=1, keepdims=True)
    # What a cell of the smaller side would hold if both came from one distribution.
    per_row = np.minimum(n, m) / np.maximum(n + m, 1.0)
    used = np.ones(p.shape, bool)
    if categorical:
        rare = (per_row * (p + q) < drift.MIN_EXPECTED) | (p == 0)
        rare[:, -1] = False
        p, q, used = _put_together(p, q, used, rare)
    expected = per_row * (p + q)
    small = used & (expected < drift.MIN_EXPECTED)
    large = used & ~small
    # Too few even together: they join the least of the others.
    few = (np.where(small, expected, 0.0).sum(axis=1) < drift.MIN_EXPECTED) & large.any(axis=1)
    least = np.argmin(np.where(large, expected, np.inf), axis=1)
    p, q, used = _put_together(p, q, used, small)
    rows = np.flatnonzero(few)
    for side in (p, q):
        side[rows, least[rows]] += side[rows, -1]
        side[rows, -1] = 0.0
    either = used & ((p > 0) | (q > 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = np.where(p > 0, p, drift.EMPTY_CELL) / m, np.where(q > 0, q, drift.EMPTY_CELL) / n
        terms = np.where(either, (q - p) * np.log(q / p), 0.0)
    return np.where((n > 0) & (m > 0), terms.sum(axis=1, keepdims=True), 0.0)[:, 0]


def _put_together(
    p: np.ndarray, q: np.ndarray, used: np.ndarray, which: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moves cells into one more cell at the end."""
    moved = [np.append(x * ~which, (x * which).sum(axis=1, keepdims=True), 1) for x in (p, q)]
    return moved[0], moved[1], np.append(used & ~which, which.any(axis=1, keepdims=True), 1)
