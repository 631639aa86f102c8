"""StatisticsGen: the same numbers as TFDV on Beam, in files that stock tools read."""

from __future__ import annotations

import collections
import json
import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_data_validation.utils import quantiles_util
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.components import SchemaGen
from tfx.components.example_validator import executor as validator
from tfx.components.schema_gen import executor as schema_gen
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.coders import example_coder

from custom_components.example_gen.component import ExampleGen
from custom_components.example_gen.executor import Executor as ExampleGenExecutor
from custom_components.example_gen.options import DataOptions
from custom_components.statistics_gen import executor, histograms, statistics
from custom_components.statistics_gen.component import StatisticsGen
from custom_components.statistics_gen.options import StatisticsOptions

CATEGORICAL = ("trip_start_hour", "trip_start_month", "pickup_community_area", "company")


def make_examples(folder, path) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    examples.span = 7
    properties = ExampleGen(DataOptions(path=str(path))).exec_properties
    ExampleGenExecutor().Do({}, {"examples": [examples]}, properties)
    return examples


def make_statistics(folder, examples, **options) -> standard_artifacts.ExampleStatistics:
    output = standard_artifacts.ExampleStatistics()
    output.uri = str(folder)
    executor.Executor().Do(
        {"examples": [examples]},
        {"statistics": [output]},
        {"options": StatisticsOptions(**options).model_dump_json()},
    )
    return output


def load(artifact, split):
    path = os.path.join(artifact_utils.get_split_uri([artifact], split), "FeatureStats.pb")
    return tfdv.load_stats_binary(path).datasets[0]


@pytest.fixture(scope="module")
def taxi(tmp_path_factory):
    return make_examples(tmp_path_factory.mktemp("examples"), "demo:chicago-taxi")


@pytest.fixture(scope="module")
def local(taxi, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    return make_statistics(folder, taxi, categorical_integers=CATEGORICAL)


@pytest.fixture(scope="module")
def columns(taxi):
    """The values of each column of train, without the missing ones."""
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(
        list(
            tf.data.TFRecordDataset(
                tf.io.gfile.glob(artifact_utils.get_split_uri([taxi], "train") + "/*"), "GZIP"
            ).as_numpy_iterator()
        )
    )
    return {
        name: column.flatten().to_numpy(zero_copy_only=False)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def features(dataset) -> dict[str, object]:
    return {feature.path.step[0]: feature for feature in dataset.features}


def common(feature):
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def ranking(histogram) -> tuple[list, list]:
    """Counts by rank, and the values; those of equal count in any order (Beam's differs)."""
    counts = [(b.low_rank, b.high_rank, b.sample_count) for b in histogram.buckets]
    return counts, sorted((-b.sample_count, b.label) for b in histogram.buckets)


def assert_same(ours, theirs, columns=None):
    """Everything that TFDV computes, exactly where it is exact."""
    assert ours.num_examples == theirs.num_examples
    mine, reference = features(ours), features(theirs)
    assert mine.keys() == reference.keys()
    for name, a in mine.items():
        b = reference[name]
        assert a.type == b.type, name
        assert a.WhichOneof("stats") == b.WhichOneof("stats"), name
        # Counts of present, missing and listed cells, exactly.
        left, right = common(a), common(b)
        for field in (
            "num_non_missing num_missing min_num_values max_num_values avg_num_values "
            "tot_num_values"
        ).split():
            assert getattr(left, field) == getattr(right, field), (name, field)
        assert list(map(str, left.presence_and_valency_stats)) == list(
            map(str, right.presence_and_valency_stats)
        )
        if a.HasField("string_stats"):
            left, right = a.string_stats, b.string_stats
            assert left.unique == right.unique, name
            assert left.avg_length == pytest.approx(right.avg_length, rel=1e-6)
            assert collections.Counter(
                (v.value, v.frequency) for v in left.top_values
            ) == collections.Counter((v.value, v.frequency) for v in right.top_values), name
            assert ranking(left.rank_histogram) == ranking(right.rank_histogram), name
        else:
            left, right = a.num_stats, b.num_stats
            assert (left.min, left.max, left.num_zeros) == (right.min, right.max, right.num_zeros)
            assert left.mean == pytest.approx(right.mean, rel=1e-6, abs=1e-9), name
            assert left.std_dev == pytest.approx(right.std_dev, rel=1e-6, abs=1e-9), name
            for ours_, theirs_ in zip(left.histograms, right.histograms, strict=True):
                assert ours_.type == theirs_.type
                assert len(ours_.buckets) == len(theirs_.buckets), name
                if ours_.type == ours_.STANDARD:  # equal edges, counts from the quantiles sketch
                    counts = np.array([b.sample_count for b in ours_.buckets])
                    other = np.array([b.sample_count for b in theirs_.buckets])
                    limit = 4 * statistics.EPSILON * common(a).num_non_missing + 2
                    assert np.all(np.abs(counts - other) <= limit), name
            if columns is not None and len(columns[name]):
                for stats in (left, right):
                    assert_ranks(np.sort(columns[name]), stats, name)


def assert_ranks(values, stats, name):
    """Quantiles are within the documented error of the true ranks."""
    tolerance = 2 * statistics.EPSILON + 1 / len(values)
    quantiles = next(h for h in stats.histograms if h.type == h.QUANTILES).buckets
    edges = [stats.median, *(bucket.high_value for bucket in quantiles[:-1])]
    shares = [0.5, *((i + 1) / len(quantiles) for i in range(len(quantiles) - 1))]
    for edge, share in zip(edges, shares, strict=True):
        low = np.searchsorted(values, edge, "left") / len(values)
        high = np.searchsorted(values, edge, "right") / len(values)
        assert low - tolerance <= share <= high + tolerance, (name, edge, share, low, high)


def test_same_as_tfdv_on_beam(taxi, local, columns):
    options = statistics.stats_options(StatisticsOptions(categorical_integers=CATEGORICAL))
    for split in ("train", "test"):
        uri = artifact_utils.get_split_uri([taxi], split)
        theirs = tfdv.generate_statistics_from_tfrecord(
            os.path.join(uri, "*"), stats_options=options
        )
        assert_same(load(local, split), theirs.datasets[0], columns if split == "train" else None)


@pytest.mark.parametrize("rows", [100, 1000])
def test_same_when_streamed_in_many_batches(taxi, local, columns, monkeypatch, rows):
    monkeypatch.setattr(executor, "_BATCH_ROWS", rows)
    batches = list(executor.read_batches(taxi, "train"))
    assert len(batches) > 10
    options = StatisticsOptions(categorical_integers=CATEGORICAL)
    assert_same(statistics.compute(batches, options).datasets[0], load(local, "train"), columns)


def test_beam_engine_agrees(taxi, local, tmp_path, columns):
    beam = make_statistics(tmp_path, taxi, engine="beam", categorical_integers=CATEGORICAL)
    assert beam.split_names == local.split_names
    assert os.listdir(os.path.join(beam.uri, "Split-eval")) == ["FeatureStats.pb"]
    assert_same(load(local, "train"), load(beam, "train"), columns)


def test_numbers_are_right(local, columns):
    """Against numpy, not only against TFDV."""
    mine = features(load(local, "train"))
    fare = mine["fare"].num_stats
    assert fare.mean == pytest.approx(np.mean(columns["fare"], dtype=float), rel=1e-6)
    assert fare.std_dev == pytest.approx(np.std(columns["fare"], dtype=float), rel=1e-5)
    for name in ("company", "trip_start_hour"):
        stats = mine[name].string_stats
        values = [v.decode() if isinstance(v, bytes) else str(v) for v in columns[name]]
        counts = collections.Counter(values)
        assert stats.unique == len(counts)
        assert {v.value: v.frequency for v in stats.top_values} == counts
    assert mine["company"].string_stats.common_stats.num_missing > 3000
    assert mine["trip_start_hour"].type == statistics_pb2.FeatureNameStatistics.INT


def test_artifact(taxi, local):
    assert local.split_names == taxi.split_names
    assert local.span == 7
    assert local.get_string_custom_property("stats_dashboard_link") == ""
    rates = json.loads(local.get_string_custom_property("sample_rate_by_split"))
    assert rates == {"train": 1.0, "eval": 1.0, "test": 1.0}
    for split in ("train", "eval", "test"):
        folder = artifact_utils.get_split_uri([local], split)
        assert os.listdir(folder) == ["FeatureStats.pb"]
        assert load(local, split).num_examples == taxi.get_int_custom_property(f"rows_{split}")


def test_stock_schema_gen_and_example_validator_read_it(local, tmp_path):
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    schema_gen.Executor().Do(
        {"statistics": [local]},
        {"schema": [schema]},
        {"infer_feature_shape": 1, "exclude_splits": "[]"},
    )
    inferred = tfdv.load_schema_text(os.path.join(schema.uri, "schema.pbtxt"))
    assert {f.name for f in inferred.feature} >= {"company", "fare", "tips"}
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    validator.Executor().Do(
        {"statistics": [local], "schema": [schema]},
        {"anomalies": [anomalies]},
        {"exclude_splits": "[]"},
    )
    found = anomalies_pb2.Anomalies()
    with open(os.path.join(anomalies.uri, "Split-train", "SchemaDiff.pb"), "rb") as stream:
        found.ParseFromString(stream.read())
    assert found.baseline.feature and not found.anomaly_info


def example(**cells) -> bytes:
    result = tf.train.Example()
    for name, cell in cells.items():
        feature = result.features.feature[name]
        if isinstance(cell, bytes):
            feature.bytes_list.value.append(cell)
        elif isinstance(cell, int):
            feature.int64_list.value.append(cell)
        elif isinstance(cell, float):
            feature.float_list.value.append(cell)
    return result.SerializeToString()


cell_rows = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.one_of(st.none(), st.integers(-5, 5)),
            "k": st.one_of(st.none(), st.integers(-5, 5)),
            "x": st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)),
            "s": st.one_of(st.none(), st.sampled_from([b"a", b"b", "é".encode()])),
            "never": st.none(),
        }
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40)
@given(cell_rows, st.integers(1, 40))
def test_any_cut_into_batches_gives_the_same(rows, size):
    """Also where a column is all missing in one batch and not in another."""
    data = [example(**row) for row in rows]
    decode = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch
    options = StatisticsOptions(categorical_integers=("k",))
    whole = statistics.compute([decode(data)], options).datasets[0]
    cut = [decode(data[i : i + size]) for i in range(0, len(data), size)]
    assert_same(statistics.compute(cut, options).datasets[0], whole)
    for name in "nkxs":
        stats = common(features(whole)[name])
        missing = sum(row[name] is None for row in rows)
        assert (stats.num_missing, stats.num_non_missing) == (missing, len(rows) - missing)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.one_of(st.integers(0, 9), st.floats(-1e30, 1e30)), st.integers(0, 50)),
        min_size=1,
        max_size=60,
    ),
    st.integers(2, 12),
)
def test_fast_histograms_are_those_of_tfdv(cells, bars):
    boundaries = np.array(sorted(float(value) for value, _ in cells))
    cumulative = np.cumsum([count for _, count in cells]).astype(float)
    arguments = {
        "quantiles": boundaries,
        "cumulative_counts": cumulative,
        "finite_min": boundaries[0],
        "finite_max": boundaries[-1],
        "num_buckets": bars,
        "num_pos_inf": 0,
    }
    slow = quantiles_util.generate_equi_width_histogram
    theirs = slow(**arguments)
    their_bins = quantiles_util.generate_quantiles_histogram(boundaries, cumulative)
    with histograms.fast_histograms():
        assert quantiles_util.generate_equi_width_histogram is not slow
        ours = quantiles_util.generate_equi_width_histogram(**arguments)
        our_bins = quantiles_util.generate_quantiles_histogram(boundaries, cumulative)
    assert quantiles_util.generate_equi_width_histogram is slow
    for a, b in ((ours, theirs), (our_bins, their_bins)):
        assert a.type == b.type
        assert [(x.low_value, x.high_value) for x in a.buckets] == [
            (x.low_value, x.high_value) for x in b.buckets
        ]
        assert [x.sample_count for x in a.buckets] == pytest.approx(
            [x.sample_count for x in b.buckets], rel=1e-9, abs=1e-9
        )


def test_many_distinct_values_are_counted_exactly(tmp_path):
    count = 40_000
    path = tmp_path / "t.csv"
    path.write_text("code,n\n" + "".join(f"c{i},{i % 11}\n" for i in range(count)))
    examples = make_examples(tmp_path / "examples", path)
    output = make_statistics(tmp_path / "statistics", examples)
    for split in ("train", "eval", "test"):
        stats = features(load(output, split))["code"].string_stats
        rows = examples.get_int_custom_property(f"rows_{split}")
        assert stats.unique == rows == len(stats.rank_histogram.buckets) == len(stats.top_values)


def test_empty_and_null_only(tmp_path):
    assert statistics.compute([], StatisticsOptions()).datasets[0].num_examples == 0
    path = tmp_path / "t.csv"
    path.write_text("a,nothing\n" + "".join(f"{i},\n" for i in range(60)))
    output = make_statistics(tmp_path / "out", make_examples(tmp_path / "examples", path))
    stats = features(load(output, "train"))["nothing"]
    assert common(stats).num_non_missing == 0


@pytest.mark.slow
def test_in_a_pipeline_with_a_stock_component(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(100)))
    examples = ExampleGen(DataOptions(path=str(path)))
    ours = StatisticsGen(examples.outputs["examples"], categorical_integers=["b"])
    schema = SchemaGen(ours.outputs["statistics"])
    config = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))
    local_dag_runner.LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="p",
            pipeline_root=str(tmp_path / "root"),
            components=[examples, ours, schema],
            metadata_connection_config=config,
        )
    )
    (text,) = (tmp_path / "root" / "SchemaGen" / "schema").glob("*/schema.pbtxt")
    assert {f.name for f in tfdv.load_schema_text(str(text)).feature} == {"a", "b"}


def test_component_contract():
    channel = types.Channel(type=standard_artifacts.Examples)
    component = StatisticsGen(channel, categorical_integers=["b", "a"], engine="beam")
    options = StatisticsOptions.model_validate_json(component.exec_properties["options"])
    assert options.categorical_integers == ("a", "b") and options.engine == "beam"
    assert component.outputs["statistics"].type is standard_artifacts.ExampleStatistics
    with pytest.raises(ValueError, match="engine"):
        StatisticsGen(channel, engine="dataflow")
