from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

from models.errors import ConfigError, DataError
from pipeline import config as config_module
from pipeline.guess import guess, look
from pipeline.starter import starter_config

N = 400
RNG = np.random.default_rng(0)


def guessed(columns: dict, label: str | None = None):
    return guess(look(pa.table(columns)), label)


@pytest.mark.parametrize(
    ("name", "task", "features"),
    [("iris", "multiclass", 4), ("breast_cancer", "binary", 30), ("diabetes", "regression", 10),
     ("digits", "multiclass", 61)],
)  # fmt: skip
def test_known_tables(name, task, features):
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    found = guess(look(pa.Table.from_pandas(frame, preserve_index=False)))
    assert (found.label, found.task) == ("target", task)
    assert [k for k in found.kinds.values() if k != "ignore"] == ["numeric"] * features


COLUMNS = {
    "customer_id": np.arange(N),
    "signup": [f"2024-01-{d % 28 + 1:02d} 10:00:00" for d in range(N)],
    "plan": RNG.choice(["free", "pro", "team"], N),
    "comment": [f"text number {i}" for i in range(N)],
    "visits": RNG.integers(0, 500, N),
    "zone": RNG.integers(1, 30, N),
    "spend": RNG.normal(size=N),
    "country": ["DE"] * N,
    "empty": pa.nulls(N),
    "churned": RNG.choice(["yes", "no"], N),
}


def test_kinds_and_their_reasons():
    found = guessed(COLUMNS)
    assert (found.label, found.task, found.time) == ("churned", "binary", "signup")
    assert found.kinds == {
        "customer_id": "ignore",
        "signup": "ignore",
        "plan": "categorical",
        "comment": "ignore",
        "visits": "numeric",
        "zone": "categorical",
        "spend": "numeric",
        "country": "ignore",
        "empty": "ignore",
    }
    assert found.why["country"] == "always DE" and "identifier" in found.why["customer_id"]
    assert found.slices == ("plan",)


def test_the_label_that_was_named_wins():
    assert guessed(COLUMNS, "plan").task == "multiclass"
    assert guessed(COLUMNS, "spend").task == "regression"
    with pytest.raises(ConfigError, match="Did you mean 'spend'"):
        guessed(COLUMNS, "spent")


@pytest.mark.parametrize("label", ["country", "empty", "comment"])
def test_a_label_that_cannot_be_learnt(label):
    with pytest.raises(DataError) as error:
        guessed(COLUMNS, label)
    assert error.value.reason.code == "LABEL_UNUSABLE"


names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(st.lists(names, min_size=3, max_size=6, unique=True), names)
def test_the_config_that_is_written_is_valid_whatever_columns_are_called(columns, path):
    table = {name: RNG.normal(size=30) for name in columns}
    table[columns[0]] = np.arange(30) % 2
    found = guessed(table, columns[0])
    text = starter_config("demo", path, found, None, 30)
    config = config_module.parse(yaml.safe_load(text))
    assert config.task.label == columns[0] and config.data.path == path
    assert set(config.features) == set(columns[1:])
