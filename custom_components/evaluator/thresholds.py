"""Which metrics can be bounded, and the check of a config's bounds before anything runs.

Imports nothing heavy: the config loader calls `check_thresholds`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from typing import Literal

from custom_components.evaluator.options import EvaluationOptions
from models.errors import ConfigError
from models.spec import Task

Direction = Literal["higher", "lower"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric that a bound can be set on.

    Attributes:
      better: Which way is better: a bound is a lower one for `higher`, an upper one
        for `lower`.
      low, high: The values the metric can take, both included.
    """

    better: Direction
    low: float
    high: float


_SHARE = Metric("higher", 0.0, 1.0)
_LOSS = Metric("lower", 0.0, math.inf)
_COUNT = Metric("higher", 0.0, math.inf)

#: Task to metric name to its properties.
METRICS: dict[Task, dict[str, Metric]] = {
    "binary": {
        "auc": _SHARE,
        "pr_auc": _SHARE,
        "accuracy": _SHARE,
        "precision": _SHARE,
        "recall": _SHARE,
        "log_loss": _LOSS,
        "example_count": _COUNT,
    },
    "multiclass": {
        "accuracy": _SHARE,
        "auc": _SHARE,
        "log_loss": _LOSS,
        "example_count": _COUNT,
    },
    "regression": {
        "r2": Metric("higher", -math.inf, 1.0),
        "mae": _LOSS,
        "rmse": _LOSS,
        "example_count": _COUNT,
    },
}

#: The metric in which quality is lost or kept, per task; higher is better for each.
QUALITY: dict[Task, str] = {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}

_DEFAULT_BOUNDS = {"auc": 0.55, "r2": 0.0}
_SOME_TASK = {name for metrics in METRICS.values() for name in metrics}


def check_thresholds(options: EvaluationOptions, task: Task) -> None:
    """Refuses thresholds that can never hold, or never fail.

    Args:
      options: The evaluation's options.
      task: Kind of problem.

    Raises:
      ConfigError: THRESHOLD_INVALID with one case per bad threshold: an unknown
        metric (with the closest name), one of another task, or a bound outside the
        values the metric can take.
    """
    cases = []
    for name, bound in options.thresholds.items():
        problem = _problem(name, bound, task)
        if problem:
            cases.append({"metric": name, "bound": bound, "problem": problem})
    if not cases:
        return
    if len(cases) == 1:
        what = f"The threshold on `{cases[0]['metric']}` cannot work: {cases[0]['problem']}."
    else:
        details = "; ".join(f"`{case['metric']}`: {case['problem']}" for case in cases)
        what = f"{len(cases)} thresholds cannot work: {details}."
    raise ConfigError(
        "THRESHOLD_INVALID",
        what,
        next="Correct `evaluation.thresholds`; for this task it can bound "
        f"{', '.join(METRICS[task])}.",
        cases=cases,
    )


def _problem(name: str, bound: float, task: Task) -> str:
    metrics = METRICS[task]
    if name not in metrics:
        close = difflib.get_close_matches(name.lower().replace(" ", "_"), metrics, 1, 0.5)
        hint = f", did you mean `{close[0]}`?" if close else ""
        if name in _SOME_TASK:
            return f"it is no metric of a {task} model{hint}"
        if name == "calibration":
            return "it has no better direction (1 is right), so it is shown and cannot be bounded"
        return f"there is no such metric{hint}"
    metric = metrics[name]
    if not math.isfinite(bound):
        return f"{bound} is no bound"
    if metric.low <= bound <= metric.high:
        return ""
    values = (
        f"between {metric.low:g} and {metric.high:g}"
        if math.isfinite(metric.low + metric.high)
        else f"at least {metric.low:g}"
        if math.isfinite(metric.low)
        else f"at most {metric.high:g}"
    )
    never = bound > metric.high if metric.better == "higher" else bound < metric.low
    return f"it is always {values}, so a bound of {bound:g} can never {'hold' if never else 'fail'}"


def bounds(
    options: EvaluationOptions, task: Task, class_counts: tuple[float, ...] = ()
) -> dict[str, float]:
    """The bounds that apply: the configured ones, and better than a constant answer.

    Args:
      options: The evaluation's options.
      task: Kind of problem.
      class_counts: Multiclass: test rows of each class.

    Returns:
      Metric name to bound; a lower or an upper one as the metric's direction says.
    """
    quality = QUALITY[task]
    default = _DEFAULT_BOUNDS.get(quality)
    if default is None:
        rows = sum(class_counts)
        # Always answering the largest class reaches exactly its share: half a row more is better.
        default = (max(class_counts) + 0.5) / rows if rows else 0.0
        default = min(default, 1.0)
    return {quality: default, **options.thresholds}
