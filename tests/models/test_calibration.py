"""Temperature scaling: what must hold for any logits, and that it only acts where it helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import calibration, metrics
from models.network import build_network
from models.options import StudentOptions
from models.spec import ModelSpec, NumericFeature
from models.student import answers

NUMERIC = tuple(NumericFeature(n, 0.0, -9.0, 9.0, 0.0, 1.0) for n in "ab")
SPECS = {
    "binary": ModelSpec("binary", "y", ("0", "1"), NUMERIC, ()),
    "multiclass": ModelSpec("multiclass", "y", ("a", "b", "c"), NUMERIC, ()),
    "regression": ModelSpec("regression", "y", (), NUMERIC, (), 10.0, 5.0),
}
CLASSIFICATION = ("binary", "multiclass")


def drawn(task: str, rows: int, seed: int, sharpness: float = 1.0):
    """Logits, and labels drawn from the probabilities of logits / sharpness."""
    spec, rng = SPECS[task], np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, spec.units)).astype(np.float32)
    p = answers(spec, logits / sharpness)
    p = np.concatenate([1 - p, p], axis=1) if task == "binary" else p
    labels = (rng.random((rows, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)
    return spec, logits, labels.astype(np.float32)


def loss(spec, logits, labels) -> float:
    return float(calibration.log_losses(spec, logits, labels).mean())


@pytest.mark.parametrize("task", CLASSIFICATION)
def test_the_loss_is_that_of_the_metrics(task):
    spec, logits, labels = drawn(task, 400, 0)
    scored = metrics.score(task, labels, answers(spec, logits))
    assert loss(spec, logits, labels) == pytest.approx(scored["log_loss"], rel=1e-6)


@settings(max_examples=60)
@given(
    st.sampled_from(CLASSIFICATION),
    st.integers(1, 300),
    st.integers(0, 1000),
    st.floats(0.05, 20.0),
)
def test_on_the_rows_it_was_fitted_on_the_loss_never_rises(task, rows, seed, sharpness):
    spec, logits, labels = drawn(task, rows, seed, sharpness)
    temperature = calibration.fit_temperature(spec, logits, labels)
    assert 0.04 < temperature < 21
    assert loss(spec, logits / temperature, labels) <= loss(spec, logits, labels) + 1e-12


@settings(max_examples=40)
@given(st.sampled_from(CLASSIFICATION), st.integers(0, 1000), st.floats(0.05, 20.0))
def test_ranking_stays(task, seed, temperature):
    spec, logits, _ = drawn(task, 80, seed)
    logits = logits.astype(np.float64)
    before, after = answers(spec, logits), answers(spec, logits / temperature)
    if task == "binary":
        order = np.argsort(before[:, 0], kind="stable")
        assert (np.diff(after[order, 0]) >= 0).all()
    else:
        np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))


@pytest.mark.parametrize("task", CLASSIFICATION)
@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(task, sharpness):
    spec, logits, labels = drawn(task, 20_000, 1, sharpness)
    found = calibration.calibrate(spec, logits, labels)
    assert found.temperature == pytest.approx(sharpness, rel=0.06)
    assert found.applied and found.low > 0
    assert found.log_loss[1] < found.log_loss[0]
    assert found.calibration_error[1] < 0.5 * found.calibration_error[0]


@pytest.mark.parametrize("task", CLASSIFICATION)
def test_honest_probabilities_are_left_alone(task):
    """Beyond chance at 95 %: of 40 honest networks a few may be scaled, not many."""
    applied = [calibration.calibrate(*drawn(task, 1000, seed)).applied for seed in range(40)]
    assert sum(applied) <= 3


def test_regression_and_few_rows_have_no_temperature():
    assert calibration.calibrate(SPECS["regression"], np.zeros((99, 1)), np.zeros(99)) is None
    assert calibration.calibrate(*drawn("binary", 20, 0)) is None


@settings(max_examples=10)
@given(st.sampled_from(CLASSIFICATION), st.integers(0, 100), st.floats(0.1, 10.0))
def test_folding_is_dividing_the_logits(task, seed, temperature):
    spec = SPECS[task]
    network = build_network(spec, StudentOptions(hidden=(5,)), seed)
    layer = network.get_layer("logits")
    layer.set_weights([w + 0.1 for w in layer.get_weights()])  # a bias that is not zero
    x = np.random.default_rng(seed).normal(size=(50, 2)).astype(np.float32)
    before = network(x).numpy()
    parameters = network.count_params()
    calibration.fold(network, temperature)
    np.testing.assert_allclose(network(x).numpy(), before / temperature, rtol=2e-5, atol=1e-6)
    assert network.count_params() == parameters


@pytest.mark.parametrize("task", CLASSIFICATION)
def test_rows_without_mistakes_teach_no_temperature(task):
    """All right: ever larger logits look ever better there, and cost dearly elsewhere."""
    spec, logits, _ = drawn(task, 200, 3)
    right = logits[:, 0] > 0 if task == "binary" else logits.argmax(axis=1)
    assert calibration.fit_temperature(spec, logits, right.astype(np.float32)) < 0.1
    assert calibration.calibrate(spec, logits, right.astype(np.float32)) is None
