"""A variant: one file and what is known about it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Variant:
    """One quantized file and what is known about it.

    Attributes:
      name, recipe: The recipe's name.
      bytes, gzip_bytes: Size; None when it was not made.
      metrics: On the eval split, of the file itself.
      agreement: With the float network: largest difference, flip rate.
      quality: Drops against the float student with their intervals, overall and by
        slice (`quality.compare`).
      saturation: Share of 8-bit activations at the end of their range, on eval rows; None
        for files without any.
      latency_us: `p50`, `p90` for one row, one thread.
      latency_ratio: To the float32 file, with its interval (`models.benchmark.ratio`).
      rows_per_s: In batches.
      verdict: What the file gains here, in words (`smaller and faster` ...).
      state: `shipped`, `eligible` (good, but another is better), `rejected`
        (outside the bounds), `skipped` (could not be made).
      reason: Why, in one sentence.
      picks: Which of `quality`, `balanced`, `compact` it is.
    """

    name: str
    recipe: str
    bytes: int | None = None
    gzip_bytes: int | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    agreement: dict[str, float] = dataclasses.field(default_factory=dict)
    quality: dict[str, Any] = dataclasses.field(default_factory=dict)
    saturation: float | None = None
    latency_us: dict[str, float] = dataclasses.field(default_factory=dict)
    latency_ratio: dict[str, Any] = dataclasses.field(default_factory=dict)
    rows_per_s: float | None = None
    verdict: str = ""
    state: Literal["shipped", "eligible", "rejected", "skipped"] = "eligible"
    reason: str = ""
    picks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
