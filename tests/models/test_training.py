"""Losses against NumPy, and that training learns, repeats and stops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models.losses import distillation_objective, hint_objective, soft_loss, task_loss
from models.network import build_network
from models.options import DistillationOptions, StudentOptions, TeacherOptions
from models.rows import Rows
from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from models.student import train
from models.training import Schedule, class_weights, fit

NUMERIC = tuple(NumericFeature(n, 0.0, -9.0, 9.0, 0.0, 1.0) for n in "ab")
SPECS = {
    "binary": ModelSpec("binary", "y", ("0", "1"), NUMERIC, ()),
    "multiclass": ModelSpec("multiclass", "y", ("a", "b", "c"), NUMERIC, ()),
    "regression": ModelSpec("regression", "y", (), NUMERIC, (), 10.0, 5.0),
}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def rows(task: str, n: int = 1200, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    score = 2 * x[:, 0] * x[:, 1] + 0.3 * rng.normal(size=n)
    labels = {
        "binary": score > 0,
        "multiclass": np.digitize(score, [-0.5, 0.5]),
        "regression": score,
    }[task]
    return Rows(x, np.zeros((n, 0), np.int32), labels.astype(np.float32))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_losses_are_the_formula(temperature):
    rng = np.random.default_rng(1)
    z, t = rng.normal(size=(5, 1)), rng.normal(size=(5, 1))
    p, q = sigmoid(t / temperature), sigmoid(z / temperature)
    expected = -(p * np.log(q) + (1 - p) * np.log(1 - q))[:, 0] * temperature**2
    got = soft_loss(SPECS["binary"], tf.constant(z), tf.constant(t), temperature)
    np.testing.assert_allclose(got, expected)

    z, t = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    expected = -np.sum(softmax(t / temperature) * np.log(softmax(z / temperature)), axis=1)
    got = soft_loss(SPECS["multiclass"], tf.constant(z), tf.constant(t), temperature)
    np.testing.assert_allclose(got, expected * temperature**2)


def test_alpha_weighs_labels_and_rows_without_one_learn_from_the_teacher():
    spec = SPECS["binary"]
    z, t = tf.constant([[0.3], [0.3]]), tf.constant([[1.0], [1.0]])
    y = tf.constant([1.0, np.nan])
    got = distillation_objective(spec, DistillationOptions(alpha=0.25))(z, y, t)
    hard = task_loss(spec, z[:1], y[:1])[0]
    soft = soft_loss(spec, z[:1], t[:1], 1.0)[0]
    np.testing.assert_allclose(got, [0.25 * hard + 0.75 * soft, soft])


def numeric_gradient(function, z: np.ndarray, step: float = 1e-5) -> np.ndarray:
    gradient = np.zeros_like(z)
    for place in np.ndindex(z.shape):
        up, down = z.copy(), z.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (function(up) - function(down)) / (2 * step)
    return gradient


@pytest.mark.parametrize("task", SPECS)
@pytest.mark.parametrize("hint", [0.0, 0.7])
def test_gradients_are_those_of_finite_differences(task, hint):
    """Of every column: logits and, with hints, the mapped hidden layer."""
    spec, rng = SPECS[task], np.random.default_rng(2)
    options = DistillationOptions(temperature=2.0, alpha=0.3, hint=hint)
    objective = distillation_objective(spec, options)
    width = spec.units
    if hint:
        objective, width = hint_objective(spec, objective, hint), width + 4
    z, t = rng.normal(size=(6, width)), tf.constant(rng.normal(size=(6, width)))
    y = np.array([0, 1, 1, 0, 1, np.nan])

    def mean(x):
        return tf.reduce_mean(objective(x, tf.constant(y), t))

    variable = tf.Variable(z)
    with tf.GradientTape() as tape:
        loss = mean(variable)
    got = tape.gradient(loss, variable).numpy()
    expected = numeric_gradient(lambda x: float(mean(tf.constant(x))), z)
    np.testing.assert_allclose(got, expected, atol=1e-8)
    assert np.abs(got).min(axis=0).max() > 0


def test_the_hint_is_the_mean_square_of_the_difference():
    spec = SPECS["binary"]
    plain = distillation_objective(spec, DistillationOptions())
    outputs, said = tf.constant([[0.3, 1.0, 2.0]]), tf.constant([[1.0, 0.0, 4.0]])
    y = tf.constant([1.0])
    got = hint_objective(spec, plain, 0.5)(outputs, y, said)
    np.testing.assert_allclose(got, plain(outputs[:, :1], y, said[:, :1]) + 0.5 * (1 + 4) / 2)


@pytest.mark.parametrize("task", SPECS)
def test_training_learns_and_repeats_exactly(task):
    spec, options = SPECS[task], StudentOptions()

    def once():
        trained = train(
            spec, rows(task), rows(task, seed=1), options, name="s", usual_epochs=20, seed=4
        )
        return trained, trained.network.get_weights()

    (first, weights), (_, again) = once(), once()
    for a, b in zip(weights, again, strict=True):
        np.testing.assert_array_equal(a, b)
    metric = {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}[task]
    assert first.metrics[metric] > 0.8
    assert first.curves.best_eval_loss == min(first.curves.eval_loss)


def test_the_best_epoch_is_kept_and_training_stops_when_nothing_gets_better():
    """Labels that are noise: the eval loss rises while the train loss falls."""
    spec, rng = SPECS["binary"], np.random.default_rng(0)
    noise = [
        Rows(
            rng.normal(size=(200, 2)).astype(np.float32),
            np.zeros((200, 0), np.int32),
            rng.integers(0, 2, 200).astype(np.float32),
        )
        for _ in range(2)
    ]
    options = TeacherOptions(epochs=200, patience=5, dropout=0.0, learning_rate=1e-2)
    trained = train(spec, *noise, options, name="t", usual_epochs=1)
    assert len(trained.curves.eval_loss) == trained.curves.best_epoch + 5 < 200
    assert trained.metrics["log_loss"] == pytest.approx(trained.curves.best_eval_loss, rel=1e-5)


def test_balanced_weights_give_each_class_the_same_total():
    labels = np.array([0, 0, 0, 1, 2, 2], np.float32)
    weights = class_weights(labels, 3)
    assert [weights[labels == c].sum() for c in range(3)] == pytest.approx([2, 2, 2])
    assert weights.mean() == pytest.approx(1.0)


def test_class_weights_raise_the_recall_of_a_rare_class():
    spec, rng = SPECS["binary"], np.random.default_rng(0)
    x = rng.normal(size=(2000, 2)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=2000) > 2.2).astype(np.float32)
    part = Rows(x, np.zeros((2000, 0), np.int32), y)
    plain, balanced = (
        train(
            spec, part, part, StudentOptions(), name="s", usual_epochs=10, balanced=weigh
        ).network(x)[:, 0]
        for weigh in (False, True)
    )
    recall = [float(np.mean(z.numpy()[y == 1] > 0)) for z in (plain, balanced)]
    assert recall[1] > recall[0] + 0.2


@pytest.mark.parametrize("n", [1, 7, 105, 2047, 2048, 79_999, 80_000, 10_000_000])
def test_schedules_suit_the_number_of_rows(n):
    schedule = Schedule.of(StudentOptions(), n, 60)
    assert 1 <= schedule.batch_size <= n and schedule.steps * schedule.batch_size <= n
    assert schedule.steps * schedule.epochs >= 1500
    assert schedule.epochs == 1 or schedule.steps * (schedule.epochs - 1) <= 7500


def test_options_win_over_the_schedule():
    schedule = Schedule.of(StudentOptions(epochs=2, batch_size=10, patience=1), 100, 15)
    assert (schedule.batch_size, schedule.epochs, schedule.patience) == (10, 2, 1)


@given(st.integers(1, 10**6), st.integers(1, 5000))
def test_steps_in_all(rows, steps):
    """As many as asked for, in passes of equal length: fewer than one more pass beyond them."""
    schedule = Schedule.of(StudentOptions(steps=steps), rows, 60)
    made = schedule.steps * schedule.epochs
    assert steps <= made < steps + schedule.steps
    assert schedule.steps * schedule.batch_size <= rows
    assert schedule.steps <= steps


def test_the_compiled_loop_gives_the_losses_of_a_plain_one():
    """One epoch, one batch: the loss is that of the initial weights."""
    spec, data = SPECS["multiclass"], rows("multiclass", 64)
    network = build_network(spec, StudentOptions(), 0)
    before = float(tf.reduce_mean(task_loss(spec, network([data.numeric]), data.labels)))
    options = StudentOptions(epochs=1, batch_size=64)
    curves = fit(network, spec, data, data, options, name="s", usual_epochs=1)
    assert curves.train_loss[0] == pytest.approx(before, rel=1e-5)
    assert curves.eval_loss[0] < before


def test_embeddings_of_all_features_share_one_table():
    spec = ModelSpec(
        "binary",
        "y",
        ("0", "1"),
        (),
        (CategoricalFeature("a", "string", ("x",)), CategoricalFeature("b", "string", ("y", "z"))),
    )
    network = build_network(spec, StudentOptions(embedding=3, hidden=()))
    assert network.get_layer("embedding").embeddings.shape == (7, 3)
