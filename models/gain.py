"""How much one model is better than another, with the interval that its evidence allows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats

from models import comparison
from models.spec import Task

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Gain:
    """A difference in the primary metric; above 0 the first model is better.

    Attributes:
      metric: Name.
      value: The difference, or its mean over seeds; None where the metric is not defined.
      low, high: Its interval; None where there is none.
      interval: `seeds` (Student's t over paired differences: what another training would give)
        or `rows` (paired: what other rows would give, the networks as they are).
      seeds: Trainings behind it.
      rows: Of eval.
      confidence: Of the interval.
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    interval: Literal["seeds", "rows"]
    seeds: int
    rows: int
    confidence: float = CONFIDENCE

    @property
    def state(self) -> Literal["better", "worse", "unclear"]:
        """What the interval allows to say."""
        if self.low is not None and self.low > 0.0:
            return "better"
        if self.high is not None and self.high < 0.0:
            return "worse"
        return "unclear"

    def words(self) -> str:
        """`+0.0046 (95 % interval +0.0021 to +0.0071, paired over 2,251 eval rows)`."""
        if self.value is None:
            return f"{self.metric} is not defined on these rows"
        if self.low is None or self.high is None:
            return f"{self.value:+.4f}"
        kind = (
            f"Student's t over {self.seeds} seeds"
            if self.interval == "seeds"
            else f"paired over {self.rows:,} eval rows"
        )
        return (
            f"{self.value:+.4f} ({self.confidence:.0%} interval {self.low:+.4f} to "
            f"{self.high:+.4f}, {kind})"
        ).replace("%", " %")

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "state": self.state}


def over_rows(
    task: Task, labels: np.ndarray, model: np.ndarray, other: np.ndarray, seed: int = 0
) -> Gain:
    """How much better a model's answers are than another's, paired over rows.

    Args:
      task: Decides the metric.
      labels: `[n]`, class index or value.
      model, other: Answers to the same rows, `[n, 1]` or `[n, classes]`.
      seed: Of the draws.
    """
    found = comparison.drop(task, labels, model, other, confidence=CONFIDENCE, seed=seed)
    return Gain(found.metric, found.drop, found.low, found.high, "rows", 1, len(labels))


def over_seeds(metric: str, differences: Sequence[float], rows: int) -> Gain:
    """Mean of paired differences, a value per seed, with Student's t interval."""
    known = np.asarray([d for d in differences if math.isfinite(d)], np.float64)
    if not len(known):
        return Gain(metric, None, None, None, "seeds", 0, rows)
    mean, low, high = float(known.mean()), None, None
    if len(known) > 1:
        reach = stats.t.ppf(0.5 + CONFIDENCE / 2, len(known) - 1)
        reach *= float(known.std(ddof=1)) / math.sqrt(len(known))
        low, high = mean - reach, mean + reach
    return Gain(metric, mean, low, high, "seeds", len(known), rows)
