from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from cloud_functions.predict.rows import Decoder
from models import feeds
from tests.cloud_functions.conftest import ROW, SPEC

DECODER = Decoder(SPEC)
FLOATS = st.floats(-3e38, 3e38, width=64)
ROWS = st.fixed_dictionaries(
    {
        "fare": st.none() | FLOATS,
        "miles": st.none() | st.integers(-(2**60), 2**60),
        "hour": st.none() | st.integers(-(2**60), 2**60),
        "payment": st.none() | st.text(st.characters(blacklist_categories=["Cs"])),
    }
).filter(lambda row: any(value not in (None, "") for value in row.values()))
TYPES = {"fare": pa.float64(), "miles": pa.int64(), "hour": pa.int64(), "payment": pa.string()}


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_rows_are_encoded_as_a_table_is(rows):
    decoded = DECODER.decode(rows)
    table = pa.table({n: pa.array([row[n] for row in rows], t) for n, t in TYPES.items()})
    assert not decoded.errors and decoded.good == list(range(len(rows)))
    for name, expected in feeds.encode(SPEC, table).items():
        found = decoded.inputs[name]
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("value", "same"),
    [(3, "3"), (3.0, "3"), (True, "true"), (0.5, "0.5"), ("Cash", "Cash"), (-0.0, "0")],
)
def test_a_text_category_reads_the_same_whatever_type_it_came_in(value, same):
    found = DECODER.decode([{"payment": value}]).inputs["payment"][0, 0]
    assert found == same.encode()
    column = pa.array([value])
    assert feeds.encode_column(SPEC.categorical[1], column)[0, 0] == found


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"fare": "12"}, "WRONG_TYPE"),
        ({"fare": True}, "WRONG_TYPE"),
        ({"fare": [1]}, "WRONG_TYPE"),
        ({"fare": float("inf")}, "OUT_OF_RANGE"),
        ({"fare": float("nan")}, "OUT_OF_RANGE"),
        ({"fare": 10**400}, "OUT_OF_RANGE"),
        ({"fare": 1e39}, "OUT_OF_RANGE"),
        ({"hour": 1.5}, "WRONG_TYPE"),
        ({"hour": "noon"}, "WRONG_TYPE"),
        ({"hour": True}, "WRONG_TYPE"),
        ({"hour": 2**63}, "OUT_OF_RANGE"),
        ({"hour": float("inf")}, "WRONG_TYPE"),
        ({"payment": {"b64": ""}}, "WRONG_TYPE"),
        ({"payment": "\ud800"}, "INVALID_TEXT"),
        ({"payment": "x" * 5000}, "TOO_LONG"),
        ({"payment": 10**30}, "OUT_OF_RANGE"),
        ({"fair": 1.0}, "UNKNOWN_FEATURE"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(change, code):
    decoded = DECODER.decode([ROW, {**ROW, **change}, ROW])
    assert decoded.good == [0, 2] and list(decoded.bad) == [1]
    [error] = decoded.errors
    assert (error.row, error.code, error.feature) == (1, code, next(iter(change)))
    assert error.message.endswith((".", "?")) and error.message.isascii()
    assert len(error.message) < 200


def test_a_misspelt_feature_is_told_with_the_closest_name():
    [error] = DECODER.decode([{**ROW, "fair": 1.0}]).errors
    assert "Did you mean 'fare'?" in error.message
    decoded = Decoder(SPEC, ignore_unknown=True).decode([{**ROW, "fair": 1.0}])
    assert decoded.good == [0] and not decoded.errors


@pytest.mark.parametrize("row", [{}, {"fare": None}, {"payment": ""}])
def test_a_row_without_any_value_is_none(row):
    [error] = DECODER.decode([row]).errors
    assert error.code == "EMPTY_ROW"


@pytest.mark.parametrize("row", [None, 1, "a", [1], True])
def test_a_row_is_an_object(row):
    [error] = DECODER.decode([row]).errors
    assert error.code == "NOT_AN_OBJECT"
