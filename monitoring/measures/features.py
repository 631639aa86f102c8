"""One feature at a time: how a window's counts differ from those of a reference.

Beside `psi`, `jsd`, `linf` and `ks` (formulas and sources in `monitoring/drift.py`):

  wasserstein  integral |P(x) - Q(x)| dx in the feature's own unit: how far values would have to
               be moved, on average (Kantorovich 1942; as scipy.stats.wasserstein_distance).
               From the counts at the fine edges: exact where the reference has few values
               and no others come, else off by less than the rows of a cell times its width.
  chi_square   sum (o - e)^2 / e over values, missing apart, cells expected below five pooled
               (Pearson 1900; as scipy.stats.chi2_contingency without correction).

`psi`, `ks`, `missing_rate`, `new_category_rate`, `nonzero_rate` and `nonzero_mean` are those that
thresholds are learnt for (`monitoring/decisions`), by the same functions.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from monitoring import drift
from monitoring.counting import Counts, Numbers, Values
from monitoring.decisions import statistics
from monitoring.decisions.blocks import MOSTLY_ZERO, Column
from monitoring.measure import Against, Measure
from monitoring.window_summary import WindowSummary

#: With no more fine edges than this, the edges are the values themselves.
FEW_VALUES = 40


def measure(
    reference: WindowSummary,
    current: WindowSummary,
    *,
    against: Against = "training",
    slice: str = "",
    window_id: str = "",
) -> list[Measure]:
    """All features, and predictions where both sides have them.

    Raises:
      ValueError: The two were counted in different cells.
    """
    found = []
    for name, counts in current.features.items():
        before = reference.features.get(name)
        if before is None or not before.rows or not counts.rows:
            continue
        for one in compare(name, before, counts):
            found.append(
                dataclasses.replace(one, against=against, slice=slice, window_id=window_id)
            )
    return found


def compare(name: str, reference: Counts, current: Counts) -> list[Measure]:
    """One feature: distances and rates, with their direction and size in words."""
    if reference.cells != current.cells:
        raise ValueError(f"{name}: the two sides were counted in different cells")
    n, m = int(current.rows), int(reference.rows)

    def made(
        statistic: str, value: float, p_value: float | None = None, words: str = ""
    ) -> Measure:
        return Measure(name, statistic, float(value), n, m, words=words or said, p_value=p_value)

    if isinstance(current, Numbers) and isinstance(reference, Numbers):
        compared = drift.compare(name, reference.binned(), current.binned())
        said = compared.words
        found = _deciding(name, reference, current, said)
        found.append(made("jsd", compared.jsd))
        found.append(made("wasserstein", wasserstein(reference, current)))
        present = max(current.rows - current.missing, 1.0)
        outside = (current.counts[0] + current.counts[-1]) / present
        found.append(dataclasses.replace(made("out_of_range_rate", outside), family="quality"))
    elif isinstance(current, Values) and isinstance(reference, Values):
        compared = drift.compare(name, reference.categories(), current.categories())
        said = compared.words
        found = _deciding(name, reference, current, said)
        found += [made("jsd", compared.jsd), made("linf", compared.linf)]
        statistic, p_value = chi_square(_cells(reference), _cells(current))
        found.append(made("chi_square", statistic, p_value))
    else:
        raise ValueError(f"{name}: numbers cannot be compared with categories")
    wrong = current.unreadable / max(current.rows, 1.0)
    found.append(
        dataclasses.replace(
            made("type_error_rate", wrong, words=f"{name}: {wrong:.1%} cannot be read"),
            family="quality",
        )
    )
    return found


def column_of(name: str, reference: Counts) -> Column:
    """The feature as `monitoring/decisions` sees it."""
    if isinstance(reference, Values):
        return Column(
            name, "categorical", values=reference.cells.names, complete=reference.cells.complete
        )
    mostly_zero = reference.finite > 0 and reference.zeros / reference.finite > MOSTLY_ZERO
    return Column(name, "numeric", edges=reference.cells.coarse_edges, mostly_zero=mostly_zero)


def cells_of(counts: Counts) -> np.ndarray:
    """Rows per cell: bins or values, those beyond the reference, and missing last."""
    if isinstance(counts, Values):
        return _cells(counts)
    binned = counts.binned()
    return np.array((*binned.counts, binned.missing), float)


def wasserstein(reference: Numbers, current: Numbers) -> float:
    """The Wasserstein distance of two counts in the same fine cells; NaN without numbers."""
    n, m = reference.counts.sum(), current.counts.sum()
    edges = np.asarray(reference.cells.edges, float)
    if not n or not m or not len(edges):
        return float("nan")
    difference = (np.cumsum(reference.counts) / n - np.cumsum(current.counts) / m)[:-1]
    apart, gaps = np.abs(difference), np.diff(edges)
    if len(edges) <= FEW_VALUES:  # all rows of a cell have its edge's value
        inner = float(np.sum(apart[:-1] * gaps))
    else:  # between two edges the difference is taken as a line, which may cross zero
        left, right = apart[:-1], apart[1:]
        total = np.maximum(left + right, 1e-300)
        crossing = difference[:-1] * difference[1:] < 0
        area = np.where(crossing, (left**2 + right**2) / (2 * total), total / 2)
        inner = float(np.sum(area * gaps))
    # What lies beyond the range is taken as spread evenly up to the outermost value.
    low = min(reference.low, current.low, edges[0])
    high = max(reference.high, current.high, edges[-1])
    beyond = apart[0] * (edges[0] - low) + apart[-1] * (high - edges[-1])
    return inner + float(beyond) / 2.0


def chi_square(reference: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Pearson's statistic of two count vectors, and its p-value; cells are pooled first."""
    p, q = drift.pooled(reference, current)
    either = p + q > 0
    p, q = p[either], q[either]
    n, m = p.sum(), q.sum()
    if len(p) < 2 or not n or not m:
        return 0.0, 1.0
    from scipy import special

    statistic = float(np.sum((np.sqrt(m / n) * p - np.sqrt(n / m) * q) ** 2 / (p + q)))
    return statistic, float(special.chdtrc(len(p) - 1, statistic))


def _deciding(name: str, reference: Counts, current: Counts, words: str) -> list[Measure]:
    column = column_of(name, reference)
    nonzero = None
    if isinstance(reference, Numbers) and isinstance(current, Numbers) and column.mostly_zero:
        nonzero = nonzero_of(reference), nonzero_of(current)
    found = statistics.measure(column, cells_of(reference), cells_of(current), nonzero)
    return [dataclasses.replace(one, words=words) for one in found]


def _cells(counts: Values) -> np.ndarray:
    return np.array((*counts.counts, counts.other, counts.missing), float)


def nonzero_of(counts: Numbers) -> np.ndarray:
    """Count, sum and sum of squares of the rows that are not zero."""
    squares = counts.m2 + counts.finite * counts.mean**2
    return np.array([counts.finite - counts.zeros, counts.mean * counts.finite, squares])
