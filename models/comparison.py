"""Whether a smaller model answers as well as the float one: differences with their intervals.

Two models that answered the same rows are compared on the same resamples of these rows, so
that what is hard in a resample is hard for both and cancels from the difference.

Intervals are percentiles of a bootstrap over rows (Efron & Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 13). Of many rows they are what it converges to, the normal interval of
`models.standard_error` (DeLong's for AUC), at a thousandth of the cost. Rows are taken as
independent: where they are not (many rows of one day), intervals are too narrow.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from models import metrics, standard_error
from models.spec import Task

RESAMPLES = 1000
CONFIDENCE = 0.95
#: Slices with fewer rows are shown and marked: their intervals say little.
MIN_ROWS = 200
#: From so many rows on, with so many of each class, the bootstrap has converged: its ends still
#: move by as much from seed to seed as they differ from the normal interval's.
MANY_ROWS, MANY_OF_A_CLASS = 1000, 100
#: Cells of the table of resamples that is held at once; larger ones leave the processor's cache.
_CELLS = 500_000
_EPSILON = 1e-7
#: Resamples' own quality, given the counts `[b, n]` with which each row was drawn.
_Quality = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Drop:
    """Quality lost against the reference on some rows.

    Attributes:
      metric: What quality is: AUC, accuracy or R².
      rows: Compared.
      reference, candidate: Quality of each; None where it is not defined (AUC of one class).
      drop: reference - candidate; above 0 the candidate is worse.
      low, high: Interval of the drop; None where it is not defined.
      confidence: Of the interval.
      enough: Whether there are as many rows as asked for.
    """

    metric: str
    rows: int
    reference: float | None
    candidate: float | None
    drop: float | None
    low: float | None
    high: float | None
    confidence: float
    enough: bool = True

    @property
    def differs(self) -> bool:
        """Zero lies outside the interval."""
        return self.low is not None and (self.low > 0.0 or self.high < 0.0)

    def within(self, most: float) -> bool:
        """The whole interval lies at or below the largest drop that is allowed."""
        return self.high is not None and self.high <= most

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "differs": self.differs}


def drop(
    task: Task,
    labels: np.ndarray,
    reference: np.ndarray,
    candidate: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    min_rows: int = MIN_ROWS,
    seed: int = 0,
) -> Drop:
    """The drop of the primary metric, with its interval: paired, over rows.

    Args:
      task: Decides the metric (`models.metrics.PRIMARY`).
      labels: `[n]`, class index or value.
      reference, candidate: Answers to the same rows, `[n, 1]` or `[n, classes]`.
      resamples: Bootstrap draws; those for which the metric is not defined do not count. None
        are needed where rows are many.
      confidence: Of the interval.
      min_rows: Below it the result is marked.
      seed: Of the draws.
    """
    rows = len(labels)
    metric = metrics.PRIMARY[task]
    empty = Drop(metric, rows, None, None, None, None, None, confidence, rows >= min_rows)
    if not rows:
        return empty
    qualities = [_quality(task, labels, answers) for answers in (reference, candidate)]
    once = np.ones((1, rows))
    a, b = (float(quality(once)[0]) for quality in qualities)
    if not (np.isfinite(a) and np.isfinite(b)):
        return empty
    found = dataclasses.replace(empty, reference=a, candidate=b, drop=a - b)
    tail = (1.0 - confidence) / 2.0
    if _many(task, labels):
        reach = -statistics.NormalDist().inv_cdf(tail)
        reach *= standard_error.of_difference(task, labels, reference, candidate)
        return dataclasses.replace(found, low=a - b - reach, high=a - b + reach)
    lost = np.concatenate(
        [qualities[0](w) - qualities[1](w) for w in _resamples(rows, resamples, seed)]
    )
    lost = lost[np.isfinite(lost)]
    if not lost.size:
        return found
    low, high = (float(q) for q in np.quantile(lost, [tail, 1.0 - tail]))
    return dataclasses.replace(found, low=low, high=high)


def _many(task: Task, labels: np.ndarray) -> bool:
    """Whether the bootstrap has converged on so many rows."""
    if len(labels) < MANY_ROWS:
        return False
    if task != "binary":
        return True
    positives = int(np.count_nonzero(labels == 1))
    return min(positives, len(labels) - positives) >= MANY_OF_A_CLASS


def drop_by_slice(
    task: Task,
    labels: np.ndarray,
    reference: np.ndarray,
    candidate: np.ndarray,
    keys: np.ndarray,
    **settings: Any,
) -> dict[str, Drop]:
    """The same for every group of rows.

    Each interval is of its own slice: of twenty slices without any drop, one is expected to
    exclude zero at 0.95. Raise `confidence` to 1 - 0.05 / slices (Bonferroni) to judge all.

    Args:
      keys: `[n]`, the group of each row; any type with an order.
      **settings: As in `drop`.

    Returns:
      Group as text to its drop, in the order of the groups.
    """
    groups, members = np.unique(np.asarray(keys).astype(str), return_inverse=True)
    result = {}
    for index, group in enumerate(groups):
        rows = np.flatnonzero(members.ravel() == index)
        result[str(group)] = drop(task, labels[rows], reference[rows], candidate[rows], **settings)
    return result


def _resamples(rows: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row is drawn in each resample, `[b, n]`, a part of the resamples at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // rows)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(float)


def _quality(task: Task, labels: np.ndarray, answers: np.ndarray) -> _Quality:
    if task == "binary":
        return _auc(labels.astype(int) == 1, answers[:, 0])
    if task == "multiclass":
        right = (answers.argmax(axis=1) == labels.astype(int)).astype(float)
        return lambda counts: counts @ right / counts.sum(axis=1)
    return _r2(labels.astype(np.float64), answers[:, 0].astype(np.float64))


def _auc(positive: np.ndarray, scores: np.ndarray) -> _Quality:
    """Area under the ROC curve of weighted rows, by ranks; equal scores count half.

    The Mann-Whitney form (Hanley & McNeil 1982): the share of pairs of a positive and a
    negative in which the positive scores higher. Scores are sorted once for all resamples.
    """
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], positive[order]
    new = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(new)

    def quality(counts: np.ndarray) -> np.ndarray:
        counts = counts[:, order]
        above = np.add.reduceat(counts * positive, starts, axis=1)
        below = np.add.reduceat(counts * ~positive, starts, axis=1)
        won = np.cumsum(below, axis=1) - below / 2.0
        pairs = above.sum(axis=1) * below.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.einsum("bg,bg->b", above, won) / pairs

    return quality


def _r2(labels: np.ndarray, values: np.ndarray) -> _Quality:
    """Coefficient of determination of weighted rows, `1 - residual / total` sum of squares."""
    centred = labels - labels.mean()  # keeps the difference of squares below exact
    residual = (labels - values) ** 2

    def quality(counts: np.ndarray) -> np.ndarray:
        rows = counts.sum(axis=1)
        total = counts @ centred**2 - (counts @ centred) ** 2 / rows
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 1e-12 * rows, 1.0 - counts @ residual / total, np.nan)

    return quality


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How close a candidate's answers are to the reference's, whatever the truth is.

    Attributes:
      largest_difference: Of any output of any row.
      flip_rate: Share of rows whose predicted label differs; None for regression.
      kl_divergence: Mean over rows of KL(reference ‖ candidate) in nats (Kullback & Leibler
        1951); None for regression.
    """

    largest_difference: float
    flip_rate: float | None
    kl_divergence: float | None


def agreement(task: Task, reference: np.ndarray, candidate: np.ndarray) -> Agreement:
    """See `Agreement`; answers are `[n, 1]` or `[n, classes]`."""
    found = metrics.agreement(task, reference, candidate)
    divergence = None
    if task != "regression" and len(reference):
        p, q = (_distribution(task, answers) for answers in (reference, candidate))
        divergence = float(np.mean(np.sum(p * np.log(p / q), axis=1)))
    return Agreement(
        found["largest_difference"],
        found.get("flip_rate") if len(reference) else None,
        None if divergence is None else max(divergence, 0.0),  # never below 0 but for rounding
    )


def _distribution(task: Task, answers: np.ndarray) -> np.ndarray:
    """Probabilities `[n, classes]` that are above 0 and sum to 1."""
    p = answers.astype(np.float64)
    p = np.concatenate([1.0 - p, p], axis=1) if task == "binary" else p
    p = np.clip(p, _EPSILON, None)
    return p / p.sum(axis=1, keepdims=True)


def calibration_error(task: Task, labels: np.ndarray, answers: np.ndarray) -> float | None:
    """Expected calibration error: `models.metrics.calibration_error` (Guo et al. 2017, eq. 3).

    Of the positive class for two classes, of the predicted one for more; None for regression.
    """
    if task == "regression" or not len(labels):
        return None
    index = labels.astype(int)
    if task == "binary":
        return metrics.calibration_error(index, np.clip(answers[:, 0].astype(np.float64), 0, 1))
    right = (answers.argmax(axis=1) == index).astype(int)
    return metrics.calibration_error(right, np.clip(answers.max(axis=1).astype(np.float64), 0, 1))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A candidate against its reference.

    Attributes:
      overall: Drop on all rows.
      slices: Group to drop; empty when there are no groups.
      agreement: With the reference.
      calibration: Expected calibration error of `reference` and `candidate`; None for regression.
    """

    overall: Drop
    slices: dict[str, Drop]
    agreement: Agreement
    calibration: dict[str, float | None]

    @property
    def worst(self) -> Drop | None:
        """The slice with enough rows that lost most; None when there is none."""
        judged = [d for d in self.slices.values() if d.enough and d.drop is not None]
        return max(judged, key=lambda d: d.drop, default=None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "overall": self.overall.to_dict(),
            "slices": {name: d.to_dict() for name, d in self.slices.items()},
            "agreement": dataclasses.asdict(self.agreement),
            "calibration": self.calibration,
        }


def compare(
    task: Task,
    labels: np.ndarray,
    reference: np.ndarray,
    candidate: np.ndarray,
    slices: np.ndarray | None = None,
    **settings: Any,
) -> Comparison:
    """Everything above at once.

    Args:
      task: Kind of problem.
      labels: `[n]`, class index or value, no NaN.
      reference, candidate: Answers to the same rows, `[n, 1]` or `[n, classes]`.
      slices: `[n]`, the group of each row.
      **settings: As in `drop`.
    """
    by_slice = (
        {}
        if slices is None
        else drop_by_slice(task, labels, reference, candidate, slices, **settings)
    )
    return Comparison(
        drop(task, labels, reference, candidate, **settings),
        by_slice,
        agreement(task, reference, candidate),
        {
            "reference": calibration_error(task, labels, reference),
            "candidate": calibration_error(task, labels, candidate),
        },
    )
