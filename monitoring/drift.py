"""How far two distributions of one feature are apart: counts, measures, and words.

A side of a comparison is a small summary, never rows: `Binned` for numbers, `Categories`
for values. `monitoring/summaries.py` makes them, from rows or from a pipeline's statistics.

Measures (p the reference's shares, q the current ones, n and m their rows):

  PSI         sum (q - p) ln(q / p). Population stability index (Siddiqi, Credit Risk
              Scorecards, 2006), which is Jeffreys' divergence (Jeffreys, 1946).
  JSD         H((p + q) / 2) - (H(p) + H(q)) / 2 with H in bits, so 0 .. 1 (Lin, Divergence
              Measures Based on the Shannon Entropy, 1991).
  L-infinity  max |p - q|, the largest change of one value's share (as TFDV's).
  KS          max |P - Q| over the bin edges, P and Q cumulative: a lower bound of the
              two-sample Kolmogorov-Smirnov statistic, which looks between the edges too.

Missing is a value of its own in PSI, JSD and L-infinity, as it is in the models.

Small samples differ by chance. Under "nothing changed" PSI / (1/n + 1/m) follows chi-square
with (cells - 1) degrees of freedom (Yurdakul, Statistical Properties of Population Stability
Index, 2018), so its mean is (cells - 1)(1/n + 1/m) and not 0; `noise` is a level of that law.
The law is for well-filled cells: with some 450 sparse ones it called 4.5 % of unchanged samples
drift at p < .001. So Pearson's two-sample chi-square on the same cells decides (.1 % there).
Drift is two things at once: a size that matters (the thresholds) and more than chance (that
p-value). Cells expected to hold fewer than five rows of the smaller sample are pooled before
PSI and the test (Cochran's rule of five, 1954); a cell that is still empty on one side counts as
half a row in PSI. JSD and L-infinity use every cell. Rows are taken to be independent. Between
statistics of many rows the p-value also sees interpolation error, and the thresholds decide.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from monitoring.summaries import Binned, Categories, Summary, pair_statistics

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

MIN_EXPECTED = 5.0
EMPTY_CELL = 0.5
PLOTTED_VALUES = 20
MISSING, OTHER = "(missing)", "(other)"


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What size of drift matters, and how sure one must be.

    Attributes:
      psi: Of any feature.
      jsd: Of numeric features, bits.
      linf: Of categorical features.
      p_value: Drift that chance alone would show with at least this probability is not drift.
    """

    psi: float = 0.1
    jsd: float = 0.02
    linf: float = 0.1
    p_value: float = 0.001


@dataclasses.dataclass(frozen=True)
class FeatureDrift:
    """How one feature differs from its reference.

    Attributes:
      feature: Column.
      kind: How it was compared.
      psi, jsd, linf: Measures, see the module; jsd in bits.
      ks: Numeric only, else None.
      noise: The PSI that chance alone stays below with probability 1 - thresholds.p_value.
      p_value: Of a difference this large (Pearson's test), if nothing had changed.
      exceeded: Measures above their threshold: `psi`, `jsd`, `linf`.
      drifted: Whether a threshold is exceeded and chance does not explain it.
      words: Direction and size: `fare: median 7.85 → 9.65`.
      thresholds: What it was judged by.
      edges: Numeric only: the bin edges.
      labels: Names of the cells, for a plot; categorical: the commonest values.
      reference, current: Shares of the cells, each adding up to 1.
      rows_reference, rows_current: Rows on either side, missing ones included.
    """

    feature: str
    kind: Literal["numeric", "categorical"]
    psi: float
    jsd: float
    linf: float
    ks: float | None
    noise: float
    p_value: float
    exceeded: tuple[str, ...]
    drifted: bool
    words: str
    thresholds: Thresholds
    edges: tuple[float, ...]
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    rows_reference: float
    rows_current: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers rounded to what a reader can use."""
        return _rounded(dataclasses.asdict(self))


def psi(reference: np.ndarray, current: np.ndarray) -> float:
    """Population stability index of two count vectors over the same cells.

    A cell that is empty on one side counts as half a row there; cells empty on both
    contribute nothing. Without empty cells this is the textbook formula.
    """
    n, m = reference.sum(), current.sum()
    if n <= 0 or m <= 0:
        return 0.0
    either = (reference > 0) | (current > 0)
    p = np.where(reference > 0, reference, EMPTY_CELL)[either] / n
    q = np.where(current > 0, current, EMPTY_CELL)[either] / m
    return float(np.sum((q - p) * np.log(q / p)))


def jsd(reference: np.ndarray, current: np.ndarray) -> float:
    """Jensen-Shannon divergence of two count vectors in bits, 0 .. 1; no smoothing."""
    n, m = reference.sum(), current.sum()
    if n <= 0 or m <= 0:
        return 0.0
    p, q = reference / n, current / m
    value = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return float(min(max(value, 0.0), 1.0))


def linf(reference: np.ndarray, current: np.ndarray) -> float:
    """Largest change of one cell's share."""
    n, m = reference.sum(), current.sum()
    if n <= 0 or m <= 0:
        return 0.0
    return float(np.max(np.abs(reference / n - current / m)))


def ks(reference: np.ndarray, current: np.ndarray) -> float:
    """Kolmogorov-Smirnov statistic at the bin edges, of counts in order."""
    n, m = reference.sum(), current.sum()
    if n <= 0 or m <= 0:
        return 0.0
    return float(np.max(np.abs(np.cumsum(reference) / n - np.cumsum(current) / m)))


def pooled(reference: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Puts cells expected to hold too few rows together (Cochran's rule of five).

    The expectation is that of the smaller sample if both came from one distribution.
    """
    n, m = reference.sum(), current.sum()
    expected = min(n, m) * (reference + current) / max(n + m, 1.0)
    small = expected < MIN_EXPECTED
    if not small.any():
        return reference, current
    if small.all():
        return np.array([n]), np.array([m])
    p, q, expected_large = reference[~small], current[~small], expected[~small]
    if expected[small].sum() < MIN_EXPECTED:
        least = int(np.argmin(expected_large))
        p, q = p.copy(), q.copy()
        p[least] += reference[small].sum()
        q[least] += current[small].sum()
        return p, q
    return np.append(p, reference[small].sum()), np.append(q, current[small].sum())


def chance(reference: np.ndarray, current: np.ndarray, p_value: float) -> tuple[float, float]:
    """What chance alone does to two count vectors over the same, pooled cells.

    Returns:
      The p-value of Pearson's two-sample chi-square test, and the PSI that its law says
      is exceeded with probability `p_value` (somewhat low for many sparse cells).
    """
    n, m, cells = reference.sum(), current.sum(), len(reference)
    if cells < 2 or n <= 0 or m <= 0:
        return 1.0, 0.0
    from scipy import special  # slow to import, so only when needed

    either = reference + current > 0
    p, q = reference[either], current[either]
    statistic = np.sum((np.sqrt(m / n) * p - np.sqrt(n / m) * q) ** 2 / (p + q))
    return (
        float(special.chdtrc(max(len(p) - 1, 1), statistic)),
        float(special.chdtri(cells - 1, p_value) * (1.0 / n + 1.0 / m)),
    )


def compare(
    feature: str,
    reference: Summary,
    current: Summary,
    thresholds: Thresholds | None = None,
) -> FeatureDrift:
    """Compares two summaries of one feature.

    Args:
      feature: Column.
      reference: What the current side is measured against; its bins are the bins.
      current: Binned by the reference's edges, or Categories.
      thresholds: What counts as drift.

    Returns:
      The measures, the decision, and what to say about it. With no rows on a side every
      measure is 0.

    Raises:
      ValueError: The two are of different kinds, or binned by different edges.
    """
    thresholds = thresholds or Thresholds()
    if isinstance(reference, Binned) and isinstance(current, Binned):
        if reference.edges != current.edges:
            raise ValueError(f"{feature}: the two sides were binned by different edges")
        kind = "numeric"
        labels = bin_labels(reference.edges) + (MISSING,)
        p = np.array((*reference.counts, reference.missing), float)
        q = np.array((*current.counts, current.missing), float)
        distance = ks(p[:-1], q[:-1])
        judged = ("psi", "jsd")
        edges = reference.edges
        words = _numeric_words(reference, current, labels, p, q)
    elif isinstance(reference, Categories) and isinstance(current, Categories):
        kind = "categorical"
        labels, p, q = _aligned(reference, current)
        distance = None
        judged = ("psi", "linf")
        edges = ()
        words = _categorical_words(labels, p, q)
    else:
        raise ValueError(f"{feature}: numbers cannot be compared with categories")

    cells_p, cells_q = pooled(p, q)
    measures = {"psi": psi(cells_p, cells_q), "jsd": jsd(p, q), "linf": linf(p, q)}
    probability, noise = chance(cells_p, cells_q, thresholds.p_value)
    exceeded = tuple(name for name in judged if measures[name] > getattr(thresholds, name))
    if kind == "categorical":
        labels, p, q = _commonest(labels, p, q)
    return FeatureDrift(
        feature=feature,
        kind=kind,
        **measures,
        ks=distance,
        noise=noise,
        p_value=probability,
        exceeded=exceeded,
        drifted=bool(exceeded) and probability < thresholds.p_value,
        words=f"{feature}: {words}",
        thresholds=thresholds,
        edges=edges,
        labels=labels,
        reference=tuple(p / max(p.sum(), 1.0)),
        current=tuple(q / max(q.sum(), 1.0)),
        rows_reference=float(p.sum()),
        rows_current=float(q.sum()),
    )


def compare_statistics(
    feature: str,
    reference: statistics_pb2.FeatureNameStatistics,
    current: statistics_pb2.FeatureNameStatistics,
    thresholds: Thresholds | None = None,
) -> FeatureDrift | None:
    """Compares two statistics of one feature, as StatisticsGen writes them.

    How exactly, `monitoring/summaries.py` says. None when one side holds numbers and the other
    values: there is no distance between these.
    """
    sides = pair_statistics(reference, current)
    return sides and compare(feature, *sides, thresholds)


def bin_labels(edges: tuple[float, ...]) -> tuple[str, ...]:
    """Names of the bins: `< 0`, `0 – 3.25`, .. `> 700`."""
    if not edges:
        return ("any",)
    names = [_number(edge) for edge in edges]
    inner = (
        low if low == high else f"{low} – {high}"
        for low, high in zip(names, names[1:], strict=False)
    )
    return (f"< {names[0]}", *inner, f"> {names[-1]}")


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-np.sum(shares * np.log2(shares)))


def _aligned(
    reference: Categories, current: Categories
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Both sides over the same values, commonest of the reference first.

    Where a side did not count all its values, what it did not list cannot be told from what it
    does not have: those values of the other side join `other` on both.
    """
    names = sorted(
        set(reference.counts) | set(current.counts),
        key=lambda name: (-reference.counts.get(name, 0), -current.counts.get(name, 0), name),
    )
    if reference.other:
        names = [name for name in names if name in reference.counts]
    if current.other:
        names = [name for name in names if name in current.counts]

    def counts(side: Categories) -> np.ndarray:
        listed = [float(side.counts.get(name, 0.0)) for name in names]
        rest = max(side.rows - side.missing - sum(listed), 0.0)
        return np.array((*listed, rest, side.missing))

    return (*names, OTHER, MISSING), counts(reference), counts(current)


def _commonest(
    labels: tuple[str, ...], p: np.ndarray, q: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Keeps what fits into a plot: the values with the largest shares, other and missing."""
    size = p[:-2] / max(p.sum(), 1.0) + q[:-2] / max(q.sum(), 1.0)
    kept = np.sort(np.argsort(-size, kind="stable")[:PLOTTED_VALUES])
    rest = np.setdiff1d(np.arange(len(size)), kept)

    def cut(x: np.ndarray) -> np.ndarray:
        return np.array((*x[kept], x[-2] + x[rest].sum(), x[-1]))

    return (*(labels[i] for i in kept), OTHER, MISSING), cut(p), cut(q)


def _numeric_words(
    reference: Binned, current: Binned, labels: tuple[str, ...], p: np.ndarray, q: np.ndarray
) -> str:
    parts = []
    before, now = reference.median, current.median
    if before is not None and now is not None:
        same = _number(before) == _number(now)
        parts.append(f"median {_number(before)}" + ("" if same else f" → {_number(now)}"))
    p, q = p / max(p.sum(), 1.0), q / max(q.sum(), 1.0)
    largest = int(np.argmax(np.abs(q[:-1] - p[:-1])))
    beyond = {0: "below", len(p) - 2: "above"} if reference.edges else {}
    for place, word in beyond.items():
        if q[place] >= 0.005:
            edge = reference.edges[0 if place == 0 else -1]
            parts.append(f"{_percent(q[place])} {word} the reference's range ({_number(edge)})")
    if largest not in beyond and abs(q[largest] - p[largest]) >= 0.005:
        parts.append(f"share of {labels[largest]}: {_percent(p[largest])} → {_percent(q[largest])}")
    if abs(q[-1] - p[-1]) >= 0.005:
        parts.append(f"missing {_percent(p[-1])} → {_percent(q[-1])}")
    return ", ".join(parts) or "no change to speak of"


def _categorical_words(labels: tuple[str, ...], p: np.ndarray, q: np.ndarray) -> str:
    """The three largest changes of a share, new values said to be new."""
    p, q = p / max(p.sum(), 1.0), q / max(q.sum(), 1.0)
    parts = []
    for i in np.argsort(-np.abs(q - p), kind="stable")[:3]:
        if abs(q[i] - p[i]) < 0.005:
            break
        special = {OTHER: "other values", MISSING: "missing"}.get(labels[i])
        if p[i] == 0 and special is None:
            parts.append(f"new '{labels[i]}' {_percent(q[i])}")
        else:
            name = special or f"'{labels[i]}'"
            parts.append(f"{name} {_percent(p[i])} → {_percent(q[i])}")
    return ", ".join(parts) or "no change to speak of"


def _number(value: float) -> str:
    """Short and readable: 7.85, 15,002, 1.2e-05."""
    if not np.isfinite(value):
        return str(value)
    # An edge lies a rounding error below the number it stands for.
    if abs(value - round(value)) <= 1e-9 * max(1.0, abs(value)) and abs(value) < 1e15:
        return f"{round(value):,}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value
