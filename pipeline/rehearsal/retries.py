"""When a failed task is tried again."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """A task's retry policy, as Kubeflow hands it to Argo.

    Attributes:
      count: Retries at most.
      wait: Seconds before the first one.
      factor: Each wait is this many times the one before.
      span: Seconds after the first start beyond which nothing is tried again; None: no limit.
        The specification calls it the longest wait; Argo takes it for the whole.
    """

    count: int = 0
    wait: float = 0.0
    factor: float = 2.0
    span: float | None = None

    @classmethod
    def of(cls, task: dict[str, Any]) -> RetryPolicy:
        """Of a PipelineTaskSpec."""
        policy = task.get("retryPolicy", {})
        return cls(
            int(policy.get("maxRetryCount", 0)),
            seconds(policy.get("backoffDuration", "0s")),
            float(policy.get("backoffFactor", 0)) or 2.0,
            seconds(policy.get("backoffMaxDuration", "0s")) or None,
        )

    def next_wait(self, failures: int, elapsed: float) -> float | None:
        """Seconds until the next try; None when there is none.

        Args:
          failures: How often it failed so far.
          elapsed: Seconds since the first start.
        """
        wait = self.wait * self.factor ** (failures - 1)
        if failures > self.count or self.span is not None and elapsed + wait > self.span:
            return None
        return wait


def seconds(duration: str) -> float:
    """`1.5s` as 1.5."""
    return float(duration.removesuffix("s") or 0)
