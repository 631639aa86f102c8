"""`monitoring.compare`: from rows, equal to SciPy."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import monitoring
from models.errors import DataError

VALUES = st.lists(
    st.floats(-1e6, 1e6, allow_nan=False) | st.sampled_from([0.0, 1.0, np.nan]),
    min_size=3,
    max_size=120,
)


@settings(max_examples=150)
@given(VALUES, VALUES)
def test_ks_and_wasserstein_are_scipys(reference: list[float], current: list[float]) -> None:
    found = monitoring.compare({"x": reference}, {"x": current}, kinds={"x": "numeric"})["x"]
    p, q = ([v for v in side if v == v] for side in (reference, current))
    if not p or not q:
        assert found.ks is None and found.wasserstein is None
        return
    assert found.ks == pytest.approx(stats.ks_2samp(p, q).statistic, abs=1e-6)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(p, q), rel=1e-6, abs=1e-6)
    assert found.missing_current == pytest.approx(1 - len(q) / len(current))


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from("abcd"), min_size=1), st.lists(st.sampled_from("abcde"), min_size=1)
)
def test_categories_are_scipys(reference: list[str], current: list[str]) -> None:
    found = monitoring.compare({"x": reference}, {"x": current})["x"]
    names = sorted(set(reference) | set(current))
    p, q = (np.array([side.count(n) for n in names]) / len(side) for side in (reference, current))
    from scipy.spatial.distance import jensenshannon

    assert found.jsd == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-6)
    assert found.linf == pytest.approx(np.abs(p - q).max(), abs=1e-9)


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)

    def draw(n: int, factor: float) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "fare": rng.lognormal(2.06, 0.5, n) * factor,
                "hour": rng.integers(0, 24, n),
                "seats": rng.integers(1, 5, n),
                "paid": rng.choice(["Cash", "Card", None], n),
                "when": pd.Timestamp("2026-01-01"),
            }
        )

    return draw(5000, 1.0), draw(3000, 1.23).drop(columns="hour").assign(extra=1)


def test_what_a_reader_gets() -> None:
    found = monitoring.compare(*tables())
    assert found.drifted == ("fare",)
    assert (found.only_reference, found.only_current) == (("hour",), ("extra",))
    assert found["seats"].kind == "categorical" and found["fare"].kind == "numeric"
    assert "when" not in {f.feature for f in found.features}
    frame = found.to_dataframe()
    assert frame.index[0] == "fare" and frame.loc["fare", "ks"] > 0.1
    stream = io.StringIO()
    found.show(stream)
    assert "fare" in stream.getvalue() and "→" in stream.getvalue()
    assert "<table>" in found._repr_html_()
    json.dumps(found.to_dict())
    with pytest.raises(KeyError, match="Did you mean 'fare'"):
        found["fair"]


def test_arrow_and_names_are_taken_and_escaped() -> None:
    table = pa.table({"<b>": [1.5, 2.5, None], "k": ["a", "b", "a"]})
    found = monitoring.compare(table, table)
    assert all(f.psi == 0 and not f.drifted for f in found.features)
    assert "<b>" not in found._repr_html_()


def test_nothing_in_common() -> None:
    with pytest.raises(DataError) as error:
        monitoring.compare({"a": [1]}, {"b": [1]})
    assert error.value.reason.code == "NOTHING_TO_COMPARE"
