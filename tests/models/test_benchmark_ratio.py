"""Ratios with intervals, and the verdict they lead to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.benchmark.ratio import Ratio, ratio, verdict

RNG = st.integers(0, 2**31 - 1).map(np.random.default_rng)
ROUNDS = st.integers(2, 12)


def samples(rng, rounds: int, runs: int, level: float = 1.0) -> np.ndarray:
    return level * np.exp(rng.normal(0, 0.1, (rounds, runs)))


@settings(max_examples=30)
@given(RNG, ROUNDS)
def test_the_interval_holds_the_point_and_a_file_does_not_differ_from_itself(rng, rounds):
    x = samples(rng, rounds, 8)
    found = ratio(x, x, resamples=200)
    assert found.point == 1.0 and found.low <= 1.0 <= found.high
    assert not found.faster and not found.slower
    other = ratio(x, samples(rng, rounds, 5), resamples=200)
    assert 0 < other.low <= other.point <= other.high and other.rounds == rounds


@settings(max_examples=30)
@given(RNG, ROUNDS, st.floats(0.1, 10))
def test_scaling_the_times_scales_ratio_and_interval(rng, rounds, factor):
    a, b = samples(rng, rounds, 6), samples(rng, rounds, 6)
    one, scaled = ratio(a, b, resamples=100), ratio(a * factor, b, resamples=100)
    for name in ("point", "low", "high"):
        assert getattr(scaled, name) == pytest.approx(factor * getattr(one, name))


@settings(max_examples=30)
@given(RNG, ROUNDS)
def test_what_slows_a_whole_round_cancels(rng, rounds):
    a, b = samples(rng, rounds, 6), samples(rng, rounds, 6)
    slow = np.exp(rng.normal(0, 1.5, (rounds, 1)))
    quiet, busy = ratio(a, b, resamples=100), ratio(a * slow, b * slow, resamples=100)
    assert (busy.point, busy.low, busy.high) == pytest.approx((quiet.point, quiet.low, quiet.high))


@settings(max_examples=30)
@given(RNG, ROUNDS, st.floats(0.01, 1))
def test_more_time_never_looks_faster(rng, rounds, extra):
    a, b = samples(rng, rounds, 6), samples(rng, rounds, 6)
    one, more = ratio(a, b, resamples=100), ratio(a + extra, b, resamples=100)
    assert more.point > one.point and more.low > one.low and more.high > one.high


def test_one_round_bears_no_interval():
    found = ratio(np.full((1, 5), 2.0), np.full((1, 5), 1.0))
    assert (found.point, found.low, found.high) == (2.0, None, None)
    assert not found.faster and not found.slower


def test_rounds_must_pair_up():
    with pytest.raises(ValueError, match="pair"):
        ratio(np.ones((3, 2)), np.ones((4, 2)))


def test_with_one_run_a_round_it_is_the_bootstrap_of_the_median():
    rng = np.random.default_rng(3)
    a, b = samples(rng, 40, 1, 1.2), samples(rng, 40, 1)
    found = ratio(a, b, resamples=20_000)
    theirs = stats.bootstrap(
        ((a / b).ravel(),), np.median, method="percentile", n_resamples=20_000, random_state=1
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """On noise like a busy machine's: drift shared by a round, luck of each file, long tails."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        drift = np.exp(rng.normal(0, 0.25, (10, 1)))
        a, b = (
            level
            * drift
            * np.exp(rng.normal(0, 0.02, (10, 1)))
            * np.exp(0.05 * np.abs(rng.standard_t(3, (10, 20))))
            for level in (1.1, 1.0)
        )
        found = ratio(a, b, resamples=400)
        covered += found.low <= 1.1 <= found.high
    assert covered >= 0.91 * 200


def interval(low: float | None, high: float | None) -> Ratio:
    return Ratio(1.0, low, high, 0.95, 5)


@pytest.mark.parametrize(
    ("size", "low", "high", "words"),
    [
        (90, 0.8, 0.9, "smaller and faster"),
        (90, 1.1, 1.3, "smaller but slower here"),
        (90, 0.9, 1.1, "smaller, as fast"),
        (90, None, None, "smaller; speed not decided"),
        (110, 0.8, 0.9, "larger but faster here"),
        (110, 1.1, 1.3, "no gain"),
        (110, 0.9, 1.1, "no gain"),
        (100, 0.8, 0.9, "faster here"),
        (100, 0.9, 1.1, "no gain"),
        (100, None, None, "not decided"),
    ],
)
def test_the_interval_decides_never_the_point(size, low, high, words):
    assert verdict(size, 100, interval(low, high)) == words
