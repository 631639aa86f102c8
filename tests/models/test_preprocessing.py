"""The contract from real TFDV statistics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from models.errors import DataError
from models.options import PreprocessingOptions, TaskOptions
from models.preprocessing import build_spec

BINARY = TaskOptions(label="y", type="binary")


def spec_of(columns: dict, kinds: dict, task: TaskOptions = BINARY, **options):
    frame = pd.DataFrame(columns)
    schema = schema_pb2.Schema()
    for name, kind in {**kinds, task.label: "categorical"}.items():
        integer = name in frame and pd.api.types.is_integer_dtype(frame[name])
        if kind == "categorical" and integer and task.type != "regression":
            feature = schema.feature.add(name=name, type=schema_pb2.INT)
            feature.int_domain.is_categorical = True
    statistics = tfdv.generate_statistics_from_dataframe(
        frame,
        tfdv.StatsOptions(
            schema=schema,
            num_top_values=50_000,
            num_rank_histogram_buckets=50_000,
            num_quantiles_histogram_buckets=100,
        ),
    )
    return build_spec(statistics, kinds, task, PreprocessingOptions(**options))


Y = np.arange(2000) % 2


def test_moments_are_those_of_the_clipped_values():
    x = np.random.default_rng(0).lognormal(size=2000)
    [f] = spec_of({"x": x, "y": Y}, {"x": "numeric"}).numeric
    clipped = np.clip(x, f.low, f.high)
    assert f.mean == pytest.approx(clipped.mean(), abs=0.05 * clipped.std())
    assert f.std == pytest.approx(clipped.std(), rel=0.15)
    assert f.impute == pytest.approx(np.median(x), rel=0.05)
    assert f.low == pytest.approx(x.min(), rel=1e-5) and f.high <= x.max()


def test_a_wild_outlier_does_not_set_the_scale():
    x = np.random.default_rng(0).normal(size=2000)
    x[7] = 1e12
    [f] = spec_of({"x": x, "y": Y}, {"x": "numeric"}).numeric
    assert f.high < 20 and 0.5 < f.std < 2


def test_a_mostly_zero_feature_keeps_its_range():
    x = np.where(np.arange(2000) % 400 == 0, 5.0, 0.0)
    [f] = spec_of({"x": x, "y": Y}, {"x": "numeric"}).numeric
    assert (f.low, f.high) == (0.0, 5.0) and f.std > 0


def test_constant_and_empty_columns_are_left_out():
    columns = {"x": Y * 1.0, "c": 3.0, "e": np.nan, "s": "same", "y": Y}
    spec = spec_of(columns, {"x": "numeric", "c": "numeric", "s": "categorical"})
    assert [f.name for f in spec.numeric] == ["x"]


def test_vocabularies_keep_the_frequent_and_the_allowed():
    values = ["a"] * 1000 + ["b"] * 900 + ["c"] * 96 + ["d"] * 4
    columns = {"s": values, "y": Y}
    [f] = spec_of(columns, {"s": "categorical"}).categorical
    assert f.vocabulary == ("a", "b", "c")
    [f] = spec_of(columns, {"s": "categorical"}, max_vocabulary=2).categorical
    assert f.vocabulary == ("a", "b")


def test_integers_are_ascending_numbers_and_wide_ones_text():
    columns = {"n": np.arange(2000) % 10, "w": (np.arange(2000) % 3) * 100_000, "y": Y}
    narrow, wide = spec_of(columns, {"n": "categorical", "w": "categorical"}).categorical
    assert narrow.dtype == "integer" and narrow.vocabulary == tuple(map(str, range(10)))
    assert wide.dtype == "string" and wide.column_type == "integer"
    assert set(wide.vocabulary) == {"0", "100000", "200000"}


@pytest.mark.parametrize(
    ("labels", "task", "classes"),
    [
        (["no", "yes"], BINARY, ("no", "yes")),
        (["yes", "zero"], BINARY, ("zero", "yes")),
        (["b", "a"], BINARY, ("a", "b")),
        (["b", "a"], TaskOptions(label="y", type="binary", positive="a"), ("b", "a")),
        ([10, 9], TaskOptions(label="y", type="multiclass"), ("9", "10")),
    ],
)
def test_classes(labels, task, classes):
    columns = {"x": np.arange(2000.0), "y": labels * 1000}
    assert spec_of(columns, {"x": "numeric"}, task).classes == classes


def test_regression_keeps_the_unit_of_the_label():
    y = np.arange(2000.0)
    spec = spec_of({"x": y, "y": y}, {"x": "numeric"}, TaskOptions(label="y", type="regression"))
    assert spec.target_mean == pytest.approx(y.mean()) and spec.target_std == pytest.approx(y.std())


@pytest.mark.parametrize(
    ("columns", "kinds", "task", "code"),
    [
        ({"x": Y * 1.0, "y": 1}, {"x": "numeric"}, BINARY, "LABEL_UNUSABLE"),
        ({"x": Y * 1.0, "y": np.arange(2000) % 3}, {"x": "numeric"}, BINARY, "LABEL_UNUSABLE"),
        ({"x": Y * 1.0}, {"x": "numeric"}, BINARY, "LABEL_UNUSABLE"),
        ({"x": "t", "y": Y}, {"x": "numeric"}, BINARY, "TYPE_CHANGED"),
        ({"x": 1.5, "y": Y}, {"x": "numeric"}, BINARY, "NO_FEATURES"),
        ({"x": Y * 1.5, "y": Y}, {"x": "categorical"}, BINARY, "NOT_CATEGORICAL"),
        (
            {"x": Y * 1.0, "y": "t"},
            {"x": "numeric"},
            TaskOptions(label="y", type="regression"),
            "LABEL_UNUSABLE",
        ),
        (
            {"x": Y * 1.0, "y": Y},
            {"x": "numeric"},
            TaskOptions(label="y", type="binary", positive="2"),
            "LABEL_UNUSABLE",
        ),
    ],
)
def test_what_cannot_be_used_is_said(columns, kinds, task, code):
    with pytest.raises(DataError) as error:
        spec_of({"k": np.arange(2000), **columns}, kinds, task)
    assert error.value.reason.code == code
