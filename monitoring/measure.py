"""The one thing that measuring yields and deciding takes: a number with its context."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

#: What a measure is about.
Family = Literal["quality", "distance", "multivariate", "performance", "estimate", "shipped"]
#: What the window was held against; `none` where a measure stands alone (a latency, a count).
Against = Literal["training", "previous", "season", "none"]

#: Names in `Measure.feature` that are no column of the data.
WINDOW, PREDICTION, LABEL, ALL_FEATURES = "(window)", "(prediction)", "(label)", "(features)"


@dataclasses.dataclass(frozen=True)
class Measure:
    """One number about one window.

    Attributes:
      feature: Column, or `(window)`, `(prediction)`, `(label)`, `(features)` (all together).
      statistic: What was measured: `psi`, `ks`, `missing_rate`, `auc`, `latency_p99_ms` …
      value: The number; NaN where it is not defined for these rows.
      n: Rows of the window it rests on.
      reference_n: Rows on the other side; 0 where there is none.
      slice: `column=value`; empty for the whole window.
      window_id: Of the store; empty outside of one (`monitoring.compare`).
      words: Direction and size for people: `fare: median 7.85 → 9.65`.
      family: What the measure is about.
      against: What the window was held against.
      p_value: Of a value this large or larger, if nothing had changed and rows were
        independent; None where no such law is known.
      low, high: Interval of the value (95 %); None where there is none.
      unreliable: Why the value should not be believed; empty when it may.
    """

    feature: str
    statistic: str
    value: float
    n: int
    reference_n: int
    slice: str = ""
    window_id: str = ""
    words: str = ""
    family: Family = "distance"
    against: Against = "none"
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    unreliable: str = ""

    @property
    def key(self) -> str:
        """What stays the same from window to window: `training/fare/psi` or `…@slice`."""
        where = f"@{self.slice}" if self.slice else ""
        return f"{self.against}/{self.feature}/{self.statistic}{where}"

    def to_dict(self) -> dict[str, Any]:
        """Flat and JSON-ready but for NaN."""
        return dataclasses.asdict(self)
