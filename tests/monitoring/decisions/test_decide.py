"""From rows to findings: learning, deciding, what matters, what is visible."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from monitoring import drift, replay, summaries
from monitoring.decisions import laws, performance, power, statistics
from monitoring.decisions.blocks import Blocks, column_of
from monitoring.decisions.decide import decide
from monitoring.decisions.importance import importance
from monitoring.decisions.learn import learn
from monitoring.decisions.options import ThresholdOptions
from monitoring.decisions.thresholds import Thresholds
from monitoring.measure import LABEL, PREDICTION, WINDOW, Measure

KINDS = {"fare": "numeric", "rain": "numeric", "city": "categorical", LABEL: "categorical"}
OPTIONS = ThresholdOptions(resamples=200)


def rows(n: int, seed: int, days: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Fares, mostly dry weather, cities and labels; with days, each has a level of its own."""
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, days, n)) if days else None
    level = rng.normal(0, 0.6, days)[day] if days else 0.0
    rain = np.where(rng.random(n) < 0.9, 0.0, rng.gamma(2.0, 1.0, n))
    table = {
        "fare": np.exp(rng.normal(2, 0.5, n) + level),
        "rain": rain,
        "city": rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]).astype(object),
        LABEL: np.where(rng.random(n) < 0.2, "1", "0").astype(object),
    }
    return table, day


@pytest.fixture(scope="module")
def learnt():
    table, _ = rows(20_000, 0)
    reference = Blocks.of(table, KINDS)
    return reference, learn(reference, OPTIONS, importance={"fare": 0.99, "city": 0.001})


def look(learnt, changed, options=OPTIONS, history=()):
    reference, thresholds = learnt
    window = Blocks.of(changed, KINDS, columns=reference.columns)
    return decide(statistics.measure_all(reference, window, "w"), thresholds, history, options)


class TestMeasures:
    def test_numbers_are_those_of_the_report(self):
        before, now = rows(5000, 1)[0]["fare"], rows(3000, 2)[0]["fare"] * 1.1
        column = column_of("fare", before, "numeric")
        table = {"fare": before}
        reference = Blocks.of(table, {"fare": "numeric"}, columns=(column,))
        window = Blocks.of({"fare": now}, {"fare": "numeric"}, columns=(column,))
        found = {m.statistic: m for m in statistics.measure_all(reference, window)}
        told = drift.compare(
            "fare",
            summaries.bin_values(before, column.edges),
            summaries.bin_values(now, column.edges),
        )
        assert found["psi"].value == pytest.approx(told.psi, rel=1e-3)
        assert found["ks"].value == pytest.approx(told.ks, rel=1e-3)

    def test_blocks_add_up(self):
        table, day = rows(2000, 3, days=10)
        daily, once = Blocks.of(table, KINDS, day), Blocks.of(table, KINDS)
        for name in KINDS:
            np.testing.assert_array_equal(daily.counts[name].sum(axis=0), once.counts[name][0])
        assert daily.blocks == 10 and daily.rows == 2000

    def test_new_values_are_counted_apart(self):
        column = column_of("city", np.array(["a"] * 90 + ["b"] * 10, object), "categorical")
        codes = column.codes(np.array(["a", "zz", None, "", "b"], object))
        assert codes.tolist() == [0, 2, 3, 3, 1]


class TestFindings:
    def test_nothing_changed_is_nothing_found(self, learnt):
        alarms = sum(bool(look(learnt, rows(3000, 100 + i)[0])) for i in range(60))
        assert alarms <= 4  # 1 % wanted; more than 4 of 60 has a probability below 1 in 2,000

    def test_each_fault_is_found_where_it_is(self, learnt):
        table, _ = rows(4000, 7)
        faults = [
            replay.scaled("fare"),
            replay.new_category("city"),
            replay.missing("fare"),
            replay.more_often(LABEL, "1", "0"),
        ]
        for fault in faults:
            changed = fault.change(table[fault.feature], np.random.default_rng(0))
            found = look(learnt, {**table, fault.feature: changed})
            assert {f.feature for f in found} == {fault.feature}, fault.name

    def test_beyond_the_reference_is_seen(self, learnt):
        table, _ = rows(4000, 8)
        far = np.where(np.arange(4000) % 20 == 0, 1e6, table["fare"])
        assert [f.feature for f in look(learnt, {**table, "fare": far})] == ["fare"]

    def test_a_mostly_zero_feature_is_seen_both_ways(self, learnt):
        table, _ = rows(5000, 9)
        heavier = look(learnt, {**table, "rain": table["rain"] * 2})
        oftener = np.where(np.arange(5000) % 8 == 0, 1.0, table["rain"])
        assert any("nonzero_mean" in (f.statistic, *f.also) for f in heavier)
        found = look(learnt, {**table, "rain": oftener})
        assert any("nonzero_rate" in (f.statistic, *f.also) for f in found)

    def test_what_the_model_ignores_is_information(self, learnt):
        table, _ = rows(4000, 10)
        moved = np.where(np.arange(4000) % 5 == 0, "c", table["city"])
        (found,) = look(learnt, {**table, "city": moved})
        assert found.severity == "info" and "hardly uses" in found.words

    def test_rare_values_that_come_and_go_are_no_finding(self):
        # Some 3,000 values of Zipf's law: most are seen once, and every window brings new ones.
        rng = np.random.default_rng(12)
        values = (rng.zipf(1.6, 90_000) % 50_000).astype(str).astype(object)
        kinds = {"tract": "categorical"}
        found, new = 0, []
        for _ in range(40):
            rng.shuffle(values)
            reference = Blocks.of({"tract": values[:8000]}, kinds)
            thresholds = learn(reference, OPTIONS)
            window = Blocks.of({"tract": values[8000:13_000]}, kinds, columns=reference.columns)
            measures = statistics.measure_all(reference, window)
            found += bool(decide(measures, thresholds, options=OPTIONS))
            new.append(next(m.value for m in measures if m.statistic == "new_category_rate"))
        assert min(new) > 0.01
        assert found <= 3  # 1 % wanted; more than 3 of 40 has a probability below 1 in 1,000

    def test_no_new_values_is_no_finding_where_some_were_expected(self):
        table = {"tract": np.array([*["a"] * 7000, *map(str, range(1000))], object)}
        reference = Blocks.of(table, {"tract": "categorical"})
        thresholds = learn(reference, OPTIONS)
        assert thresholds.items["tract", "new_category_rate"].reference == 0.125
        window = Blocks.of(
            {"tract": table["tract"][2000:]},
            {"tract": "categorical"},
            columns=reference.columns,
        )
        (new,) = (
            m
            for m in statistics.measure_all(reference, window)
            if m.statistic == "new_category_rate"
        )
        assert new.value == 0 and new.p_value < 1e-6
        assert not thresholds.items["tract", "new_category_rate"].exceeded(new)

    def test_more_values_than_are_listed_are_not_judged_one_by_one(self):
        values = np.array([str(i) for i in range(summaries.MOST_VALUES + 1)], object)
        reference = Blocks.of({"id": values}, {"id": "categorical"})
        (column,) = reference.columns
        assert not column.complete
        thresholds = learn(reference, OPTIONS)
        assert {statistic for _, statistic in thresholds.items} == {"missing_rate"}
        others = np.array([f"new {i}" for i in range(2000)], object)
        window = Blocks.of({"id": others}, {"id": "categorical"}, columns=reference.columns)
        measures = statistics.measure_all(reference, window)
        assert decide(measures, thresholds, options=OPTIONS) == []

    def test_small_is_no_finding_however_sure(self):
        table, _ = rows(400_000, 11)
        reference = Blocks.of(table, KINDS)
        thresholds = learn(reference, OPTIONS)
        window = Blocks.of(
            {**table, "fare": table["fare"] * 1.01}, KINDS, columns=reference.columns
        )
        measures = statistics.measure_all(reference, window)
        ks = next(m for m in measures if (m.feature, m.statistic) == ("fare", "ks"))
        assert ks.p_value < 1e-6 or ks.value < 0.01
        assert decide(measures, thresholds, options=OPTIONS) == []

    def test_persistence(self, learnt):
        options = OPTIONS.model_copy(update={"persistence": 2, "persistence_of": 3})
        reference, _ = learnt
        changed = {**rows(4000, 12)[0]}
        changed["fare"] = changed["fare"] * 1.5
        window = Blocks.of(changed, KINDS, columns=reference.columns)
        bad = statistics.measure_all(reference, window)
        good = statistics.measure_all(
            reference, Blocks.of(rows(4000, 13)[0], KINDS, columns=reference.columns)
        )
        assert look(learnt, changed, options) == []
        assert look(learnt, changed, options, [good, good]) == []
        assert look(learnt, changed, options, [bad, good]) != []

    def test_fixed_thresholds_go_before_learnt_ones(self):
        reference = Blocks.of(rows(5000, 0)[0], KINDS)
        options = ThresholdOptions(mode="fixed", fixed={"psi": 0.1, "fare/psi": 5.0})
        thresholds = learn(reference, options)
        assert {k: t.critical for k, t in thresholds.items.items()} == {
            ("fare", "psi"): 5.0,
            ("rain", "psi"): 0.1,
            ("city", "psi"): 0.1,
        }


class TestWithoutThreshold:
    def measure(self, statistic, value):
        return Measure(WINDOW, statistic, value, 1000, 0, family="shipped")

    def history(self, statistic, *values):
        return [[self.measure(statistic, value)] for value in values]

    def test_latency_doubled(self, learnt):
        past = self.history("latency_p99_ms", 4.0, 4.2, 3.9, 4.1)
        found = decide([self.measure("latency_p99_ms", 8.2)], learnt[1], past)
        assert [f.kind for f in found] == ["service"]
        assert decide([self.measure("latency_p99_ms", 5.0)], learnt[1], past) == []
        assert decide([self.measure("latency_p99_ms", 8.2)], learnt[1], past[:2]) == []

    def test_volume_both_ways_beyond_its_own_spread(self, learnt):
        past = self.history("rows", 1000, 1100, 950, 1020)
        for value, number in ((100, 1), (5000, 1), (1300, 0)):
            assert len(decide([self.measure("rows", value)], learnt[1], past)) == number
        restless = self.history("rows", 100, 1000, 9000, 300)
        assert decide([self.measure("rows", 3000)], learnt[1], restless) == []

    def test_what_must_never_be(self, learnt):
        found = decide([self.measure("type_error_rate", 0.01)], learnt[1])
        assert found[0].kind == "schema" and found[0].severity == "critical"
        nan = self.measure("type_error_rate", float("nan"))
        assert decide([nan], learnt[1]) == []

    def test_against_earlier_windows_nothing_is_decided(self, learnt):
        measure = Measure("fare", "psi", 9.0, 1000, 1000, against="previous")
        assert decide([measure], learnt[1]) == []


class TestDays:
    def test_days_that_differ_need_wider_limits(self):
        table, day = rows(30_000, 20, days=60)
        kinds = {"fare": "numeric"}
        alarms = {}
        for way in ("independent", "blocks"):
            options = ThresholdOptions(rows=way, resamples=200)
            reference = Blocks.of(table, kinds, day)
            thresholds = learn(reference, options)
            hits = 0
            for seed in range(40):
                now, _ = rows(500, 500 + seed, days=1)
                window = Blocks.of(now, kinds, columns=reference.columns)
                measures = statistics.measure_all(reference.summed(), window)
                hits += bool(decide(measures, thresholds, options=options))
            alarms[way] = hits
        assert alarms["independent"] > 20  # days differ, so nearly every one "drifts"
        assert alarms["blocks"] <= 6

    def test_a_feature_with_an_extraordinary_day_blinds_no_other(self):
        table, day = rows(30_000, 23, days=60)
        # Three days without any rain gauge; the others lack a few rows.
        lost = np.isin(day, (7, 31, 50)) | (np.arange(30_000) % 300 == 0)
        table["rain"] = np.where(lost, np.nan, table["rain"])
        kinds = {"rain": "numeric", "city": "categorical"}
        reference = Blocks.of(table, kinds, day)
        thresholds = learn(reference, OPTIONS)
        assert thresholds.items["city", "psi"].critical < 0.5
        now, _ = rows(500, 600, days=1)
        fault = replay.new_category("city", 0.2)
        now["city"] = fault.change(now["city"], np.random.default_rng(0))
        window = Blocks.of(now, kinds, columns=reference.columns)
        found = decide(statistics.measure_all(reference.summed(), window), thresholds)
        assert "city" in {f.feature for f in found}

    def test_windows_longer_than_half_of_the_reference_have_limits_of_days(self):
        table, day = rows(20_000, 24, days=40)
        reference = Blocks.of(table, {"fare": "numeric"}, day)
        limits = [
            learn(reference, OPTIONS, window_blocks=length).items["fare", "psi"]
            for length in (1, 20, 40)
        ]
        assert {limit.law for limit in limits} == {"days"}
        # The longer the window, the less chance does; beyond half, by 1 / n + 1 / m.
        assert limits[0].critical > limits[1].critical > limits[2].critical
        assert limits[2].window_rows == pytest.approx(20_000, rel=0.05)

    def test_too_few_days_are_said_to_be(self):
        table, day = rows(2000, 21, days=6)
        thresholds = learn(Blocks.of(table, KINDS, day), ThresholdOptions(rows="blocks"))
        assert thresholds.method == "independent" and "6 days" in thresholds.notes[0]

    def test_replay_says_both(self):
        table, day = rows(12_000, 22, days=60)
        found = replay.replay(
            table,
            KINDS,
            OPTIONS,
            times=day,
            sizes=(400,),
            windows=20,
            splits=2,
            faults=[replay.new_category("city", 0.3)],
            fault_windows=10,
        )
        calm, fault = found.rows
        assert calm.windows == 20 and calm.low <= calm.rate <= calm.high
        assert fault.rate == 1.0 and fault.delay == 1.0
        assert len(found.lines()) == 4
        json.dumps(found.to_dict())


def test_thresholds_survive_their_json(learnt):
    _, thresholds = learnt
    assert Thresholds.from_dict(json.loads(thresholds.to_json())) == thresholds


def test_importance_finds_what_matters():
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=2000) for name in ("much", "some", "none")}

    def predict(x):
        return 3 * x["much"] + x["some"]

    truth = predict(inputs)
    for loss in (None, lambda scores: float(np.mean((scores - truth) ** 2))):
        found = importance(predict, inputs, loss=loss)
        assert list(found)[0] == "much" and found["none"] == 0.0
        assert sum(found.values()) == pytest.approx(1.0)


class TestPower:
    def test_more_rows_see_smaller_changes(self, learnt):
        reference, thresholds = learnt
        columns = {c.name: c for c in reference.columns}
        values = {"fare": rows(20_000, 0)[0]["fare"]}
        shifts = [
            power.detectable_all(thresholds, n, 0.8, values, columns).detectable["fare"]["shift"]
            for n in (200, 2000, 20_000)
        ]
        assert shifts[0] > shifts[1] >= shifts[2] > 0

    def test_a_visible_shift_is_seen(self, learnt):
        reference, thresholds = learnt
        columns = {c.name: c for c in reference.columns}
        values = rows(20_000, 0)[0]["fare"]
        found = power.detectable_all(thresholds, 2000, 0.8, {"fare": values}, columns)
        move = found.detectable["fare"]["shift"] * np.std(values)
        hits = 0
        for seed in range(30):
            table, _ = rows(2000, 900 + seed)
            hits += any(
                f.feature == "fare" for f in look(learnt, {**table, "fare": table["fare"] + move})
            )
        assert hits >= 15  # 24 expected at a power of 0.8; the reference is but 20,000 rows


class TestPerformance:
    def labelled(self, days, seed, slope=1.0):
        rng = np.random.default_rng(seed)
        n = days * 200
        score = rng.normal(size=n)
        level = rng.normal(0, 0.3, days)[np.arange(n) // 200]
        label = (rng.random(n) < 1 / (1 + np.exp(-(slope * score + level)))).astype(int)
        return 1 / (1 + np.exp(-score)), label, np.arange(n) // 200

    def accuracy(self, scores, labels):
        return float(np.mean((scores > 0.5) == labels))

    def score(self, truth, scores):
        return {"accuracy": self.accuracy(scores, truth)}

    def test_a_real_fall_is_found_and_none_is_not(self):
        scores, labels, days = self.labelled(60, 0)
        limits = performance.learn_performance(
            labels, scores, self.score, OPTIONS, times=days, window_blocks=20
        )
        thresholds = performance.with_performance(Thresholds({}, 0.01, "blocks"), limits)

        def told(slope, seed):
            s, y, _ = self.labelled(20, seed, slope)
            value = self.accuracy(s, y)
            measure = Measure(
                PREDICTION, "accuracy", value, len(y), 0, family="performance", against="training"
            )
            return bool(decide([measure], thresholds))

        assert not any(told(1.0, seed) for seed in range(1, 11))
        assert all(told(0.0, seed) for seed in range(1, 6))
        # A rise is no fall.
        assert not told(8.0, 1)

    def test_an_unreliable_value_decides_nothing(self):
        scores, labels, _ = self.labelled(30, 0)
        limits = performance.learn_performance(labels, scores, self.score, OPTIONS, window_rows=500)
        thresholds = Thresholds(limits, 0.01, "independent")
        measure = Measure(PREDICTION, "accuracy", 0.1, 40, 0, family="performance")
        assert decide([measure], thresholds)
        few = dataclasses.replace(measure, unreliable="only 40 labelled rows")
        assert decide([few], thresholds) == []


def test_the_documented_example():
    """docs/thresholds.md: ten bins, 1,000 rows against 100,000, 1 % shared by 20 tests."""
    assert laws.psi_limit(0.0005, 10, 1000, 100_000) == pytest.approx(0.0300, abs=5e-5)
    assert laws.ks_limit(0.0005, 1000, 100_000) == pytest.approx(0.0645, abs=5e-4)
    assert laws.proportion_limit(0.0005, 1000, 0.0, 100_000) == pytest.approx(0.002, abs=5e-4)
