"""When labels arrive: has the model really become worse?

A metric of a window differs from the reference's by chance, and on daily data by more than
its rows' own chance: days differ. So the spread is that of resampled blocks, of the window's
own number, against resampled blocks of the reference; of rows where there are no blocks. The
fall is a finding when it exceeds the normal law's quantile of that spread, and the floor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy import special

from monitoring.decisions.blocks import block_of
from monitoring.decisions.options import ThresholdOptions
from monitoring.decisions.thresholds import METRICS, Threshold, Thresholds

#: Labels and scores of some rows to every metric's value.
Score = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]
_HIGHER = {"auc", "pr_auc", "accuracy", "r2"}
_SHARES = _HIGHER | {"calibration_error"}
_RESAMPLES = 200
_MOST_ROWS = 50_000


def learn_performance(
    truth: np.ndarray,
    scores: np.ndarray,
    score: Score,
    options: ThresholdOptions,
    *,
    times: np.ndarray | None = None,
    window_blocks: int | None = None,
    window_rows: int | None = None,
    seed: int = 0,
) -> dict[tuple[str, str], Threshold]:
    """Thresholds of realised metrics, from labelled rows the model was not trained on.

    Args:
      truth: Shape [rows].
      scores: Shape [rows] or [rows, k].
      score: All metrics at once, e.g. `functools.partial(models.metrics.score, task)`; `auc`,
        `accuracy`, `pr_auc` and `r2` are better when higher, all others when lower.
      options: The rate of false alarms, shared among the metrics, and the floor.
      times: When each row was, or the number of its block; whole days are resampled then.
      window_blocks: Days per window, with times.
      window_rows: Rows per window, without.
      seed: Of the resampling.
    """
    rng = np.random.default_rng(seed)
    block = block_of(times, len(truth)) if times is not None else np.arange(len(truth))
    order = np.argsort(block, kind="stable")
    starts = np.searchsorted(block[order], np.arange(block.max() + 2))
    blocks = len(starts) - 1
    length = (window_blocks if times is not None else window_rows) or blocks

    def draw(number: int) -> tuple[np.ndarray, float]:
        """Rows of so many blocks, and what the spread is to be multiplied with."""
        used = min(number, max(1, round(_MOST_ROWS * blocks / len(truth))))
        chosen = rng.integers(0, blocks, used)
        if times is not None:
            return np.concatenate([order[starts[b] : starts[b + 1]] for b in chosen]), used / number
        return order[chosen], used / number

    expected = score(truth, scores)
    changes: dict[str, list[tuple[float, float]]] = {name: [] for name in expected}
    for _ in range(_RESAMPLES):
        (window, thin), (base, thinner) = draw(length), draw(blocks)
        now, before = score(truth[window], scores[window]), score(truth[base], scores[base])
        for name, value in expected.items():
            apart = (
                (now.get(name, np.nan) - value) * thin**0.5,
                (before.get(name, np.nan) - value) * thinner**0.5,
            )
            changes[name].append(apart)
    alpha = options.false_alarms / max(len(expected), 1)
    found = {}
    for name, value in expected.items():
        parts = np.array(changes[name])
        spread = float(np.sqrt(np.nanvar(parts, axis=0, ddof=1).sum()))
        found[METRICS, name] = Threshold(
            METRICS,
            name,
            "metric",
            alpha,
            options.floors.performance * (1.0 if name in _SHARES else abs(value)),
            reference=float(value),
            spread=spread,
            critical=float(-special.ndtri(alpha)) * spread,
            rows=len(truth),
            window_rows=round(length * len(truth) / blocks),
            higher_is_better=name in _HIGHER,
        )
    return found


def with_performance(
    thresholds: Thresholds, metrics: Mapping[tuple[str, str], Threshold]
) -> Thresholds:
    """The same thresholds and those of metrics."""
    return dataclasses.replace(thresholds, items={**thresholds.items, **metrics})
