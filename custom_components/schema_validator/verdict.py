"""The SchemaValidator's answer, as data: `verdict.json` in the anomalies artifact.

Imports no TensorFlow or TFX: the gate, the report, the command and the web
application read it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any, Literal

from models.errors import Reason

VERDICT_FILE = "verdict.json"
State = Literal["passed", "warned", "blocked"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether the data is good enough to train on, and all that speaks for or against it.

    Attributes:
      state: `blocked` when a reason blocks, else `warned` when one warns, else `passed`.
      baseline: Version of the deployed model the data was compared with; None at first.
      reasons: Blocking ones first.
      drift: One dict per feature compared with the baseline, see
        `monitoring.drift.FeatureDrift`.
      rows: `read`, and rows per split: `train`, `eval`, `test`.
    """

    state: State
    baseline: str | None
    reasons: tuple[Reason, ...]
    drift: tuple[dict[str, Any], ...]
    rows: dict[str, int]

    @property
    def blocked(self) -> bool:
        """Whether nothing may be trained on this data."""
        return self.state == "blocked"

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": 1,
            "state": self.state,
            "baseline": self.baseline,
            "reasons": [reason.to_dict() for reason in self.reasons],
            "drift": list(self.drift),
            "rows": self.rows,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Verdict:
        if data.get("format") != 1:
            raise ValueError("this verdict was written by a newer Flywheel; upgrade to read it")
        return cls(
            state=data["state"],
            baseline=data["baseline"],
            reasons=tuple(Reason.from_dict(reason) for reason in data["reasons"]),
            drift=tuple(data["drift"]),
            rows=dict(data["rows"]),
        )

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        return cls.from_dict(json.loads(text))

    @classmethod
    def load(cls, folder: str | pathlib.Path) -> Verdict:
        """Reads `verdict.json` from the folder of an anomalies artifact.

        Args:
          folder: Local path, or anything TFX's file systems can read.
        """
        if "://" in str(folder):
            from tfx.dsl.io import fileio  # only for remote folders: importing TFX is slow

            with fileio.open(f"{str(folder).rstrip('/')}/{VERDICT_FILE}") as file:
                return cls.from_json(file.read())
        return cls.from_json((pathlib.Path(folder) / VERDICT_FILE).read_text(encoding="utf-8"))


def state_of(reasons: tuple[Reason, ...]) -> State:
    """The state that reasons lead to."""
    severities = {reason.severity for reason in reasons}
    if "block" in severities:
        return "blocked"
    return "warned" if "warn" in severities else "passed"
