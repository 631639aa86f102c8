"""What many windows at once yield is what one at a time does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.decisions import many, statistics
from monitoring.decisions.blocks import Column
from monitoring.measure import LABEL

COLUMNS = (
    Column("fare", "numeric", edges=(0.0, 1.0, 2.0, 3.0)),
    Column("rain", "numeric", edges=(0.0, 1.0, 2.0), mostly_zero=True),
    Column("city", "categorical", values=("a", "b", "c", "d", "e", "f")),
    Column(LABEL, "categorical", values=("0", "1")),
)


@settings(max_examples=60)
@given(
    st.sampled_from(COLUMNS),
    st.integers(0, 2**31),
    st.floats(0.5, 2000),
    st.floats(0.05, 3),
)
def test_as_one_at_a_time(column, seed, rows, evenness):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(column.cells, evenness), 5)
    reference = np.array([rng.poisson(s * rows * 3) for s in shares]).astype(float)
    windows = np.array([rng.poisson(s * rows) for s in shares]).astype(float)
    nonzero = None
    if column.mostly_zero:
        nonzero = (
            rng.integers(0, 50, (5, 3)).astype(float),
            rng.integers(0, 9, (5, 3)).astype(float),
        )
    found = many.changes(column, reference, windows, nonzero)
    for i, (p, q) in enumerate(zip(reference, windows, strict=True)):
        zeros = nonzero and (nonzero[0][i], nonzero[1][i])
        one = statistics.measure(column, p, q, zeros, p_values=False)
        assert {m.statistic for m in one} == set(found)
        for m in one:
            change = m.value
            if m.statistic not in ("psi", "ks"):
                before = statistics.reference_value(column, m.statistic, p, zeros and zeros[0])
                change -= before
                one_sided = m.statistic == "new_category_rate"
                change = max(change, 0.0) if one_sided else abs(change)
            if np.isnan(change):
                assert not np.isfinite(found[m.statistic][i])
            else:
                assert found[m.statistic][i] == pytest.approx(change, rel=1e-9, abs=1e-12)
