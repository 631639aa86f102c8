"""The measures that decide about data drift, from counts.

The same numbers as `monitoring/drift.py` computes for a report. What differs is where values that
the reference does not hold go: they are counted apart (`new_category_rate`), and stand with the
rare ones in PSI, so that "never seen" is no cell of its own that only one side can fill.
"""

from __future__ import annotations

import numpy as np

from monitoring import drift
from monitoring.decisions import laws
from monitoring.decisions.blocks import Blocks, Column
from monitoring.measure import LABEL, PREDICTION, Measure

#: Statistics whose distance from the reference's own value is judged, not their size; of
#: `new_category_rate` only what is above it, as nobody minds values that did not come.
RATES = (
    "missing_rate",
    "new_category_rate",
    "nonzero_rate",
    "out_of_range_rate",
    "type_error_rate",
    "duplicate_rate",
    "label_rate",
)


def tests(column: Column) -> tuple[str, ...]:
    """The statistics that decide about a feature."""
    if is_binary_outcome(column):
        return ("label_rate", "missing_rate")
    if not column.complete:
        # Its list is of the values that chance made common: in any other rows they are rarer.
        return ("missing_rate",)
    if column.kind == "categorical":
        return ("psi", "missing_rate", "new_category_rate")
    zero = ("nonzero_rate", "nonzero_mean") if column.mostly_zero else ()
    return ("psi", "ks", "missing_rate", *zero)


def is_binary_outcome(column: Column) -> bool:
    """Whether it is a label or prediction of two values: one share says it all."""
    return column.name in (LABEL, PREDICTION) and len(column.values) == 2


def measure(
    column: Column,
    reference: np.ndarray,
    window: np.ndarray,
    nonzero: tuple[np.ndarray, np.ndarray] | None = None,
    window_id: str = "",
    p_values: bool = True,
) -> list[Measure]:
    """One feature of a window against the reference.

    Args:
      column: How both were counted.
      reference, window: Rows per cell.
      nonzero: Count, sum and sum of squares of the non-zero rows, reference and window.
      window_id: Of the window.
      p_values: Whether the laws of chance for independent rows are asked, too.

    Returns:
      The statistics that `tests` names of a complete column, in that order.
    """
    n, m = int(window.sum()), int(reference.sum())

    def made(statistic: str, value: float, law=None, *context: float) -> Measure:
        p_value = law(value, *context) if law is not None and p_values else None
        return Measure(
            column.name,
            statistic,
            float(value),
            n,
            m,
            window_id=window_id,
            words=f"{column.name}: {statistic} {value:.4g}",
            family="quality" if statistic in RATES else "distance",
            against="training",
            p_value=p_value,
        )

    if is_binary_outcome(column):
        rare, usual = window[1] / max(n, 1), reference[1] / max(m, 1)
        missing, before = window[-1] / max(n, 1), reference[-1] / max(m, 1)
        return [
            made("label_rate", rare, laws.proportion_p_value, n, usual, m),
            made("missing_rate", missing, laws.proportion_p_value, n, before, m),
        ]
    cells = drift.pooled(*_with_the_rare(reference, window, column.kind == "categorical"))
    found = [made("psi", drift.psi(*cells), lambda _: drift.chance(*cells, 0.001)[0])]
    if column.kind == "numeric":
        present_n, present_m = window[:-1].sum(), reference[:-1].sum()
        distance = drift.ks(reference[:-1], window[:-1])
        found.append(made("ks", distance, laws.ks_p_value, present_n, present_m))
    missing, before = window[-1] / max(n, 1), reference[-1] / max(m, 1)
    found.append(made("missing_rate", missing, laws.proportion_p_value, n, before, m))
    if column.kind == "categorical":
        new = window[:-1][reference[:-1] == 0].sum() / max(n, 1)
        once = unseen_rate(reference)
        found.append(made("new_category_rate", new, laws.proportion_p_value, n, once, m))
    elif column.mostly_zero and nonzero is not None:
        (y, _, _), (x, total, _) = nonzero
        rate = x / max(n, 1)
        found.append(made("nonzero_rate", rate, laws.proportion_p_value, n, y / max(m, 1), m))
        found.append(made("nonzero_mean", total / x if x else float("nan")))
    return found


def measure_all(
    reference: Blocks, window: Blocks, window_id: str = "", p_values: bool = True
) -> list[Measure]:
    """Every feature of a window against the reference, both counted by the same columns."""
    found = []
    for column in reference.columns:
        name = column.name
        nonzero = None
        if name in reference.nonzero:
            nonzero = reference.nonzero[name].sum(axis=0), window.nonzero[name].sum(axis=0)
        p, q = reference.counts[name].sum(axis=0), window.counts[name].sum(axis=0)
        found += measure(column, p, q, nonzero, window_id, p_values)
    return found


def unseen_rate(reference: np.ndarray) -> float:
    """Share of rows whose value would be new to the rest: those seen once.

    Good's estimate (The Population Frequencies of Species, 1953) of what a next row brings.
    """
    return float((reference[:-1] == 1).sum() / max(reference.sum(), 1.0))


def reference_value(
    column: Column, statistic: str, counts: np.ndarray, nonzero: np.ndarray | None
) -> float:
    """What the reference's own rows have of a statistic that is judged by its change."""
    m = max(counts.sum(), 1.0)
    if statistic == "missing_rate":
        return float(counts[-1] / m)
    if statistic == "new_category_rate":
        return unseen_rate(counts)
    if statistic == "label_rate":
        return float(counts[1] / m)
    if nonzero is not None and statistic == "nonzero_rate":
        return float(nonzero[0] / m)
    if nonzero is not None and statistic == "nonzero_mean":
        return float(nonzero[1] / max(nonzero[0], 1.0))
    return 0.0


def _with_the_rare(
    p: np.ndarray, q: np.ndarray, categorical: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Values the reference does not hold, put together with those it hardly holds."""
    if not categorical:
        return p, q
    n, m = p.sum(), q.sum()
    expected = min(n, m) * (p + q) / max(n + m, 1.0)
    rare = (expected < drift.MIN_EXPECTED) | (p == 0)
    rare[-1] = False
    if not rare.any():
        return p, q
    return np.append(p[~rare], p[rare].sum()), np.append(q[~rare], q[rare].sum())
