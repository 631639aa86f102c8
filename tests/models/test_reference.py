"""The boosted reference on real scikit-learn: tasks, missing cells, many categories, odd labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from models import metrics, reference
from models.rows import Rows
from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from models.student import answers, labels_of

NUMERIC = tuple(NumericFeature(n, 0.0, -9.0, 9.0, 0.0, 1.0) for n in "ab")
WORDS = CategoricalFeature("w", "string", tuple(f"v{i}" for i in range(5)))
CLASSES = {"binary": ("no", "yes"), "multiclass": ("x", "y", "z"), "regression": ()}


def spec_of(task: str, categorical=(WORDS,)) -> ModelSpec:
    more = (10.0, 5.0) if task == "regression" else ()
    return ModelSpec(task, "t", CLASSES[task], NUMERIC, tuple(categorical), *more)


def rows_of(task: str, n: int = 1500, seed: int = 0) -> Rows:
    """The answer hangs on an interaction of the numbers, and on the word."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    ids = rng.integers(0, WORDS.size, (n, 1)).astype(np.int32)
    score = 2 * x[:, 0] * x[:, 1] + (ids[:, 0] % 3 - 1) + 0.3 * rng.normal(size=n)
    labels = {
        "binary": score > 0,
        "multiclass": np.digitize(score, [-0.7, 0.7]),
        "regression": score,
    }[task]
    return Rows(x, ids, labels.astype(np.float32))


def score(spec: ModelSpec, logits: np.ndarray, rows: Rows) -> dict[str, float]:
    return metrics.score(spec.task, labels_of(spec, rows), answers(spec, logits))


@pytest.mark.parametrize("task", CLASSES)
def test_it_beats_a_constant_and_repeats(task):
    spec, train, test = spec_of(task), rows_of(task), rows_of(task, seed=1)
    made = reference.fit(spec, train, seed=3)
    logits = made.logits(test)
    assert logits.shape == (len(test), spec.units) and logits.dtype == np.float32
    if task == "regression":
        constant = np.full((len(test), 1), train.labels.mean(), np.float32)
    else:
        share = np.bincount(train.labels.astype(int)) / len(train)
        row = np.log(share)
        row = row[1:] - row[:1] if task == "binary" else row
        constant = np.tile(row, (len(test), 1))
    loss = "rmse" if task == "regression" else "log_loss"
    assert score(spec, logits, test)[loss] < 0.7 * score(spec, constant, test)[loss]
    again = reference.fit(spec, train, seed=3)
    np.testing.assert_array_equal(again.logits(test), logits)
    assert made.report() == again.report()
    assert 0 < made.rounds <= 150 and made.rows == made.available == len(train)


def test_a_missing_number_is_seen_as_missing():
    """Whether `a` is missing says all, and imputing hides it."""
    spec, rng = spec_of("binary", ()), np.random.default_rng(0)
    missing = rng.random(1000) < 0.5
    x = np.zeros((1000, 2), np.float32)
    raw = {"a": np.where(missing, np.nan, 0.0).reshape(-1, 1), "b": x[:, 1:]}
    rows = Rows(x, np.zeros((1000, 0), np.int32), missing.astype(np.float32), raw)
    seen = reference.fit(spec, rows).logits(rows)
    assert ((seen[:, 0] > 0) == missing).all()
    hidden = dataclasses.replace(rows, inputs=None)
    assert np.ptp(reference.fit(spec, hidden).logits(hidden)) == 0


def test_more_categories_than_the_booster_takes():
    """The most frequent ones stay apart; those never seen in train are answered all the same."""
    many = CategoricalFeature("m", "string", tuple(f"v{i}" for i in range(600)))
    spec, rng = spec_of("binary", (many,)), np.random.default_rng(0)
    common = rng.integers(590, 602, 4000)  # the ends of the vocabulary, not its beginning
    ids = np.where(rng.random(4000) < 0.1, rng.integers(0, 500, 4000), common)
    labels = (ids % 2).astype(np.float32)
    rows = Rows(np.zeros((4000, 2), np.float32), ids.reshape(-1, 1).astype(np.int32), labels)
    made = reference.fit(spec, rows)
    frequent = ids >= 590
    right = (made.logits(rows)[:, 0] > 0) == (labels == 1)
    assert right[frequent].all()
    every = Rows(
        np.zeros((602, 2), np.float32),
        np.arange(602, dtype=np.int32).reshape(-1, 1),
        np.zeros(602, np.float32),
    )
    assert np.isfinite(made.logits(every)).all()


def test_classes_that_train_lacks_are_unlikely_and_one_alone_is_certain():
    spec, rows = spec_of("multiclass"), rows_of("multiclass", 300)
    two = dataclasses.replace(rows, labels=np.where(rows.labels == 1, 2, rows.labels))
    probability = answers(spec, reference.fit(spec, two).logits(two))
    assert probability[:, 1].max() < 1e-4
    for task, label in (("multiclass", 1), ("binary", 0), ("binary", 1)):
        spec = spec_of(task)
        one = dataclasses.replace(rows, labels=np.full(300, label, np.float32))
        probability = answers(spec, reference.fit(spec, one).logits(one))
        p = probability[:, label] if task == "multiclass" else abs(1 - label - probability[:, 0])
        assert p.min() > 0.999


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("n", [1, 2, 30, 150])
def test_few_rows_are_enough_for_an_answer(task, n):
    spec, rows = spec_of(task), rows_of(task, n)
    assert np.isfinite(reference.fit(spec, rows).logits(rows_of(task, 50, 9))).all()


def test_beyond_the_bound_a_sample_is_learnt_from_and_said(monkeypatch):
    monkeypatch.setattr(reference, "MOST_ROWS", 700)
    spec, rows = spec_of("binary"), rows_of("binary", 1000)
    made = reference.fit(spec, rows, weights=np.ones(1000, np.float32))
    assert made.report()["rows"] == 700 and made.report()["rows_available"] == 1000
    assert score(spec, made.logits(rows), rows)["auc"] > 0.9


def test_weights_move_the_probabilities():
    spec, rows = spec_of("binary"), rows_of("binary")
    weights = np.where(rows.labels == 1, 5.0, 1.0)
    plain, weighted = (
        answers(spec, reference.fit(spec, rows, weights=w).logits(rows)).mean()
        for w in (None, weights)
    )
    assert weighted > plain + 0.02
