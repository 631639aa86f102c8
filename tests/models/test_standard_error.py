"""Standard errors of paired differences: against repeated samples."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from models import standard_error


def _sample(task: str, rng: np.random.Generator, rows: int):
    """Labels and the predictions of two correlated models."""
    truth = rng.normal(size=rows)
    seen = [truth + noise * rng.normal(size=rows) for noise in (0.8, 1.0)]
    if task == "binary":
        labels = (truth + rng.normal(size=rows) > 0.3).astype(np.int64)
        # Rounded, so that there are ties.
        return labels, *(np.round(1 / (1 + np.exp(-s)), 2)[:, None] for s in seen)
    if task == "multiclass":
        labels = np.digitize(truth, [-0.5, 0.5])
        centres = np.array([-1.0, 0.0, 1.0])
        return labels, *(np.exp(-((s[:, None] - centres) ** 2)) for s in seen)
    return truth, *(s[:, None] for s in seen)


def quality(task: str, labels, predictions) -> float:
    if task == "binary":
        return sklearn.metrics.roc_auc_score(labels, predictions[:, 0])
    if task == "multiclass":
        return sklearn.metrics.accuracy_score(labels, predictions.argmax(axis=1))
    return sklearn.metrics.r2_score(labels, predictions[:, 0])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_standard_error_is_the_spread_over_repeated_samples(task):
    rng = np.random.default_rng(5)
    differences, errors = [], []
    for _ in range(400):
        labels, a, b = _sample(task, rng, 300)
        differences.append(quality(task, labels, a) - quality(task, labels, b))
        errors.append(standard_error.of_difference(task, labels, a, b))
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.15)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_equal_models_differ_by_nothing(task):
    labels, a, _ = _sample(task, np.random.default_rng(1), 50)
    assert standard_error.of_difference(task, labels, a, a) == 0.0
    assert standard_error.of_difference(task, labels[:1], a[:1], a[:1]) == 0.0
