"""What is compared with what: one threshold per feature and statistic, as data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from monitoring.decisions import laws
from monitoring.decisions.statistics import RATES
from monitoring.measure import PREDICTION, Measure

Law = Literal["chi-square", "ks", "proportion", "mean", "days", "metric", "fixed"]


#: The feature that thresholds of realised metrics are kept under.
METRICS = "(metrics)"


@dataclasses.dataclass(frozen=True)
class Threshold:
    """When a statistic of a feature is a finding.

    Attributes:
      feature: Column, or one of the names in `monitoring/measure.py`.
      statistic: As in `Measure`.
      law: Where it comes from: a law of chance for independent rows, `days` (resampled days),
        `metric` (a metric's interval), or `fixed`.
      alpha: Probability of a false alarm of this one test.
      floor: Smaller changes are no finding.
      cells: Chi-square: of the reference.
      reference: The reference's own value, where the change of a value is judged.
      spread: Mean: standard deviation. Metric: standard deviation of the change by chance.
      critical: Days, fixed: the limit itself.
      rows: Of the reference.
      window_rows: Days, metric: rows of the windows it was learnt at.
      higher_is_better: Metric: the direction in which a change is none to worry about.
    """

    feature: str
    statistic: str
    law: Law
    alpha: float = 0.0
    floor: float = 0.0
    cells: int = 0
    reference: float = 0.0
    spread: float = 0.0
    critical: float = 0.0
    rows: int = 0
    window_rows: int = 0
    higher_is_better: bool | None = None

    def chance(self, n: float, m: float | None = None) -> float:
        """The change that chance exceeds with probability alpha, for n rows."""
        m = self.rows if m is None else m
        by_statistic = self.law
        if self.law == "fixed":
            return self.critical
        if self.law == "metric" and self.window_rows and n > 0 and m > 0:
            # The spread falls with the root of the rows; more rows than were resampled still
            # differ by their days.
            fewer = (1 / n + 1 / m) / (1 / self.window_rows + 1 / m)
            return self.critical * math.sqrt(max(fewer, 1.0))
        if self.law == "days":
            if n >= 0.8 * self.window_rows:
                return self.critical
            by_statistic = _independent_law(self.statistic)
        if by_statistic == "chi-square":
            independent = laws.psi_limit(self.alpha, self.cells, n, m)
        elif by_statistic == "ks":
            independent = laws.ks_limit(self.alpha, n, m)
        elif by_statistic == "proportion":
            independent = laws.proportion_limit(self.alpha, n, self.reference, m)
        elif by_statistic == "mean":
            independent = laws.mean_limit(self.alpha, self.spread, n, m)
        else:
            return self.critical
        # A window shorter than those that were resampled is noisier than they were.
        return max(self.critical, independent) if self.law == "days" else independent

    def limit(self, n: float, m: float | None = None) -> float:
        """The change from which on it is a finding: more than chance, and large enough."""
        return max(self.chance(n, m), self.floor)

    def change(self, measure: Measure) -> float:
        """How far the measure is from where it should be; above 0 is worse."""
        if self.statistic == "new_category_rate":
            return measure.value - self.reference
        if self.statistic in RATES or self.law == "mean" or self.statistic == "nonzero_mean":
            return abs(measure.value - self.reference)
        if self.law == "metric":
            worse = measure.value - self.reference
            return -worse if self.higher_is_better else worse
        return measure.value

    def exceeded(self, measure: Measure) -> bool:
        """Whether it is a finding; never for a value that is not defined."""
        change = self.change(measure)
        if math.isnan(change) or measure.unreliable:
            return False
        if self.law == "fixed":
            return change > self.critical
        if change <= self.floor:
            return False
        independent = self.law in ("chi-square", "ks", "proportion")
        if independent and measure.p_value is not None:
            return measure.p_value < self.alpha
        return change > self.chance(measure.n, measure.reference_n or None)

    @property
    def key(self) -> str:
        return f"{self.feature}/{self.statistic}"


def _independent_law(statistic: str) -> str:
    if statistic in ("psi", "ks"):
        return {"psi": "chi-square", "ks": "ks"}[statistic]
    return "mean" if statistic == "nonzero_mean" else "proportion"


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """All of them, and how they came about.

    Attributes:
      items: Feature and statistic to threshold.
      false_alarms: The share of windows with any false alarm that they were made for.
      method: `independent`, `blocks` or `fixed`.
      window_blocks: Blocks (days) per window they were learnt at; 0 for independent rows.
      importance: Feature to its share of the model's importance; empty when not known.
      detectable: Feature to the smallest visible changes, see `power.py`.
      notes: What a reader should know, e.g. that there were too few days.
    """

    items: Mapping[tuple[str, str], Threshold]
    false_alarms: float
    method: str
    window_blocks: int = 0
    importance: Mapping[str, float] = dataclasses.field(default_factory=dict)
    detectable: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, measure: Measure) -> Threshold | None:
        """The one that a measure is judged by; None when it is only shown.

        They are made for the reference: earlier windows are smaller and have chance of their own.
        """
        if measure.against in ("previous", "season"):
            return None
        feature = (
            METRICS
            if measure.feature == PREDICTION and measure.family == "performance"
            else (measure.feature)
        )
        return self.items.get((feature, measure.statistic))

    def to_dict(self) -> dict[str, Any]:
        content = dataclasses.asdict(dataclasses.replace(self, items={}))
        content["items"] = [dataclasses.asdict(item) for item in self.items.values()]
        return {"format": 1, **content}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Thresholds:
        """What `to_dict` wrote."""
        data = {key: value for key, value in data.items() if key != "format"}
        items = [Threshold(**item) for item in data.pop("items")]
        data["notes"] = tuple(data["notes"])
        return cls(items={(i.feature, i.statistic): i for i in items}, **data)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)
