from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.spec import CategoricalFeature, ModelSpec, NumericFeature

numbers = st.floats(-1e6, 1e6)
names = st.text(min_size=1, max_size=20)


@st.composite
def specs(draw):
    numeric = draw(
        st.lists(st.builds(NumericFeature, names, numbers, numbers, numbers, numbers, numbers))
    )
    categorical = draw(
        st.lists(
            st.builds(
                CategoricalFeature,
                names,
                st.sampled_from(["integer", "string"]),
                st.lists(names, max_size=5).map(tuple),
            ),
            max_size=4,
        )
    )
    return ModelSpec("binary", "label", ("no", "yes"), tuple(numeric), tuple(categorical))


@given(specs())
def test_what_is_written_is_read(spec):
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@given(specs())
def test_each_feature_has_its_own_rows_of_the_shared_table(spec):
    taken = [
        row
        for feature, start in zip(spec.categorical, spec.offsets, strict=True)
        for row in range(start, start + feature.size)
    ]
    assert taken == list(range(spec.table_size))


def test_a_file_of_a_newer_format_is_refused():
    spec = ModelSpec("binary", "y", ("0", "1"), (), ())
    with pytest.raises(ValueError, match="newer Flywheel"):
        ModelSpec.from_dict({**spec.to_dict(), "format": 2})
