"""The laws of chance against SciPy and against chance itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monitoring import drift
from monitoring.decisions import laws

rows = st.integers(100, 50_000)


@settings(max_examples=30)
@given(st.floats(0.001, 0.5), rows, rows)
def test_the_ks_p_value_is_scipys_and_its_limit_the_inverse(distance, n, m):
    ours = laws.ks_p_value(distance, n, m)
    exact = stats.kstwo.sf(distance, round(n * m / (n + m)))
    assert ours == pytest.approx(exact, abs=1e-12 if ours <= 0.2 else 0.05)
    limit = laws.ks_limit(0.01, n, m)
    assert laws.ks_p_value(limit, n, m) == pytest.approx(0.01, rel=1e-3)


def test_the_ks_p_value_is_that_of_ks_2samp():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=700), rng.normal(0.1, size=900)
    found = stats.ks_2samp(x, y, method="asymp")
    assert laws.ks_p_value(found.statistic, 700, 900) == pytest.approx(found.pvalue, rel=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(100, 5000), st.integers(0, 60), st.integers(100, 5000))
def test_proportions_are_never_surer_than_fisher(x, n, y, m):
    """The binomial is a little wider than Fisher's hypergeometric."""
    ours = laws.proportion_p_value(x / n, n, y / m, m)
    above = stats.hypergeom.sf(x - 1, n + m, x + y, n)
    below = stats.hypergeom.cdf(x, n + m, x + y, n)
    if min(above, below) < 0.05:
        assert ours >= 2 * min(above, below) * 0.999


@settings(max_examples=30)
@given(st.floats(1e-5, 0.2), st.integers(50, 20_000), st.floats(0, 0.6), rows)
def test_the_limit_of_a_share_is_its_first_significant_increase(alpha, n, share, m):
    limit = laws.proportion_limit(alpha, n, share, m)
    if np.isfinite(limit):
        hits = round((share + limit) * n)
        assert laws.proportion_p_value(hits / n, n, share, m) < alpha
        assert laws.proportion_p_value((hits - 1) / n, n, share, m) >= alpha or hits <= share * n


def test_psi_exceeds_its_limit_as_often_as_it_says():
    rng = np.random.default_rng(1)
    n, m, cells, alpha = 2000, 8000, 10, 0.05
    shares = rng.dirichlet(np.full(cells, 20.0))
    p, q = rng.multinomial(m, shares, 4000), rng.multinomial(n, shares, 4000)
    limit = laws.psi_limit(alpha, cells, n, m)
    rate = np.mean(
        [drift.psi(a.astype(float), b.astype(float)) > limit for a, b in zip(p, q, strict=True)]
    )
    assert stats.binomtest(int(rate * 4000), 4000, alpha).pvalue > 1e-4


def test_a_detectable_psi_is_detected_as_often_as_it_says():
    rng = np.random.default_rng(2)
    n, m, cells, power = 3000, 100_000, 10, 0.8
    before = np.full(cells, 0.1)
    limit = laws.psi_limit(0.001, cells, n, m)
    wanted = laws.detectable_psi(limit, cells, n, m, power)
    direction = np.tile([1.0, -1.0], cells // 2) * 0.1
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        after = before + middle * direction
        true = float(np.sum((after - before) * np.log(after / before)))
        low, high = (middle, high) if true < wanted else (low, middle)
    after = before + low * direction
    found = [
        drift.psi(rng.multinomial(m, before).astype(float), q.astype(float)) > limit
        for q in rng.multinomial(n, after, 2000)
    ]
    assert np.mean(found) == pytest.approx(power, abs=0.04)


def test_no_rows_no_finding():
    assert laws.psi_limit(0.01, 10, 0, 100) == np.inf
    assert laws.ks_p_value(0.9, 0, 100) == 1.0
    assert laws.proportion_p_value(0.5, 0, 0.1, 100) == 1.0
    assert laws.detectable_psi(np.inf, 10, 0, 100, 0.8) == np.inf
