"""What deciding yields: one change that is more than chance and large enough."""

from __future__ import annotations

import dataclasses
from typing import Any

from monitoring.alerts.message import Severity
from monitoring.alerts.options import Kind


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing about one window.

    Attributes:
      kind: What it is about.
      feature: Column, or one of the names in `monitoring/measure.py`.
      statistic: What exceeded its limit by most; `also` names the others.
      value: Of the statistic.
      limit: What it was held against (the change, for rates and metrics).
      n: Rows.
      severity: `info` where it asks for nothing.
      words: Direction and size, and why it is a finding.
      slice: `column=value`; empty for the whole window.
      window_id: Of the window.
      also: Other statistics of the same feature that exceeded theirs.
      importance: Share of the model's importance; None when not known.
    """

    kind: Kind
    feature: str
    statistic: str
    value: float
    limit: float
    n: int
    severity: Severity
    words: str
    slice: str = ""
    window_id: str = ""
    also: tuple[str, ...] = ()
    importance: float | None = None

    @property
    def key(self) -> str:
        """What it is about, the same from window to window: `drift/fare`."""
        where = f"@{self.slice}" if self.slice else ""
        return f"{self.kind}/{self.feature}{where}"

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "key": self.key}
