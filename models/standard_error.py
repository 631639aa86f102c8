"""Standard error of the difference in quality of two models that answered the same rows.

Each is the square root of the variance of the rows' influences on the difference: how far it
moves when a row weighs a little more (the infinitesimal jackknife; Efron, "Nonparametric
estimates of standard error", 1981). A paired bootstrap of many rows converges to it.
"""

from __future__ import annotations

import math

import numpy as np

from models.spec import Task


def of_difference(task: Task, labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Standard error of quality(a) - quality(b), the primary metric of the task.

    Args:
      task: Decides the quality: AUC, accuracy or R².
      labels: `[n]`, class index or value.
      a, b: Predictions, `[n, 1]` or `[n, classes]`.

    Returns:
      0 where it is not defined: fewer than two rows of a class, labels that are all equal.
    """
    if task == "binary":
        return _of_auc(labels == 1, a[:, 0], b[:, 0])
    if task == "multiclass":
        return _of_mean((a.argmax(axis=1) == labels).astype(float) - (b.argmax(axis=1) == labels))
    y = labels.astype(np.float64)
    squares = (y - y.mean()) ** 2
    total = float(squares.mean())
    if total <= 0.0:
        return 0.0
    gained = (y - b[:, 0]) ** 2 - (y - a[:, 0]) ** 2
    # Of a ratio of means, by the delta method.
    return _of_mean(gained - squares * (gained.mean() / total)) / total


def _of_mean(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def _of_auc(positive: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
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
