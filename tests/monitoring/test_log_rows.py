"""Rows of many requests: put together where that changes nothing."""

from __future__ import annotations

import datetime
import logging

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from monitoring import log_rows

NOON = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.timezone.utc)
SPEC = ModelSpec(
    "multiclass",
    "tips",
    ("a", "b", "c"),
    (NumericFeature("fare", 1.0, 0.0, 9.0, 1.0, 1.0),),
    (
        CategoricalFeature("area", "integer", ("1", "2"), "integer"),
        CategoricalFeature("company", "string", ("a", "b")),
    ),
)
CELLS = (
    st.none()
    | st.integers(-(2**70), 2**70)
    | st.floats(width=32)
    | st.text(st.characters(blacklist_categories=["Cs"]), max_size=4)
    | st.sampled_from(["2.5", "3", True, False, 3, 3.0])
)
ROW = st.dictionaries(st.sampled_from(["fare", "area", "company", "other"]), CELLS)
CLEAN = st.fixed_dictionaries(
    {
        "fare": st.none() | st.floats(width=32),
        "area": st.none() | st.integers(0, 9),
        "company": st.none() | st.sampled_from(["a", "b", "3"]),
    }
)


@st.composite
def requests(draw, rows):
    made = []
    for number in range(draw(st.integers(1, 6))):
        features = draw(st.lists(rows, min_size=1, max_size=3))
        n = len(features)
        outcomes = draw(st.sampled_from(["ok", ["WRONG_TYPE"] * n]))
        scores = np.random.default_rng(number).random((n, 3)).astype(np.float32)
        details = {
            "scores": draw(st.sampled_from([None, scores])),
            "request_ids": [f"{number}-{i}" for i in range(n)],
            "times": NOON + datetime.timedelta(seconds=number),
            "latency_us": draw(st.sampled_from([None, number, [number] * n])),
            "outcomes": outcomes,
        }
        made.append((features, details))
    return made


@given(requests(ROW) | requests(CLEAN))
def test_rows_put_together_are_the_rows_apart(made):
    apart = [log_rows.rows(SPEC, "v1", features, **details) for features, details in made]
    together = list(log_rows.tables(SPEC, "v1", made, most=4))
    expected, found = (pa.concat_tables(parts).to_pylist() for parts in (apart, together))
    assert repr(found) == repr(expected)  # NaN is NaN


def many(n: int) -> list:
    return [
        (
            [{"fare": float(i), "area": i % 3, "company": "a"}],
            {
                "scores": np.full((1, 3), i, np.float32),
                "request_ids": [str(i)],
                "times": NOON,
                "latency_us": i,
                "outcomes": "ok",
            },
        )
        for i in range(n)
    ]


def test_a_thousand_requests_are_one_table():
    tables = list(log_rows.tables(SPEC, "v1", many(2500)))
    assert [table.num_rows for table in tables] == [1000, 1000, 500]
    assert pa.concat_tables(tables).column("feature.fare").to_pylist() == list(range(2500))


def test_one_request_that_does_not_fit_takes_no_other_with_it(caplog: pytest.LogCaptureFixture):
    made = many(10)
    made[4][0][0]["company"] = "\ud800"  # half a surrogate pair is no text
    with caplog.at_level(logging.ERROR):
        tables = list(log_rows.tables(SPEC, "v1", made))
    ids = [name for table in tables for name in table.column("request_id").to_pylist()]
    assert ids == [str(i) for i in range(10) if i != 4]
    assert len(caplog.records) == 1
