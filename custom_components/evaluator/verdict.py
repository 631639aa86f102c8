"""The Evaluator's answer, as data: `verdict.json` in the evaluation artifact.

Imports no TensorFlow, TFX or TFMA: the report, the command and the web
application read it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any, Literal

from models.errors import Reason

VERDICT_FILE = "verdict.json"

#: Names of the models, in TFMA's files as well; the champion is TFMA's baseline.
SHIPPED, STUDENT, TEACHER, CHAMPION = "shipped", "student", "teacher", "champion"

#: Metric name to value; None where it is not defined on those rows (AUC of one class only).
Metrics = dict[str, "float | None"]


def slice_name(values: dict[str, Any]) -> str:
    """A slice in words: `payment_type=Cash, hour=3`; empty for all rows."""
    return ", ".join(f"{column}={value}" for column, value in values.items())


@dataclasses.dataclass(frozen=True)
class Threshold:
    """One comparison that was made.

    Attributes:
      metric: Metric name.
      kind: `bound` compares the shipped model's own value with the limit; `teacher`
        and `champion` compare its difference from theirs.
      slice: Column to value; empty over all test rows.
      limit: Bound: the least (or, where lower is better, the most) allowed value.
        Otherwise the least allowed difference, at most 0.
      value: The shipped model's value, or its difference (negative is worse).
      reference: The other model's value; None for a bound.
      chance: Where the drop was beyond the configured limit: the difference that
        chance explains on these rows; the limit is the larger of both.
      passed: Whether it held.
    """

    metric: str
    kind: Literal["bound", "teacher", "champion"]
    slice: dict[str, Any]
    limit: float
    value: float | None
    passed: bool
    reference: float | None = None
    chance: float | None = None


@dataclasses.dataclass(frozen=True)
class SliceResult:
    """The metrics of all models on the rows with the same value.

    Attributes:
      slice: Column to value.
      rows: Test rows in it.
      judged: Whether thresholds apply to it.
      metrics: Model name to metrics.
    """

    slice: dict[str, Any]
    rows: int
    judged: bool
    metrics: dict[str, Metrics]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether the candidate may ship, and everything that speaks for or against it.

    Attributes:
      blessed: Whether it may ship: no reason blocks.
      reasons: Blocking ones first.
      task, label, classes: Kind of problem, as in the model's contract.
      quality: The metric in which drops are counted.
      rows: `evaluated`, `label_missing`, `label_unknown`: counts of test rows.
      metrics: Model name to metrics over all test rows.
      slices: One per slice, in the order of the config, then by rows.
      thresholds: Every comparison, failed ones included.
      plots: Model name to plot data: `roc` (fpr, tpr, threshold), `calibration`
        (low, high, rows, predicted, actual) and `confusion`.
      engine: `requested`, `ran` and `why` when they differ.
    """

    blessed: bool
    reasons: tuple[Reason, ...]
    task: str
    label: str
    classes: tuple[str, ...]
    quality: str
    rows: dict[str, int]
    metrics: dict[str, Metrics]
    slices: tuple[SliceResult, ...]
    thresholds: tuple[Threshold, ...]
    plots: dict[str, dict[str, Any]]
    engine: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        return {**data, "reasons": [reason.to_dict() for reason in self.reasons]}

    def to_json(self) -> str:
        return json.dumps(_finite({"format": 1, **self.to_dict()}), ensure_ascii=False, indent=1)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Verdict:
        data = {key: value for key, value in data.items() if key != "format"}
        return cls(
            **{
                **data,
                "reasons": tuple(Reason.from_dict(reason) for reason in data["reasons"]),
                "classes": tuple(data["classes"]),
                "slices": tuple(SliceResult(**result) for result in data["slices"]),
                "thresholds": tuple(Threshold(**threshold) for threshold in data["thresholds"]),
            }
        )

    @classmethod
    def load(cls, folder: str | pathlib.Path) -> Verdict:
        """Reads `verdict.json` from an evaluation artifact's folder."""
        text = (pathlib.Path(folder) / VERDICT_FILE).read_text(encoding="utf-8")
        return cls.from_dict(json.loads(text))


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as None, which is all that JSON can hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
