"""A variant, and which one ships."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from models import metrics
from models.spec import Task


@dataclasses.dataclass(frozen=True)
class Variant:
    """One quantized file and what is known about it.

    Attributes:
      name, recipe: The recipe's name.
      bytes, gzip_bytes: Size; None when it was not made.
      metrics: On the eval split, of the file itself.
      agreement: With the float network: largest difference, flip rate.
      latency_us: `p50`, `p90` for one row, one thread.
      rows_per_s: In batches.
      state: `shipped`, `eligible` (good, but another is smaller), `rejected`
        (too much quality lost), `skipped` (could not be made).
      reason: Why, in one sentence.
    """

    name: str
    recipe: str
    bytes: int | None = None
    gzip_bytes: int | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    agreement: dict[str, float] = dataclasses.field(default_factory=dict)
    latency_us: dict[str, float] = dataclasses.field(default_factory=dict)
    rows_per_s: float | None = None
    state: Literal["shipped", "eligible", "rejected", "skipped"] = "eligible"
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def choose(task: Task, variants: list[Variant], reference: float, max_drop: float) -> list[Variant]:
    """Marks the smallest variant that keeps the quality, and says why the others lost.

    Args:
      task: Decides the metric.
      variants: Made ones without a verdict, and skipped ones.
      reference: The float network's quality on the same rows.
      max_drop: Most quality that may be lost against it.

    Returns:
      The variants with state and reason, in the same order; none is shipped when
      none qualifies.
    """
    name = metrics.PRIMARY[task]
    floor = reference - max_drop

    def keeps(variant: Variant) -> bool:
        return variant.state != "skipped" and variant.metrics.get(name, float("-inf")) >= floor

    good = [v for v in variants if keeps(v)]
    best = min(good, key=lambda v: (v.bytes, -v.metrics[name]), default=None)
    decided = []
    for v in variants:
        if v.state == "skipped":
            decided.append(v)
        elif v is best:
            drop = reference - v.metrics[name]
            text = (
                f"smallest file within {max_drop:g} of the float student's {name} "
                f"({reference:.4f}): {_loses(drop)}"
            )
            decided.append(dataclasses.replace(v, state="shipped", reason=text))
        elif keeps(v):
            more = v.bytes - best.bytes
            text = (
                f"{more:,} bytes larger than {best.name}"
                if more
                else f"same size as {best.name}, {name} no better"
            )
            decided.append(dataclasses.replace(v, state="eligible", reason=text))
        else:
            got = v.metrics.get(name)
            text = (
                f"{_loses(reference - got)} against the float student's {name} "
                f"({reference:.4f}); at most {max_drop:g} is allowed"
                if got is not None
                else f"{name} cannot be computed on the eval split"
            )
            decided.append(dataclasses.replace(v, state="rejected", reason=text))
    return decided


def _loses(drop: float) -> str:
    return f"loses {drop:.4f}" if drop >= 0 else f"gains {-drop:.4f}"
