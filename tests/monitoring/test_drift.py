"""Measures against SciPy and closed forms; statistics against the rows they came from."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from scipy.spatial import distance

from monitoring import drift, summaries
from monitoring.drift import Thresholds, compare, compare_statistics
from monitoring.summaries import Binned, Categories

counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=40)


def pairs(least=0):
    cell = st.integers(least, 10_000)
    return st.lists(st.tuples(cell, cell), min_size=2, max_size=40).filter(
        lambda rows: sum(p for p, _ in rows) > 0 and sum(q for _, q in rows) > 0
    )


def sides(rows):
    p, q = zip(*rows, strict=True)
    return np.array(p, float), np.array(q, float)


class TestMeasures:
    @given(pairs())
    def test_jsd_is_scipys_in_bits(self, rows):
        p, q = sides(rows)
        expected = distance.jensenshannon(p, q, base=2) ** 2
        assert drift.jsd(p, q) == pytest.approx(expected, abs=1e-7)
        assert 0 <= drift.jsd(p, q) <= 1

    @given(pairs(least=1))
    def test_psi_is_both_relative_entropies_where_no_cell_is_empty(self, rows):
        p, q = sides(rows)
        expected = scipy_stats.entropy(p, q) + scipy_stats.entropy(q, p)
        assert drift.psi(p, q) == pytest.approx(expected, rel=1e-9, abs=1e-12)

    @given(pairs())
    def test_psi_is_symmetric_finite_and_zero_only_without_change(self, rows):
        p, q = sides(rows)
        assert np.isfinite(drift.psi(p, q)) and drift.psi(p, q) >= -1e-12
        assert drift.psi(p, q) == pytest.approx(drift.psi(q, p))
        assert drift.psi(p, p) == 0

    def test_psi_by_hand(self):
        # (.4 - .2) ln(.4 / .2) + (.6 - .8) ln(.6 / .8)
        assert drift.psi(np.array([20.0, 80]), np.array([40.0, 60])) == pytest.approx(0.196166)

    def test_an_empty_cell_counts_as_half_a_row(self):
        value = drift.psi(np.array([0.0, 100]), np.array([10.0, 90]))
        p, q = np.array([0.005, 1.0]), np.array([0.1, 0.9])
        assert value == pytest.approx(float(np.sum((q - p) * np.log(q / p))))

    @given(pairs())
    def test_linf_and_ks(self, rows):
        p, q = sides(rows)
        change = p / p.sum() - q / q.sum()
        assert drift.linf(p, q) == pytest.approx(np.abs(change).max())
        assert drift.ks(p, q) == pytest.approx(np.abs(np.cumsum(change)).max())

    def test_nothing_on_a_side_is_no_drift(self):
        result = compare("x", Categories({"a": 5.0}), Categories({}))
        assert (result.psi, result.jsd, result.linf, result.drifted) == (0, 0, 0, False)


class TestChance:
    @pytest.mark.parametrize(
        ("n", "m", "values", "spread"),
        [
            (500, 500, 10, 5.0),
            (5_000, 700, 25, 5.0),
            (20_000, 1_000, 300, 1.0),
            (7_500, 7_500, 4_000, 0.6),
        ],
    )
    def test_unchanged_data_passes_whatever_the_number_of_cells(self, n, m, values, spread):
        """The last is like aircraft tail numbers, where the law of PSI fails 45 times as often."""
        rng = np.random.default_rng(0)
        shares = rng.dirichlet(np.full(values, spread))
        found = []
        for _ in range(1_500):
            p, q = drift.pooled(*(rng.multinomial(k, shares).astype(float) for k in (n, m)))
            found.append(drift.chance(p, q, 0.001)[0])
        assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.025)
        assert np.mean(np.array(found) < 0.001) <= 0.005

    def test_the_p_value_is_scipys_and_the_level_that_of_the_law(self):
        p, q = np.array([120.0, 300, 380]), np.array([60.0, 90, 150])
        probability, level = drift.chance(p, q, 0.001)
        expected = scipy_stats.chi2_contingency([p, q], correction=False).pvalue
        assert probability == pytest.approx(expected)
        assert level == pytest.approx(scipy_stats.chi2.isf(0.001, 2) * (1 / 800 + 1 / 300))

    @given(pairs())
    def test_pooling_keeps_rows_and_leaves_no_nearly_empty_cell(self, rows):
        p, q = sides(rows)
        n, m = p.sum(), q.sum()
        few_p, few_q = drift.pooled(p, q)
        assert few_p.sum() == pytest.approx(n) and few_q.sum() == pytest.approx(m)
        expected = min(n, m) * (few_p + few_q) / (n + m)
        assert len(few_p) == 1 or (expected >= drift.MIN_EXPECTED - 1e-9).all()

    def test_hundreds_of_rare_values_do_not_cry_wolf(self):
        rng = np.random.default_rng(1)
        flagged = 0
        for _ in range(200):
            one, other = (
                summaries.count_values(np.char.add("v", rng.zipf(1.5, 500).astype(str)))
                for _ in range(2)
            )
            flagged += compare("x", one, other).drifted
        assert flagged == 0


class TestCompare:
    def test_numbers(self):
        rng = np.random.default_rng(2)
        before, now = rng.lognormal(2, 0.7, 5_000), rng.lognormal(2, 0.7, 4_000) * 1.3
        edges = summaries.edges_from_values(before)
        result = compare("fare", *(summaries.bin_values(values, edges) for values in (before, now)))
        assert result.drifted and "psi" in result.exceeded
        assert result.psi > result.noise
        assert result.words.startswith(
            f"fare: median {np.median(before):.4g} → {np.median(now):.4g}"
        )
        exact = scipy_stats.ks_2samp(before, now).statistic
        assert exact - 0.05 <= result.ks <= exact + 1e-6
        assert len(result.labels) == len(result.reference) == len(result.edges) + 2
        assert sum(result.current) == pytest.approx(1)

    def test_rows_beyond_the_reference_are_seen(self):
        before = np.linspace(0, 1, 2_000)
        now = np.concatenate([before[:1_800], np.full(100, 7.0), np.full(100, -7.0)])
        edges = summaries.edges_from_values(before)
        result = compare("x", *(summaries.bin_values(v, edges) for v in (before, now)))
        assert result.drifted
        assert result.reference[0] == 0 and result.current[0] == pytest.approx(0.05)
        assert result.current[-2] == pytest.approx(0.05)
        assert "below the reference's range (0)" in result.words
        assert "above the reference's range (1)" in result.words

    def test_missing_cells_are_seen(self):
        before = np.linspace(0, 1, 2_000)
        now = np.where(np.arange(2_000) % 5 == 0, np.nan, before)
        edges = summaries.edges_from_values(before)
        result = compare("x", *(summaries.bin_values(v, edges) for v in (before, now)))
        assert result.drifted and "missing 0 % → 20 %" in result.words

    def test_swapped_shares_and_a_new_value(self):
        before = Categories({"cash": 660.0, "card": 340.0})
        swapped = compare("pay", before, Categories({"cash": 340.0, "card": 660.0}))
        assert swapped.drifted and swapped.exceeded == ("psi", "linf")
        assert swapped.linf == pytest.approx(0.32)
        assert "'cash' 66 % → 34 %" in swapped.words
        added = compare("pay", before, Categories({"cash": 627, "card": 323, "coin": 50}))
        assert added.drifted and "new 'coin' 5.0 %" in added.words

    def test_a_large_change_in_a_tiny_sample_is_chance(self):
        result = compare("pay", Categories({"a": 6, "b": 4}), Categories({"a": 4, "b": 6}))
        assert result.exceeded and not result.drifted and result.p_value > 0.1

    def test_a_tiny_change_in_a_large_sample_does_not_matter(self):
        result = compare(
            "x", Categories({"a": 5e6, "b": 5e6}), Categories({"a": 5.1e6, "b": 4.9e6})
        )
        assert result.p_value < 1e-9 and not result.exceeded and not result.drifted

    def test_values_that_were_not_counted_one_by_one(self):
        whole = Categories({"a": 50.0, "b": 30.0, "c": 15.0, "d": 5.0})
        cut = Categories({"a": 50.0, "b": 30.0}, other=20.0)
        for one, other in ((whole, cut), (cut, whole), (cut, cut)):
            assert compare("x", one, other).jsd == pytest.approx(0, abs=1e-12)

    def test_kinds_and_edges_must_agree(self):
        numbers = Binned((0.0, 1.0), (0.0, 5.0, 0.0))
        with pytest.raises(ValueError, match="numbers cannot be compared"):
            compare("x", numbers, Categories({"a": 1.0}))
        with pytest.raises(ValueError, match="different edges"):
            compare("x", numbers, Binned((0.0, 2.0), (0.0, 5.0, 0.0)))

    def test_the_plot_shows_the_commonest_values(self):
        many = {f"v{i:03}": float(300 - i) for i in range(200)}
        result = compare("x", Categories(many), Categories(many, missing=10.0))
        assert len(result.labels) == drift.PLOTTED_VALUES + 2
        assert result.labels[0] == "v000" and result.labels[-2:] == (drift.OTHER, drift.MISSING)
        assert sum(result.reference) == pytest.approx(1)

    def test_to_dict_is_json(self):
        result = compare("x", Categories({"a": 10.0}), Categories({"b": 10.0}))
        again = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert again["drifted"] is False or again["drifted"] is True
        assert again["thresholds"]["psi"] == Thresholds().psi


class TestRows:
    @settings(max_examples=60)
    @given(
        st.lists(
            st.one_of(
                st.floats(-1e6, 1e6, width=32), st.integers(-5, 5).map(float), st.just(np.nan)
            ),
            max_size=300,
        )
    )
    def test_every_row_falls_into_one_bin_and_none_beyond_its_own_range(self, values):
        values = np.array(values, np.float32)
        edges = summaries.edges_from_values(values)
        binned = summaries.bin_values(values, edges)
        assert binned.rows == len(values) and binned.missing == np.isnan(values).sum()
        assert list(edges) == sorted(set(edges))
        if edges:
            assert binned.counts[0] == binned.counts[-1] == 0

    @given(st.lists(st.integers(2**40, 2**40 + 50), min_size=1))
    def test_large_whole_numbers_stay_apart(self, values):
        values = np.array(values)
        binned = summaries.bin_values(values, summaries.edges_from_values(values, bins=60))
        expected = np.unique(values, return_counts=True)[1]
        assert [count for count in binned.counts if count] == expected.tolist()

    def test_edges_hold_rows_of_either_precision(self):
        values = np.array([0.1, 0.2, 0.3, 12.45])
        edges = summaries.edges_from_values(values.astype(np.float32))
        binned = summaries.bin_values(values, edges)
        assert binned.counts[0] == binned.counts[-1] == 0

    def test_values(self):
        counted = summaries.count_values(np.array(["a", "b", "a", "", None, np.nan], object))
        assert counted == Categories({"a": 2.0, "b": 1.0}, missing=3.0)


def statistics(frame: pd.DataFrame, categorical: tuple[str, ...] = ()):
    """TFDV's statistics of a frame, with the limits lifted as StatisticsGen does."""
    import tensorflow_data_validation as tfdv
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    for name in categorical:
        schema.feature.add(name=name, type=schema_pb2.INT).int_domain.is_categorical = True
    options = tfdv.StatsOptions(
        num_top_values=50_000,
        num_rank_histogram_buckets=50_000,
        num_quantiles_histogram_buckets=100,
        schema=schema if categorical else None,
    )
    result = tfdv.generate_statistics_from_dataframe(frame.reset_index(drop=True), options)
    return {feature.path.step[0]: feature for feature in result.datasets[0].features}


@pytest.fixture(scope="module")
def taxi() -> pd.DataFrame:
    import tfx

    folder = pathlib.Path(tfx.__path__[0]) / "examples/chicago_taxi_pipeline/data/simple"
    frame = pd.read_csv(folder / "data.csv").drop(columns="pickup_census_tract")
    reals = [name for name in frame if frame[name].dtype == float]
    return frame.astype({name: "float32" for name in reals})


def halves(frame: pd.DataFrame, rows: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    order = np.random.default_rng(seed).permutation(len(frame))
    return frame.iloc[order[:rows]], frame.iloc[order[rows : 2 * rows]]


class TestStatistics:
    @pytest.mark.parametrize("rows", [500, 5_000])
    def test_shares_and_measures_are_within_the_bound_of_the_rows(self, taxi, rows):
        one, other = halves(taxi, rows, seed=3)
        before, now = statistics(one), statistics(other)
        for name in taxi.columns:
            from_statistics = compare_statistics(name, before[name], now[name])
            if from_statistics.kind == "categorical":
                continue
            exact = compare(
                name,
                *(summaries.bin_values(side[name], from_statistics.edges) for side in (one, other)),
            )
            assert from_statistics.reference == pytest.approx(exact.reference, abs=2e-3), name
            assert from_statistics.current == pytest.approx(exact.current, abs=0.02), name
            assert from_statistics.jsd == pytest.approx(exact.jsd, abs=0.01), name
            p, q = np.array(exact.reference), np.array(exact.current)
            assert exact.jsd == pytest.approx(distance.jensenshannon(p, q, base=2) ** 2, abs=1e-9)

    def test_listed_values_are_exact(self, taxi):
        one, other = halves(taxi, 4_000, seed=4)
        names = ("payment_type", "company", "trip_start_hour")
        before, now = (statistics(s, ("trip_start_hour",)) for s in (one, other))
        for name in names:
            result = compare_statistics(name, before[name], now[name])
            exact = compare(name, *(summaries.count_values(s[name].values) for s in (one, other)))
            assert result.kind == "categorical"
            assert result == exact

    @pytest.mark.parametrize("rows", [500, 5_000])
    def test_random_halves_do_not_drift(self, taxi, rows):
        for seed in range(3):
            before, now = (
                statistics(side, ("trip_start_hour",)) for side in halves(taxi, rows, seed)
            )
            thresholds = Thresholds(psi=0.1, jsd=0.02)
            for name in taxi.columns:
                result = compare_statistics(name, before[name], now[name], thresholds)
                assert not result.drifted, result.words

    @pytest.mark.parametrize("rows", [500, 5_000])
    def test_what_changed_does(self, taxi, rows):
        one, other = halves(taxi, rows, seed=5)
        swap = {"Cash": "Credit Card", "Credit Card": "Cash"}
        new = np.where(np.arange(rows) % 10 == 0, "Taxi Eleven", other["company"])
        other = other.assign(
            fare=(other["fare"] * 1.3).astype("float32"),
            payment_type=other["payment_type"].replace(swap),
            company=new,
        )
        before, now = statistics(one), statistics(other)
        for name in ("fare", "payment_type", "company"):
            assert compare_statistics(name, before[name], now[name]).drifted, name
        assert not compare_statistics(
            "trip_start_month", before["trip_start_month"], now["trip_start_month"]
        ).drifted

    def test_an_outlier_is_not_a_shift(self):
        """One huge value stretches the last bucket; TFDV's own divergence is fooled by it."""
        values = np.random.default_rng(6).normal(10, 1, 4_000).astype("float32")
        spoilt = values.copy()
        spoilt[0] = 1e9
        before, now = (statistics(pd.DataFrame({"x": v}))["x"] for v in (values, spoilt))
        result = compare_statistics("x", before, now)
        assert result.psi < 0.01 and not result.drifted
        assert 0 < result.current[-2] <= 2 / 4_000

    def test_only_what_is_certain_lies_beyond_the_range(self):
        """A repeated least value: TFDV spreads its rows below it, where hardly any are."""
        rng = np.random.default_rng(10)
        x = np.where(rng.random(1_500) < 0.04, 3.25, rng.uniform(3.3, 40, 1_500)).astype("float32")
        lower = x.copy()
        lower[:3] = 0.0
        before, now = (statistics(pd.DataFrame({"x": v}))["x"] for v in (x, lower))
        for one, other, place, rows in ((before, now, 0, 3), (now, before, 0, 0)):
            assert 0 <= compare_statistics("x", one, other).current[place] * 1_500 <= rows + 1e-6
        mirrored = (statistics(pd.DataFrame({"x": -v}))["x"] for v in (x, lower))
        assert compare_statistics("x", *mirrored).current[-2] * 1_500 <= 3 + 1e-6

    def test_few_distinct_numbers_are_categories(self):
        rng = np.random.default_rng(7)
        frame = pd.DataFrame(
            {"stars": rng.choice([1, 2, 3, 4, 5], 1_000, p=[0.1, 0.1, 0.2, 0.3, 0.3])}
        )
        same = frame.sample(frac=1, random_state=0)
        worse = pd.DataFrame({"stars": 6 - frame["stars"]})
        before, now, other = (statistics(f)["stars"] for f in (frame, same, worse))
        result = compare_statistics("stars", before, now)
        assert result.kind == "categorical" and result.psi == pytest.approx(0, abs=1e-9)
        counts = frame["stars"].value_counts(normalize=True)
        shown = dict(zip(result.labels, result.reference, strict=True))
        assert {f"{k}": v for k, v in counts.items()} == pytest.approx(
            {k: v for k, v in shown.items() if k.isdigit()}
        )
        assert compare_statistics("stars", before, other).drifted

    def test_zeros_with_a_continuous_rest_are_numbers(self):
        rng = np.random.default_rng(8)

        def amounts(scale, zeros):
            x = np.where(rng.random(5_000) < zeros, 0, rng.gamma(2, scale, 5_000))
            return statistics(pd.DataFrame({"x": x.astype("float32")}))["x"]

        before = amounts(100, 0.93)
        same = compare_statistics("x", before, amounts(100, 0.93))
        assert same.kind == "numeric" and not same.drifted
        assert same.reference[1] == pytest.approx(0.93, abs=0.015) and same.labels[1] == "0"
        assert compare_statistics("x", before, amounts(100, 0.75)).drifted

    def test_one_value_only(self):
        one = statistics(pd.DataFrame({"x": np.full(300, 5.0)}))["x"]
        other = statistics(pd.DataFrame({"x": np.full(300, 6.0)}))["x"]
        assert not compare_statistics("x", one, one).drifted
        assert compare_statistics("x", one, other).drifted

    def test_a_side_without_values(self):
        full = pd.DataFrame({"x": np.arange(300.0), "c": ["a", "b"] * 150})
        empty = pd.DataFrame({"x": np.full(300, np.nan), "c": [None] * 300})
        before, now = statistics(full), statistics(empty)
        for name in ("x", "c"):
            gone = compare_statistics(name, before[name], now[name])
            assert gone.drifted and gone.current[-1] == 1
            back = compare_statistics(name, now[name], before[name])
            assert back.drifted and back.reference[-1] == 1

    def test_numbers_are_not_compared_with_values(self):
        before = statistics(pd.DataFrame({"x": np.arange(300.0)}))["x"]
        now = statistics(pd.DataFrame({"x": np.arange(300).astype(str)}))["x"]
        assert compare_statistics("x", before, now) is None

    def test_infinite_and_not_a_number(self):
        x = np.random.default_rng(9).normal(size=1_000).astype("float32")
        odd = x.copy()
        odd[:30], odd[30:60] = np.inf, -np.inf
        before, now = (statistics(pd.DataFrame({"x": v}))["x"] for v in (x, odd))
        for one, other in ((before, now), (now, before), (now, now)):
            result = compare_statistics("x", one, other)
            assert np.isfinite([result.psi, result.jsd, result.linf, result.ks]).all()
            json.dumps(result.to_dict(), allow_nan=False)


def test_importing_it_is_light():
    code = (
        "import sys, monitoring.drift; "
        "heavy = {'tensorflow', 'tfx', 'scipy', 'pandas', 'apache_beam', 'pyarrow'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = pathlib.Path(drift.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
