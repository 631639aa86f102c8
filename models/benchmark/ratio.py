"""How much faster or slower: a ratio with its interval, and the verdict in words."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Ratio:
    """Latency of one file divided by the reference's.

    Attributes:
      point: The estimate; below 1 is faster.
      low, high: Its interval; None when there was one round only.
      confidence: Of the interval.
      rounds: Paired rounds it rests on.
    """

    point: float
    low: float | None
    high: float | None
    confidence: float
    rounds: int

    @property
    def faster(self) -> bool:
        """The whole interval lies below 1."""
        return self.high is not None and self.high < 1.0

    @property
    def slower(self) -> bool:
        """The whole interval lies above 1."""
        return self.low is not None and self.low > 1.0

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def ratio(
    candidate: np.ndarray,
    reference: np.ndarray,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratio:
    """Ratio of median latencies, paired by round.

    Estimate: the median over rounds of `median(candidate runs) / median(reference runs)`, so
    that a slow moment of the machine, which hits both files of a round, cancels. Interval: the
    hierarchical bootstrap of Kalibera & Jones, "Rigorous Benchmarking in Reasonable Time"
    (ISMM 2013) - rounds are drawn with replacement, the same for both files, then runs within
    each drawn round - between percentiles (Efron & Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 13).

    Args:
      candidate, reference: Seconds (any unit), `[rounds, runs]`; as many rounds, runs may differ.
      confidence: Of the interval.
      resamples: Bootstrap draws.
      seed: Of the draws.
    """
    rounds = len(reference)
    if len(candidate) != rounds or not rounds:
        raise ValueError(f"rounds must pair up: {len(candidate)} and {rounds}")
    point = float(np.median(np.median(candidate, axis=1) / np.median(reference, axis=1)))
    if rounds == 1:
        return Ratio(point, None, None, confidence, rounds)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, rounds, (resamples, rounds))
    medians = [_resampled_medians(x, drawn, rng) for x in (candidate, reference)]
    estimates = np.median(medians[0] / medians[1], axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(estimates, [tail, 1.0 - tail])
    # The estimate of resampled medians may miss the point by a hair of rounding.
    return Ratio(point, float(min(low, point)), float(max(high, point)), confidence, rounds)


def _resampled_medians(
    samples: np.ndarray, drawn: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Medians `[resamples, rounds]` of runs drawn anew within each drawn round."""
    runs = samples.shape[1]
    if runs == 1:
        return samples[drawn, 0]
    picked = rng.integers(0, runs, (*drawn.shape, runs))
    return np.median(samples[drawn[..., None], picked], axis=-1)


def verdict(size: int, reference_size: int, latency: Ratio | None) -> str:
    """The gain in words; the interval decides about speed, never the point.

    Args:
      size, reference_size: Bytes.
      latency: Against the reference; None, or without an interval: speed is left open.
    """
    if latency is None or latency.low is None:
        return "smaller; speed not decided" if size < reference_size else "not decided"
    if size < reference_size:
        if latency.faster:
            return "smaller and faster"
        return "smaller but slower here" if latency.slower else "smaller, as fast"
    if latency.faster:
        return "larger but faster here" if size > reference_size else "faster here"
    return "no gain"
