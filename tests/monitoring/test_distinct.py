"""Distinct values tell what the rows would."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import distinct, summaries

VALUES = st.lists(
    st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 1))
    | st.sampled_from([np.nan, np.inf, -np.inf, None]),
    min_size=1,
    max_size=200,
)


@settings(deadline=None, max_examples=150)
@given(VALUES, st.integers(1, 12))
def test_edges_counts_and_median_are_those_of_the_rows(values: list, bins: int) -> None:
    rows = np.array([np.nan if v is None else v for v in values], float)
    found = distinct.Numbers.of(pa.array(values, pa.float64()), "x")
    whole = np.round(rows * 10)  # whole numbers, which `summaries` keeps in double precision
    numbers = distinct.Numbers.of(pa.array(whole), "x")
    present = whole[np.isfinite(whole)]
    edges = numbers.edges(bins)
    if len(present):
        wanted = np.quantile(present, np.arange(1, bins + 1) / bins, method="inverted_cdf")
        assert edges[1:] == tuple(np.unique(wanted))
        assert edges[0] == np.nextafter(present.min(), -np.inf)
    else:
        assert edges == ()
    binned = numbers.binned(edges)
    known = whole[~np.isnan(whole)]
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    assert binned.counts == tuple(counts.astype(float))
    assert found.missing == binned.missing == np.isnan(rows).sum()
    finite = np.sort(rows[np.isfinite(rows)])
    if len(finite):
        assert found.finite().median() == pytest.approx(np.median(finite))


@given(st.lists(st.sampled_from(["a", "b", "", None]), min_size=1))
def test_texts_are_counted_as_rows_are(values: list) -> None:
    counts, missing = distinct.texts(pa.array(values, pa.string()))
    wanted = summaries.count_values(np.array(values, object))
    assert (counts, float(missing)) == (wanted.counts, wanted.missing)


def test_dictionaries_and_whole_numbers_read_alike() -> None:
    plain = pa.array(["a", "b", "a", None])
    assert distinct.texts(plain.dictionary_encode()) == distinct.texts(plain)
    assert distinct.texts(pa.array([3.0, 3.0, float("nan")])) == ({"3": 2.0}, 1)
