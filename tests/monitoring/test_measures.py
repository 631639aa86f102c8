"""What is measured, held against SciPy and against known truth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.spec import ModelSpec
from monitoring import estimate, performance
from monitoring.counting import CategoryCells, Numbers, NumericCells, Values
from monitoring.measures import features, multivariate, quality
from monitoring.options import EstimateOptions, MultivariateOptions
from monitoring.window_summary import WindowSummary
from tests.monitoring.log_files import SPEC, made_reference, score

FEW = st.lists(st.integers(-5, 5), min_size=2, max_size=60)
COUNTS = st.lists(st.integers(0, 400), min_size=2, max_size=12)


def numbers(reference: list[float], current: list[float]) -> tuple[Numbers, Numbers]:
    cells = NumericCells.of(np.asarray(reference, float), 10)
    return Numbers(cells).add(np.asarray(reference, float)), Numbers(cells).add(
        np.asarray(current, float)
    )


@settings(max_examples=100)
@given(FEW, FEW)
def test_wasserstein_of_repeated_values_is_scipys(reference: list[int], current: list[int]) -> None:
    known = [x for x in current if x in reference] or reference
    p, q = numbers(reference, known)
    expected = stats.wasserstein_distance(reference, known)
    assert features.wasserstein(p, q) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=100)
@given(COUNTS, st.data())
def test_chi_square_is_scipys(reference: list[int], data: st.DataObject) -> None:
    current = data.draw(
        st.lists(st.integers(0, 400), min_size=len(reference), max_size=len(reference))
    )
    from monitoring import drift

    p, q = drift.pooled(np.asarray(reference, float), np.asarray(current, float))
    both = np.stack([p, q])[:, (p + q) > 0]
    found = features.chi_square(np.asarray(reference, float), np.asarray(current, float))
    if both.shape[1] < 2 or not p.sum() or not q.sum():
        assert found == (0.0, 1.0)
        return
    expected = stats.chi2_contingency(both, correction=False)
    assert found == pytest.approx((expected[0], expected[1]), rel=1e-6, abs=1e-12)


@settings(max_examples=60)
@given(FEW, FEW)
def test_distances_of_numbers_are_scipys_on_the_same_cells(
    reference: list[int], current: list[int]
) -> None:
    p, q = numbers(reference, current)
    found = {m.statistic: m for m in features.compare("x", p, q)}
    cells_p, cells_q = (features.cells_of(side) for side in (p, q))
    jsd = (
        stats.entropy((cells_p / cells_p.sum() + cells_q / cells_q.sum()) / 2, base=2)
        - (stats.entropy(cells_p, base=2) + stats.entropy(cells_q, base=2)) / 2
    )
    assert found["jsd"].value == pytest.approx(jsd, abs=1e-6)
    at_edges = max(
        abs(np.mean(np.asarray(reference) <= e) - np.mean(np.asarray(current) <= e))
        for e in p.cells.coarse_edges
    )
    assert found["ks"].value == pytest.approx(at_edges, abs=1e-6)
    assert found["ks"].value <= stats.ks_2samp(reference, current).statistic + 1e-9


def test_fine_wasserstein_is_near_scipys_on_continuous_values() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.lognormal(2, 0.5, 20_000), rng.lognormal(2.1, 0.5, 5000)
    p, q = numbers(a, b)
    assert features.wasserstein(p, q) == pytest.approx(stats.wasserstein_distance(a, b), rel=0.06)


@settings(max_examples=60)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.none(), min_size=1, max_size=80),
    st.integers(1, 79),
)
def test_numbers_add_up(values: list[float | None], cut: int) -> None:
    column = pa.array(values, pa.float64())
    cells = NumericCells.of(np.array([v for v in values if v is not None], float), 4)
    whole = Numbers(cells).add(column)
    parts = Numbers(cells).add(column.slice(0, cut)).merge(Numbers(cells).add(column.slice(cut)))
    assert np.array_equal(whole.counts, parts.counts) and whole.rows == parts.rows == len(values)
    assert parts.mean == pytest.approx(whole.mean, abs=1e-6)
    assert parts.m2 == pytest.approx(whole.m2, rel=1e-6, abs=1e-3)
    again = Numbers.from_dict(cells, whole.to_dict())
    assert again.to_dict() == whole.to_dict()
    present = [v for v in values if v is not None]
    if present:
        assert whole.std == pytest.approx(np.std(present), rel=1e-6, abs=1e-6)
        assert whole.counts[0] == 0 and whole.counts[-1] == 0  # its own range


def test_values_know_what_is_new() -> None:
    cells = CategoryCells.of({"a": 5.0, "b": 3.0})
    p = Values(cells).add(pa.array(["a"] * 60 + ["b"] * 40))
    q = Values(cells).add(pa.array(["a"] * 50 + ["b"] * 40 + ["c"] * 10 + [None] * 0))
    found = {m.statistic: m for m in features.compare("company", p, q)}
    assert found["new_category_rate"].value == pytest.approx(0.1)
    assert "new 'c' 10" in found["linf"].words
    assert found["linf"].value == pytest.approx(0.1)


def test_words_say_direction_and_size() -> None:
    rng = np.random.default_rng(0)
    base = rng.lognormal(2.06, 0.5, 5000)
    p, q = numbers(base, base * 1.23)
    found = {m.statistic: m for m in features.compare("fare", p, q)}
    assert found["psi"].words.startswith("fare: median 7.")
    assert " → 9." in found["psi"].words
    assert found["psi"].p_value < 1e-6
    assert found["out_of_range_rate"].value == pytest.approx(np.mean(base * 1.23 > base.max()))


def test_type_errors_and_overflow() -> None:
    cells = NumericCells.of(np.arange(100.0), 4)
    p = Numbers(cells).add(np.arange(100.0))
    q = Numbers(cells).add(np.array([-1.0, 50.0, 1e9, np.nan]), unreadable=1)
    found = {m.statistic: m.value for m in features.compare("x", p, q)}
    assert found["type_error_rate"] == 0.25
    assert found["missing_rate"] == 0.25
    assert found["out_of_range_rate"] == pytest.approx(2 / 3)


def test_different_cells_do_not_compare() -> None:
    one = Numbers(NumericCells.of(np.arange(10.0), 4))
    other = Numbers(NumericCells.of(np.arange(20.0), 4))
    with pytest.raises(ValueError, match="different cells"):
        features.compare("x", one, other)


def made(n: int, seed: int, **changed: np.ndarray) -> pa.Table:
    from monitoring import log_rows
    from tests.monitoring.log_files import DAY
    from tests.monitoring.log_files import features as drawn

    columns = {**drawn(np.random.default_rng(seed), n), **changed}
    return log_rows.rows(
        SPEC, "v", columns, score(columns["fare"]), request_ids=[f"{seed}-{i}" for i in range(n)],
        times=DAY, latency_us=np.arange(n),
    )  # fmt: skip


def test_the_window_as_a_whole() -> None:
    table = pa.concat_tables([made(99, 1), made(99, 1).slice(0, 1)])
    summary = WindowSummary(made_reference().layout).add(table)
    found = {m.statistic: m for m in quality.measure(summary, earlier_rows=[1000, 1000])}
    assert found["rows"].value == 100 and "usually 1,000" in found["rows"].words
    assert found["duplicate_rate"].value == pytest.approx(0.01)
    assert found["error_rate"].value == 0 and found["nonfinite_rate"].value == 0
    assert found["latency_p50_ms"].value == pytest.approx(0.049, abs=0.003)


def test_a_changed_correlation_is_seen_only_in_several_features() -> None:
    rng = np.random.default_rng(0)
    import dataclasses

    from models.spec import NumericFeature
    from monitoring import log_rows, reference

    spec = dataclasses.replace(
        SPEC,
        numeric=tuple(NumericFeature(n, 0, -9, 9, 0, 1) for n in "abcd"),
        categorical=(),
    )

    def draw(n: int, sign: float) -> dict[str, np.ndarray]:
        a = rng.normal(size=n)
        near = [a * s + 0.2 * rng.normal(size=n) for s in (1.0, 1.0, sign)]
        return {"a": a, "b": near[0], "c": near[1], "d": near[2]}

    def logged(columns: dict[str, np.ndarray]) -> pa.Table:
        n = len(columns["a"])
        return log_rows.rows(
            spec, "v", columns, None, request_ids=[str(i) for i in range(n)],
            times=np.datetime64(0, "us"),
        )  # fmt: skip

    base = pa.table({**draw(3000, 1.0), "tips": ["no"] * 3000})
    ref = reference.from_rows(spec, lambda: base.to_batches())
    options = MultivariateOptions()
    same = multivariate.measure(ref.layout, ref.sample, logged(draw(2000, 1.0)), options)
    turned = multivariate.measure(ref.layout, ref.sample, logged(draw(2000, -1.0)), options)
    same, turned = ({m.statistic: m for m in found} for found in (same, turned))
    assert turned["reconstruction_error"].value > 2 * same["reconstruction_error"].value
    assert turned["reconstruction_error"].p_value < 1e-9
    assert turned["domain_auc"].value > 0.9 and turned["domain_auc"].p_value < 1e-9
    assert "by" in turned["domain_auc"].words
    assert same["domain_auc"].value < 0.55


def test_metrics_have_intervals_that_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    p = rng.beta(1, 2, 200_000)
    expected = float(np.mean(np.maximum(p, 1 - p)))  # the accuracy of a calibrated score
    hits = 0
    for _ in range(200):
        drawn = rng.choice(p, 400)
        truth = (rng.random(400) < drawn).astype(np.float32)
        scores = drawn.reshape(-1, 1).astype(np.float32)
        found = {m.statistic: m for m in performance.measure(SPEC, truth, scores, rows=500)}
        hits += found["accuracy"].low <= expected <= found["accuracy"].high
    assert 180 <= hits <= 199  # 95 % of 200, give or take three standard errors
    assert found["coverage"].value == 0.8
    assert found["auc"].low < found["auc"].value < found["auc"].high


def test_newest_label_counts_and_few_are_unreliable() -> None:
    import datetime

    day = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
    later = day + datetime.timedelta(days=1)

    def labels(ids: list[str], values: list[str], time: datetime.datetime) -> pa.Table:
        return pa.table({"request_id": ids, "label": values, "time": pa.array([time] * len(ids))})

    joined = performance.Labels(
        [labels(["1-0", "1-1"], ["yes", "yes"], later), labels(["1-0"], ["no"], day)]
    )
    truth, scores = performance.join(SPEC, made(3, 1), joined)
    assert truth.tolist() == [1.0, 1.0] and scores.shape == (2, 1)
    found = performance.measure(SPEC, truth, scores, rows=3)
    assert next(m for m in found if m.statistic == "accuracy").unreliable == "only 2 labelled rows"


def calibrated(n: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.clip(rng.beta(2, 3, n) + shift, 0.01, 0.99)
    truth = (rng.random(n) < p).astype(np.float32)
    # Scores that rank well and are miscalibrated: recalibration must undo that.
    return truth, (p**2).reshape(-1, 1).astype(np.float32)


def test_the_estimate_is_right_under_covariate_shift() -> None:
    calibrator = estimate.calibrate(SPEC, *calibrated(20_000, 0), "held-out rows")
    truth, scores = calibrated(20_000, 1, shift=0.2)
    found = {
        m.statistic: m
        for m in estimate.estimate(SPEC, scores, calibrator, EstimateOptions(rows=5000))
    }
    realised = performance.measure(SPEC, truth, scores, rows=len(truth))
    for measure in realised:
        guess = found.get(f"estimated_{measure.statistic}")
        if guess is not None:
            assert guess.value == pytest.approx(measure.value, abs=0.02), measure.statistic
            assert guess.low < guess.value < guess.high
    assert {"estimated_auc", "estimated_accuracy", "estimated_log_loss"} <= set(found)


def test_the_estimate_does_not_see_concept_drift_and_is_then_called_unreliable() -> None:
    calibrator = estimate.calibrate(SPEC, *calibrated(20_000, 0), "held-out rows")
    truth, scores = calibrated(5000, 1)
    turned = 1 - truth  # the same inputs mean the opposite
    quiet = estimate.doubts(calibrator, (truth, scores), SPEC, 0.0)
    moved = estimate.doubts(calibrator, (turned, scores), SPEC, 0.0)
    assert quiet == () and len(moved) == 1 and moved[0].startswith("calibration has moved")
    assert "outside the reference" in estimate.doubts(calibrator, None, SPEC, 0.3)[0]


def test_losses_of_a_regression_are_estimated() -> None:
    rng = np.random.default_rng(0)
    spec = ModelSpec("regression", "y", (), SPEC.numeric, ())

    def draw(n: int, wide: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = rng.random(n) * wide
        answers = (2 * x).reshape(-1, 1)
        return x.reshape(-1, 1), (2 * x + rng.normal(size=n) * (0.2 + x)), answers

    model = estimate.LossModel(*draw(8000, 1.0))
    x, truth, answers = draw(8000, 0.4)  # easier rows than the reference's
    found = {m.statistic: m for m in model.estimate(x, answers, EstimateOptions())}
    for measure in performance.measure(spec, truth, answers, rows=len(truth)):
        guess = found.get(f"estimated_{measure.statistic}")
        if guess is not None:
            assert guess.value == pytest.approx(measure.value, rel=0.05), measure.statistic
