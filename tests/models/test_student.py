"""Distilling from one seed, who may be the teacher, the search for a shape, and gains."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models import gain, reference, teachers
from models.losses import hint_objective, label_objective
from models.options import DistillationOptions, SearchOptions, StudentOptions, TeacherOptions
from models.rows import Rows
from models.search import candidates, search
from models.spec import ModelSpec, NumericFeature
from models.student import (
    Lesson,
    answers,
    distill,
    labels_of,
    last_hidden,
    learn,
    loss_of,
    row_weights,
    train,
)
from models.training import predict_logits
from tests.models.test_training import SPECS, rows

SPEC = SPECS["binary"]
PART, VALID = rows("binary"), rows("binary", seed=1)
SHAPE = TeacherOptions(epochs=6)
QUICK = StudentOptions(epochs=4)


@pytest.fixture(scope="module")
def network():
    return train(SPEC, PART, VALID, SHAPE, name="teacher", usual_epochs=6).network


@pytest.fixture(scope="module")
def trees():
    return reference.fit(SPEC, PART)


def prepared(network, trees, extra=None, **options) -> Lesson:
    return teachers.prepare(
        SPEC,
        network,
        SHAPE,
        trees,
        PART,
        VALID,
        DistillationOptions(**options),
        extra_rows=extra,
    )


def test_distillation_gives_a_student_and_two_controls(network):
    extra = Rows(PART.numeric[:100], PART.ids[:100], np.full(100, np.nan, np.float32))
    seen = PART.append(extra)
    loss = loss_of(SPEC, predict_logits(network, SPEC, VALID), VALID)
    lesson = Lesson(seen, predict_logits(network, SPEC, seen), loss)
    made = distill(SPEC, lesson, PART, VALID, StudentOptions(), DistillationOptions())
    assert list(made) == ["distilled", "control", "control_dropout"]
    assert len({t.parameters for t in made.values()}) == 1
    assert made["distilled"].parameters < network.count_params()
    assert made["distilled"].metrics["auc"] > 0.9
    curves = [t.curves.train_loss for t in made.values()]
    assert curves[0] != curves[1] != curves[2]


@pytest.mark.parametrize("task", SPECS)
def test_the_mean_is_of_probabilities(task):
    spec, rng = SPECS[task], np.random.default_rng(0)
    parts = [rng.normal(0, 3, (50, spec.units)).astype(np.float32) for _ in range(3)]
    expected = np.mean([answers(spec, z.astype(np.float64)) for z in parts], axis=0)
    got = answers(spec, teachers.mean_logits(spec, parts).astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(teachers.mean_logits(spec, parts[:1]), parts[0])


def test_the_mean_of_the_very_sure_is_finite():
    z = [np.array([[800.0], [-800.0]]), np.array([[800.0], [800.0]])]
    np.testing.assert_allclose(teachers.mean_logits(SPEC, z), [[800.0], [0.0]], atol=1e-4)


def test_the_best_on_eval_labels_or_the_mean_where_it_is_better():
    y = VALID.labels
    right = ((2 * y - 1) * 2.0).reshape(-1, 1).astype(np.float32)
    assert teachers.choose(SPEC, {"a": right, "b": -right}, VALID)[0] == ("a",)
    assert teachers.choose(SPEC, {"a": -right, "b": right}, VALID)[0] == ("b",)
    odd = (np.arange(len(y)) % 2 == 0).reshape(-1, 1)
    halves = {"a": np.where(odd, right, 0.0), "b": np.where(odd, 0.0, right)}
    names, losses = teachers.choose(
        SPEC, {k: z.astype(np.float32) for k, z in halves.items()}, VALID
    )
    assert names == ("a", "b") and losses["mean"] == min(losses.values())
    assert teachers.choose(SPEC, {"a": right}, VALID) == (
        ("a",),
        {"a": loss_of(SPEC, right, VALID)},
    )


def test_every_teacher_is_asked_and_the_one_with_the_lowest_loss_labels(network, trees):
    lesson = prepared(network, trees, teachers=("network", "ensemble", "trees"), ensemble=2)
    assert set(lesson.candidates) == {"network", "ensemble", "trees", "mean"}
    assert lesson.eval_loss == min(lesson.candidates.values())
    assert lesson.hints is None and lesson.logits.shape == (len(PART), 1)
    alone = prepared(network, trees, teachers=("network",))
    assert alone.teachers == ("network",) and set(alone.candidates) == {"network"}
    np.testing.assert_array_equal(alone.logits, predict_logits(network, SPEC, PART))


def test_trees_label_extra_rows_by_what_they_see_there(network, trees):
    """Missing numbers show in the raw inputs of train and extra rows alike."""
    raw = {"a": np.full((5, 1), np.nan, np.float32), "b": np.zeros((5, 1), np.float32)}
    extra = Rows(
        np.zeros((5, 2), np.float32),
        np.zeros((5, 0), np.int32),
        np.full(5, np.nan, np.float32),
        raw,
    )
    lesson = prepared(network, trees, extra, teachers=("trees",))
    assert lesson.teachers == ("trees",) and len(lesson.rows) == len(PART) + 5
    np.testing.assert_array_equal(lesson.logits[-5:], trees.logits(extra))
    np.testing.assert_array_equal(lesson.logits[:-5], trees.logits(PART))


@pytest.mark.parametrize("task", SPECS)
def test_with_hints_the_hidden_layer_comes_closer_to_the_teachers(task):
    """As far as a linear map can tell, by least squares on rows of eval."""
    spec, part, valid = SPECS[task], rows(task), rows(task, seed=1)
    network = train(spec, part, valid, SHAPE, name="t", usual_epochs=6).network
    trees = reference.fit(spec, part)

    def unexplained(weight: float) -> tuple[float, list[str]]:
        options = DistillationOptions(teachers=("network",), hint=weight)
        lesson = teachers.prepare(spec, network, SHAPE, trees, part, valid, options)
        if weight:
            np.testing.assert_allclose(lesson.hints.mean(axis=0), 0, atol=1e-4)
        made = learn(spec, lesson, valid, StudentOptions(epochs=15), options)
        student, teacher = (
            predict_logits(last_hidden(n), spec, valid) for n in (made.network, network)
        )
        a = np.column_stack([student, np.ones(len(student))])
        rest = teacher - a @ np.linalg.lstsq(a, teacher, rcond=None)[0]
        return float((rest**2).mean()), [layer.name for layer in made.network.layers]

    (plain, names), (hinted, same) = unexplained(0.0), unexplained(5.0)
    assert hinted < 0.97 * plain
    assert names == same  # the linear map is thrown away


def test_a_hint_of_no_weight_changes_nothing():
    z = tf.constant([[0.2, 5.0]])
    y, t = tf.constant([1.0]), tf.constant([[0.1, -5.0]])
    plain = label_objective(SPEC)
    np.testing.assert_allclose(
        hint_objective(SPEC, plain, 0.0)(z, y, t), plain(z[:, :1], y, t[:, :1])
    )


def test_weights_are_by_class_where_there_is_one():
    part = Rows(PART.numeric[:4], PART.ids[:4], np.array([0, 0, 1, np.nan], np.float32))
    np.testing.assert_allclose(row_weights(SPEC, part, True), [0.75, 0.75, 1.5, 1.0])
    assert row_weights(SPEC, part, False) is None
    assert row_weights(SPECS["regression"], part, True) is None


def test_shapes_are_every_width_with_every_choice_of_layers():
    options = StudentOptions(search=SearchOptions(embeddings=(2, 4, 2), hidden=((8,), (16, 8))))
    assert [(c.embedding, c.hidden) for c in candidates(options)] == [
        (2, (8,)),
        (2, (16, 8)),
        (4, (8,)),
        (4, (16, 8)),
    ]
    assert [(c.embedding, c.hidden) for c in candidates(StudentOptions())] == [(4, (16,))]


def test_the_search_halves_doubles_and_takes_the_smallest_of_equals(network, trees):
    lesson = prepared(network, trees, teachers=("network",))
    layers = ((1,), (2,), (24,), (48,))
    options = StudentOptions(epochs=20, search=SearchOptions(hidden=layers, first_epochs=3))
    chosen, tried = search(SPEC, lesson, VALID, options, DistillationOptions())
    assert [c.hidden for c in tried] == list(layers)
    assert [c.hidden for c in tried if c.chosen] == [chosen.hidden]
    rounds = [[epochs for epochs, _ in c.losses] for c in tried]
    assert sorted(rounds, key=len) == [[3], [3], [3, 20], [3, 20]]
    kept = {c.hidden for c in tried if len(c.losses) == 2}
    assert kept == {c.hidden for c in sorted(tried, key=lambda c: c.losses[0][1])[:2]}
    assert (1,) not in kept
    finalists = [c for c in tried if len(c.losses) == 2]
    best = min(finalists, key=lambda c: c.losses[-1][1])
    smallest = min(finalists, key=lambda c: c.parameters)
    winner = next(c for c in tried if c.chosen)
    assert winner in (best, smallest)
    assert chosen.epochs == 20 and chosen.embedding == options.embedding


def test_nothing_is_searched_unless_asked(network, trees):
    lesson = prepared(network, trees, teachers=("network",))
    assert search(SPEC, lesson, VALID, QUICK, DistillationOptions()) == (QUICK, [])
    one = StudentOptions(search=SearchOptions(hidden=((7,),)))
    chosen, tried = search(SPEC, lesson, VALID, one, DistillationOptions())
    assert chosen.hidden == (7,) and tried == []


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_the_interval_over_seeds_is_students(values):
    found = gain.over_seeds("auc", values, 100)
    assert found.value == pytest.approx(np.mean(values), abs=1e-12)
    error = stats.sem(values)
    if error > 1e-12:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.interval == "seeds" and f"over {len(values)} seeds" in found.words()


def test_the_interval_over_rows_is_paired():
    labels = labels_of(SPEC, VALID)
    good = (VALID.numeric[:, :1] * VALID.numeric[:, 1:]) * 0.2 + 0.5
    noise = np.random.default_rng(0).normal(0, 0.5, good.shape)
    better = gain.over_rows("binary", labels, good, good + noise)
    assert better.state == "better" and better.low < better.value < better.high
    assert gain.over_rows("binary", labels, good + noise, good).state == "worse"
    same = gain.over_rows("binary", labels, good, good)
    assert (same.value, same.low, same.high, same.state) == (0.0, 0.0, 0.0, "unclear")
    assert "paired over 1,200 eval rows" in better.words()


def test_what_is_not_defined_is_unclear():
    one_class = gain.over_rows("binary", np.ones(9), np.full((9, 1), 0.5), np.full((9, 1), 0.4))
    assert one_class.value is None and one_class.state == "unclear"
    assert "not defined" in one_class.words()
    assert gain.over_seeds("auc", [float("nan")] * 3, 9).value is None
    alone = gain.over_seeds("auc", [0.1, float("nan")], 9)
    assert (alone.value, alone.low, alone.state) == (0.1, None, "unclear")


def test_a_student_without_hidden_layers_takes_hints_too(network, trees):
    """Its last hidden layer is what enters it."""
    options = DistillationOptions(teachers=("network",), hint=0.1)
    lesson = teachers.prepare(SPEC, network, SHAPE, trees, PART, VALID, options)
    made = learn(SPEC, lesson, VALID, StudentOptions(hidden=(), epochs=2), options)
    assert np.isfinite(made.curves.best_eval_loss)
    numeric = ModelSpec("binary", "y", ("0", "1"), (NumericFeature("a", 0, 0, 1, 0, 1),), ())
    assert numeric.units == made.network.output_shape[-1] == 1
