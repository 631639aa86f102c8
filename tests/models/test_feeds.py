from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import feeds
from models.errors import DataError
from models.spec import CategoricalFeature, ModelSpec, NumericFeature

SPEC = ModelSpec(
    "multiclass",
    "label",
    ("a", "b", "c"),
    (NumericFeature("x", 0.0, -1.0, 1.0, 0.0, 1.0),),
    (
        CategoricalFeature("n", "integer", ("1", "2"), "integer"),
        CategoricalFeature("s", "string", ("red", "blue")),
    ),
)


@given(st.lists(st.tuples(
    st.none() | st.floats(-1e6, 1e6, width=32),
    st.none() | st.integers(-1000, 1000),
    st.none() | st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=8),
), min_size=1, max_size=20))  # fmt: skip
def test_flat_columns_and_example_lists_are_fed_alike(rows):
    x, n, s = zip(*rows, strict=True)
    flat = pa.table({
        "x": pa.array(x, pa.float32()), "n": pa.array(n, pa.int64()), "s": pa.array(s, pa.string())
    })  # fmt: skip

    def listed(values, kind):
        return pa.array([None if v is None else [v] for v in values], pa.list_(kind))

    encoded = [None if v is None else v.encode() for v in s]
    lists = pa.table({
        "x": listed(x, pa.float32()), "n": listed(n, pa.int64()), "s": listed(encoded, pa.binary())
    })  # fmt: skip
    one, other = feeds.encode(SPEC, flat), feeds.encode(SPEC, lists)
    for name in ("x", "n"):
        np.testing.assert_array_equal(one[name], other[name])
        assert one[name].shape == (len(rows), 1) and one[name].dtype == np.float32
    assert one["s"].tolist() == other["s"].tolist()
    assert [v for [v] in one["s"].tolist()] == [(v or "").encode() for v in s]
    assert np.isnan(one["x"][:, 0]).tolist() == [v is None for v in x]


def test_a_column_the_table_lacks_is_fed_as_missing():
    fed = feeds.encode(SPEC, pa.table({"other": [1, 2]}))
    assert np.isnan(fed["x"]).all() and np.isnan(fed["n"]).all()
    assert fed["s"].tolist() == [[b""], [b""]]


def test_text_in_a_numeric_feature_is_an_error_that_names_the_values():
    with pytest.raises(DataError) as error:
        feeds.encode(SPEC, pa.table({"x": ["1.5", "12,45", None]}))
    assert error.value.reason.code == "TYPE_CHANGED"
    assert error.value.reason.cases == ({"row": 1, "column": "x", "value": "12,45"},)


def test_numbers_written_as_text_are_read_as_numbers():
    assert feeds.encode(SPEC, pa.table({"x": ["1.5", None]}))["x"][0, 0] == 1.5


def test_text_in_an_integer_category_is_an_unknown_value():
    fed = feeds.encode(SPEC, pa.table({"n": ["2", "two", None]}))["n"][:, 0]
    assert fed[0] == 2 and fed[1] < -1000 and np.isnan(fed[2])


@pytest.mark.parametrize("values", [[3, None], [3.0, None], ["3", None]])
def test_whole_numbers_read_the_same_whatever_type_they_came_in(values):
    assert feeds.to_text(pa.array(values)).tolist() == ["3", None]


def test_labels_become_class_indices_and_unknown_ones_missing():
    found = feeds.label_index(SPEC, pa.array(["b", "a", None, "z", "c"]))
    np.testing.assert_array_equal(found, np.array([1, 0, np.nan, np.nan, 2], np.float32))


def test_several_values_in_a_cell_are_refused():
    with pytest.raises(DataError, match="several values"):
        feeds.flat_column(pa.table({"x": pa.array([[1.0, 2.0]])}), "x")
