"""Quality differences with intervals: properties, other people's formulas, and real int8 files."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from models import comparison, metrics
from models.benchmark.workload import from_tensors
from models.saturation import saturation
from tests.models import tflite_files

RNG = st.integers(0, 2**31 - 1).map(np.random.default_rng)
TASKS = st.sampled_from(["binary", "multiclass", "regression"])


def rows(rng, task: str, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Labels and answers of some skill; every class occurs, scores have ties."""
    if task == "regression":
        labels = rng.normal(size=n).astype(np.float32)
        return labels, (labels + rng.normal(size=n))[:, None].astype(np.float32)
    if task == "binary":
        labels = np.r_[0, 1, rng.integers(0, 2, n - 2)].astype(np.float32)
        p = np.clip(0.5 + 0.2 * (labels - 0.5) + rng.normal(0, 0.2, n), 0.01, 0.99)
        return labels, np.round(p, 2)[:, None].astype(np.float32)
    labels = np.r_[0, 1, 2, rng.integers(0, 3, n - 3)].astype(np.float32)
    return labels, rng.dirichlet([1, 1, 1], n).astype(np.float32)


def worse(rng, task: str, answers: np.ndarray, by: float) -> np.ndarray:
    """The answers with noise."""
    if task == "multiclass":
        mixed = answers + by * rng.dirichlet([1, 1, 1], len(answers))
        return (mixed / mixed.sum(axis=1, keepdims=True)).astype(np.float32)
    noisy = answers + by * rng.normal(size=answers.shape)
    return (np.clip(noisy, 0, 1) if task == "binary" else noisy).astype(np.float32)


@settings(max_examples=30)
@given(RNG, TASKS)
def test_a_model_loses_exactly_nothing_against_itself(rng, task):
    labels, answers = rows(rng, task)
    found = comparison.drop(task, labels, answers, answers.copy(), resamples=50)
    assert (found.drop, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.differs and found.within(0.0)
    agreed = comparison.agreement(task, answers, answers)
    assert agreed.largest_difference == 0.0
    assert agreed.flip_rate == agreed.kl_divergence == (None if task == "regression" else 0.0)


@settings(max_examples=30)
@given(RNG, TASKS)
def test_the_qualities_are_those_of_the_reports(rng, task):
    labels, answers = rows(rng, task)
    other = worse(rng, task, answers, 0.3)
    found = comparison.drop(task, labels, answers, other, resamples=50)
    primary = metrics.PRIMARY[task]
    assert found.metric == primary
    assert found.reference == pytest.approx(metrics.score(task, labels, answers)[primary])
    assert found.candidate == pytest.approx(metrics.score(task, labels, other)[primary])
    assert found.drop == pytest.approx(found.reference - found.candidate)
    assert found.low <= found.high


@settings(max_examples=30)
@given(RNG, TASKS)
def test_changing_sides_changes_the_sign(rng, task):
    labels, answers = rows(rng, task)
    other = worse(rng, task, answers, 0.3)
    one = comparison.drop(task, labels, answers, other, resamples=50)
    back = comparison.drop(task, labels, other, answers, resamples=50)
    assert (back.drop, back.low, back.high) == pytest.approx((-one.drop, -one.high, -one.low))


@settings(max_examples=30)
@given(RNG)
def test_only_the_order_of_scores_counts_for_auc(rng):
    labels, answers = rows(rng, "binary")
    other = worse(rng, "binary", answers, 0.3)
    one = comparison.drop("binary", labels, answers, other, resamples=50)
    same = comparison.drop("binary", labels, answers / 2, other / 4, resamples=50)
    assert (same.drop, same.low, same.high) == (one.drop, one.low, one.high)


@settings(max_examples=30)
@given(RNG)
def test_one_more_right_answer_never_costs_quality(rng):
    labels, answers = rows(rng, "multiclass")
    other = worse(rng, "multiclass", answers, 0.5)
    wrong = np.flatnonzero(other.argmax(axis=1) != labels)
    mended = other.copy()
    mended[wrong[0]] = np.eye(3)[int(labels[wrong[0]])]
    before, after = (
        comparison.drop("multiclass", labels, answers, x, resamples=50) for x in (other, mended)
    )
    assert after.drop < before.drop
    assert after.low <= before.low and after.high <= before.high


def test_the_size_of_the_parts_does_not_change_the_answer(monkeypatch):
    labels, answers = rows(np.random.default_rng(0), "binary")
    other = worse(np.random.default_rng(1), "binary", answers, 0.3)
    whole = comparison.drop("binary", labels, answers, other)
    monkeypatch.setattr(comparison, "_CELLS", 7 * len(labels))
    assert comparison.drop("binary", labels, answers, other) == whole


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_the_interval_of_many_rows_is_what_the_bootstrap_converges_to(monkeypatch, task, noise):
    labels, answers = rows(np.random.default_rng(4), task, comparison.MANY_ROWS)
    other = worse(np.random.default_rng(5), task, answers, noise)
    if task == "binary":  # as few of one class as are taken for many
        rare = np.flatnonzero(labels == 1)[comparison.MANY_OF_A_CLASS :]
        labels, answers, other = (np.delete(x, rare, axis=0) for x in (labels, answers, other))
        monkeypatch.setattr(comparison, "MANY_ROWS", len(labels))
    fast = comparison.drop(task, labels, answers, other)
    monkeypatch.setattr(comparison, "MANY_ROWS", len(labels) + 1)
    drawn = comparison.drop(task, labels, answers, other, resamples=20_000)
    assert fast.drop == drawn.drop
    width = drawn.high - drawn.low
    assert [fast.low, fast.high] == pytest.approx([drawn.low, drawn.high], abs=0.1 * width)


@settings(max_examples=20)
@given(RNG)
def test_more_confidence_is_a_wider_interval(rng):
    labels, answers = rows(rng, "binary")
    other = worse(rng, "binary", answers, 0.3)
    narrow, wide = (
        comparison.drop("binary", labels, answers, other, confidence=c) for c in (0.8, 0.99)
    )
    assert wide.low <= narrow.low <= narrow.high <= wide.high


QUALITY = {
    "binary": lambda y, p: sk.roc_auc_score(y, p[:, 0]) if 0 < y.sum() < len(y) else np.nan,
    "multiclass": lambda y, p: np.mean(p.argmax(axis=1) == y),
    "regression": lambda y, p: sk.r2_score(y, p[:, 0]),
}


@pytest.mark.parametrize("task", sorted(QUALITY))
def test_the_interval_is_the_paired_bootstrap_of_scipy(task):
    rng = np.random.default_rng(2)
    labels, answers = rows(rng, task, 120)
    other = worse(rng, task, answers, 0.4)
    found = comparison.drop(task, labels, answers, other, resamples=20_000)

    def lost(index):
        y = labels[index]
        return QUALITY[task](y, answers[index]) - QUALITY[task](y, other[index])

    theirs = stats.bootstrap(
        (np.arange(120),), lost, method="percentile", n_resamples=2000, random_state=1
    )
    low, high = theirs.confidence_interval
    assert found.drop == pytest.approx(lost(np.arange(120)))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_a_real_loss_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    labels, answers = rows(rng, "binary", 3000)
    lost = comparison.drop("binary", labels, answers, worse(rng, "binary", answers, 0.5))
    assert lost.differs and lost.low > 0.02 and not lost.within(0.02) and lost.enough
    kept = comparison.drop("binary", labels, answers, worse(rng, "binary", answers, 0.002))
    assert not kept.differs and kept.within(0.01)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Two models of the same true accuracy, 0.8 and independent, on 300 fresh rows each time."""
    rng = np.random.default_rng(4)
    labels = np.zeros(300, np.float32)
    covered = 0
    for trial in range(200):
        a, b = (np.eye(2)[(rng.random(300) < 0.2).astype(int)] for _ in range(2))
        found = comparison.drop("multiclass", labels, a, b, resamples=300, seed=trial)
        covered += found.low <= 0.0 <= found.high
    assert 0.90 * 200 <= covered <= 0.99 * 200


def test_a_thousand_resamples_cost_less_than_a_thousand_single_metrics():
    """The loop they replace is a thousand calls of scikit-learn on three thousand rows."""
    rng = np.random.default_rng(0)
    labels, answers = rows(rng, "binary", 3000)
    other = worse(rng, "binary", answers, 0.1)

    def seconds(work) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    ours = min(seconds(lambda: comparison.drop("binary", labels, answers, other)) for _ in range(3))
    single = min(seconds(lambda: sk.roc_auc_score(labels, answers[:, 0])) for _ in range(5))
    assert ours < 0.5 * 2 * 1000 * single


def test_slices_are_judged_on_their_own_rows_and_small_ones_are_marked():
    rng = np.random.default_rng(1)
    labels, answers = rows(rng, "binary", 1000)
    other = answers.copy()
    keys = np.array(["cash", "card"], object)[(np.arange(1000) >= 300).astype(int)]
    keys[:5] = "cheque"
    hurt = keys == "cash"
    other[hurt] = rng.random((hurt.sum(), 1))
    found = comparison.compare("binary", labels, answers, other, keys, min_rows=100)
    assert list(found.slices) == ["card", "cash", "cheque"]
    assert found.slices["card"].drop == 0.0 and not found.slices["card"].differs
    assert found.slices["cash"].differs and found.slices["cash"].rows == 295
    assert [d.enough for d in found.slices.values()] == [True, True, False]
    assert found.worst is found.slices["cash"] and found.overall.differs
    alone = comparison.drop("binary", labels[hurt], answers[hurt], other[hurt], min_rows=100)
    assert found.slices["cash"] == alone
    told = found.to_dict()
    assert told["slices"]["cheque"]["enough"] is False and told["overall"]["rows"] == 1000


def test_groups_of_any_type_are_keys():
    labels, answers = rows(np.random.default_rng(0), "binary", 40)
    for keys in (np.arange(40) % 3, np.arange(40) % 2 == 0, np.array([None, "x"] * 20, object)):
        found = comparison.drop_by_slice("binary", labels, answers, answers, keys)
        assert set(found) == {str(k) for k in keys}
        assert sum(d.rows for d in found.values()) == 40


def test_what_is_not_defined_is_none_not_zero():
    ones, p = np.ones(30, np.float32), np.full((30, 1), 0.5, np.float32)
    found = comparison.drop("binary", ones, p, p)
    assert (found.drop, found.low, found.rows) == (None, None, 30)
    assert not found.differs and not found.within(1.0)
    nothing = comparison.compare("binary", ones[:0], p[:0], p[:0], ones[:0])
    assert nothing.overall.drop is None and nothing.slices == {} and nothing.worst is None
    assert comparison.drop("regression", ones, p, p).drop is None


@settings(max_examples=30)
@given(RNG)
def test_divergence_is_scipys_and_never_negative(rng):
    p, q = (rng.dirichlet([1, 1, 1], 50).astype(np.float32) for _ in range(2))
    expected = np.mean([stats.entropy(a, b) for a, b in zip(p, q, strict=True)])
    assert comparison.agreement("multiclass", p, q).kl_divergence == pytest.approx(
        expected, rel=1e-3
    )
    a, b = rng.random((50, 1)), rng.random((50, 1))
    expected = np.mean(stats.entropy(np.c_[1 - a, a], np.c_[1 - b, b], axis=1))
    got = comparison.agreement("binary", a, b)
    assert got.kl_divergence == pytest.approx(expected, rel=1e-3) and got.kl_divergence >= 0
    assert got.flip_rate == np.mean((a > 0.5) != (b > 0.5))


def test_certainty_about_the_wrong_class_costs_much_and_not_infinitely():
    sure, wrong = np.ones((3, 1)), np.zeros((3, 1))
    assert 10 < comparison.agreement("binary", sure, wrong).kl_divergence < 20


def test_calibration_of_both_is_told():
    rng = np.random.default_rng(0)
    p = rng.random((20_000, 1))
    labels = (rng.random(20_000) < p[:, 0]).astype(np.float32)
    found = comparison.compare("binary", labels, p, p**3, resamples=10).calibration
    assert found["reference"] < 0.02 < 0.1 < found["candidate"]
    assert comparison.calibration_error("regression", labels, p) is None


# --- saturation of real int8 files ---------------------------------------------------------


def test_values_beyond_the_calibrated_range_saturate():
    path = tflite_files.shared()["int8"]
    rng = np.random.default_rng(0)
    inside, beyond = (
        saturation(path, [{"x": (scale * rng.uniform(-1, 1, (256, 16))).astype(np.float32)}])
        for scale in (0.9, 20.0)
    )
    assert 0 <= inside.rate < 0.05 < 0.3 < beyond.rate <= 1
    assert all(0 <= share <= 1 for share in beyond.tensors.values())


def test_zeros_behind_a_relu_are_not_saturation():
    path = tflite_files.shared()["int8"]
    assert saturation(path, [{"x": np.zeros((64, 16), np.float32)}]).rate == 0.0


def test_a_float_file_has_no_rate():
    path = tflite_files.shared()["small"]
    found = saturation(path, [from_tensors(path, 8, 0).block])
    assert found.rate is None and found.tensors == {}
