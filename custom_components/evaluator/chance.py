"""How large a difference between two models chance explains on a number of rows.

On 22 rows one wrong answer more is a drop of 0.045 in accuracy. A limit that is
finer than that would refuse models at random, so a drop beyond its limit is
checked against the standard error of the paired difference.
"""

from __future__ import annotations

import collections
import math
import statistics
from collections.abc import Sequence

import numpy as np
from tfx import types

from custom_components.evaluator import config, local_engine, scoring
from custom_components.evaluator.accumulators import Unsupported
from custom_components.evaluator.results import Measured
from custom_components.evaluator.verdict import SHIPPED, Threshold, slice_name
from models.spec import Task

#: With more rows than this chance explains less than any limit worth setting.
MOST_ROWS = 200_000


def margins(
    thresholds: Sequence[Threshold],
    slices: Sequence[Measured],
    confidence: float,
    task: scoring.Task,
    examples: list[types.Artifact],
    split: str,
) -> list[float | None]:
    """What chance explains, for each comparison of two models that failed.

    Reads and scores the split once more, only if something failed.

    Args:
      thresholds: Every comparison.
      slices: All slices, for their rows.
      confidence: One-sided, of one comparison over all rows; that of slices is
        shared out (Bonferroni), since one of many is bound to look bad.
      task: The models.
      examples: Examples artifacts.
      split: Name of the split.

    Returns:
      Per threshold the margin; None where it passed, is a bound, or has so many rows
      that chance does not matter.
    """
    rows = {measured.name: measured.rows for measured in slices}
    failed = [
        index
        for index, threshold in enumerate(thresholds)
        if threshold.kind != "bound"
        and not threshold.passed
        and rows[slice_name(threshold.slice)] <= MOST_ROWS
    ]
    answer: list[float | None] = [None] * len(thresholds)
    if not failed:
        return answer
    try:
        collected = _collect(
            {slice_name(thresholds[i].slice) for i in failed}, task, examples, split
        )
    except Unsupported:  # several values in a cell: such slices are judged to the letter
        return answer
    for index in failed:
        threshold = thresholds[index]
        labels, predictions = collected[slice_name(threshold.slice)]
        error = standard_error(
            task.spec.task, labels, predictions[SHIPPED], predictions[threshold.kind]
        )
        judged = sum(1 for t in thresholds if t.kind == threshold.kind and t.slice)
        shared = (1.0 - confidence) / (judged if threshold.slice else 1)
        answer[index] = statistics.NormalDist().inv_cdf(1.0 - shared) * error
    return answer


def _collect(
    names: set[str], task: scoring.Task, examples: list[types.Artifact], split: str
) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Labels and predictions of the rows of each named slice."""
    slicer = local_engine.Slicer(config.eval_config(task.spec, list(task.models), task.slices))
    parts: dict[str, list[tuple[np.ndarray, dict[str, np.ndarray]]]] = collections.defaultdict(list)
    for batch in local_engine.batches(slicer, task, examples, split, collections.Counter()):
        for index, key in enumerate(slicer.keys):
            name = slice_name(dict(key))
            if name in names:
                rows = batch.rows[batch.slices == index]
                parts[name].append(
                    (batch.labels[rows], {m: p[rows] for m, p in batch.predictions.items()})
                )
    return {
        name: (
            np.concatenate([labels for labels, _ in found]),
            {m: np.concatenate([predictions[m] for _, predictions in found]) for m in task.models},
        )
        for name, found in parts.items()
    }


def standard_error(task: Task, labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Standard error of quality(a) - quality(b), both measured on the same rows.

    Args:
      task: Decides the quality: AUC, accuracy or R².
      labels: `[n]`.
      a, b: Predictions, `[n, 1]` or `[n, classes]`.
    """
    if task == "binary":
        return _auc_error(labels == 1, a[:, 0], b[:, 0])
    if task == "multiclass":
        gained = (a.argmax(axis=1) == labels).astype(float) - (b.argmax(axis=1) == labels)
        return _error_of_mean(gained)
    y = labels.astype(np.float64)
    gained = (y - b[:, 0]) ** 2 - (y - a[:, 0]) ** 2
    variance = float(y.var())
    return _error_of_mean(gained) / variance if variance > 0.0 else 0.0


def _error_of_mean(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _auc_error(positive: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """DeLong, DeLong & Clarke-Pearson 1988, by midranks (Sun & Xu 2014)."""
    count = int(positive.sum()), int((~positive).sum())
    if min(count) < 2:
        return 0.0
    gained = _placements(positive, a), _placements(positive, b)
    variances = [float((x - y).var(ddof=1)) for x, y in zip(*gained, strict=True)]
    return math.sqrt(sum(v / n for v, n in zip(variances, count, strict=True)))


def _placements(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive, and of positives above each negative."""
    ranks = _midranks(scores)
    above, below = scores[positive], scores[~positive]
    of_positives = (ranks[positive] - _midranks(above)) / len(below)
    of_negatives = 1.0 - (ranks[~positive] - _midranks(below)) / len(above)
    return of_positives, of_negatives


def _midranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal scores sharing their mean rank."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
