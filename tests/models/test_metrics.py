from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from models import metrics

ROWS = st.integers(0, 2**31 - 1).map(np.random.default_rng)


@given(ROWS)
def test_binary_metrics_are_scikit_learns(rng):
    labels = np.r_[0, 1, rng.integers(0, 2, 30)].astype(np.float32)
    p = rng.random((32, 1)).astype(np.float32)
    got = metrics.score("binary", labels, p)
    assert got["auc"] == pytest.approx(sk.roc_auc_score(labels, p[:, 0]))
    assert got["log_loss"] == pytest.approx(sk.log_loss(labels, p[:, 0].astype(float)), rel=1e-4)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(labels, p[:, 0] > 0.5))


@given(ROWS)
def test_multiclass_metrics_are_scikit_learns(rng):
    labels = np.r_[0, 1, 2, rng.integers(0, 3, 30)].astype(np.float32)
    p = rng.dirichlet([1, 1, 1], 33)
    got = metrics.score("multiclass", labels, p)
    assert got["log_loss"] == pytest.approx(sk.log_loss(labels, p), rel=1e-4)
    assert got["auc"] == pytest.approx(sk.roc_auc_score(labels, p, multi_class="ovr"))


@given(ROWS)
def test_regression_metrics_are_scikit_learns(rng):
    labels, values = rng.normal(size=20), rng.normal(size=(20, 1))
    got = metrics.score("regression", labels, values)
    assert got["rmse"] ** 2 == pytest.approx(sk.mean_squared_error(labels, values))
    assert got["r2"] == pytest.approx(sk.r2_score(labels, values))


def test_a_metric_that_is_not_defined_is_left_out():
    assert "auc" not in metrics.score("binary", np.ones(3), np.full((3, 1), 0.5))
    assert metrics.score("binary", np.zeros(0), np.zeros((0, 1))) == {}
    assert "r2" not in metrics.score("regression", np.ones(3), np.ones((3, 1)))


def test_calibration_error_by_hand():
    # Bin 0.2–0.3: mean 0.25, half happened. Bin 0.9–1: mean 0.95, all happened.
    happened = np.array([0, 1, 1, 1])
    p = np.array([0.25, 0.25, 0.95, 0.95])
    assert metrics.calibration_error(happened, p) == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)


def test_agreement_counts_flipped_labels():
    a, b = np.array([[0.4], [0.6]]), np.array([[0.6], [0.7]])
    found = metrics.agreement("binary", a, b)
    assert found["flip_rate"] == 0.5 and found["largest_difference"] == pytest.approx(0.2)
