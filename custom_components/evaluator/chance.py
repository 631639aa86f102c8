"""How large a difference between two models chance explains on a number of rows.

On 22 rows one wrong answer more is a drop of 0.045 in accuracy. A limit that is
finer than that would refuse models at random, so a drop beyond its limit is
checked against the standard error of the paired difference.
"""

from __future__ import annotations

import collections
import statistics
from collections.abc import Sequence

import numpy as np
from tfx import types

from custom_components.evaluator import config, local_engine, scoring
from custom_components.evaluator.accumulators import Unsupported
from custom_components.evaluator.results import Measured
from custom_components.evaluator.verdict import SHIPPED, Threshold, slice_name
from models import standard_error

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
        error = standard_error.of_difference(
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
