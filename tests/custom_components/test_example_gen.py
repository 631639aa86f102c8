"""ExampleGen as a component: the artifact, read by stock tools; and its failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx.components.util import tfxio_utils
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.coders import example_coder
from tfx_bsl.tfxio import dataset_options

from custom_components.example_gen import derive, encode, split
from custom_components.example_gen.component import ExampleGen
from custom_components.example_gen.executor import Executor
from custom_components.example_gen.fingerprint import fingerprint
from custom_components.example_gen.options import DataOptions, SplitOptions
from models.errors import ConfigError, DataError, FlywheelError

quick = settings(max_examples=40)


def generate(folder, path, kinds=None, **options) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(folder)
    os.makedirs(examples.uri, exist_ok=True)
    Executor().Do(
        {},
        {"examples": [examples]},
        {
            "options": DataOptions(path=str(path), **options).model_dump_json(),
            "fingerprint": fingerprint(str(path)),
            "kinds": json.dumps(kinds or {}),
        },
    )
    return examples


def records(examples, name) -> list[bytes]:
    uri = artifact_utils.get_split_uri([examples], name)
    files = tf.io.gfile.glob(os.path.join(uri, "*"))
    return list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


@pytest.fixture(scope="module")
def taxi(tmp_path_factory):
    return generate(
        tmp_path_factory.mktemp("taxi"),
        "demo:chicago-taxi",
        {"company": "categorical", "big_tipper": "label"},
        derive={"big_tipper": "tips > 0.2 * fare"},
    )


# Bytes

values = {
    "n": st.integers(-(2**63), 2**63 - 1),
    "x": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "s": st.text(st.characters(blacklist_categories=("Cs",)), max_size=300),
}
tables = st.integers(1, 20).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            name: st.lists(st.one_of(st.none(), cell), min_size=rows, max_size=rows)
            for name, cell in values.items()
        }
    )
)


def to_batch(columns) -> pa.RecordBatch:
    types = {"n": pa.int64(), "x": pa.float64(), "s": pa.string()}
    arrays = [pa.array(columns[name], kind) for name, kind in types.items()]
    rows = len(arrays[0])
    return pa.RecordBatch.from_arrays([*arrays, pa.nulls(rows)], [*types, "nothing " * 20])


@quick
@given(tables)
def test_encoded_rows_are_those_examples(columns):
    batch = to_batch(columns)
    kinds = {"n": "int64_list", "x": "float_list", "s": "bytes_list"}
    for row, data in zip(batch.to_pylist(), encode.encode(batch).to_pylist(), strict=True):
        expected = tf.train.Example()
        for name, cell in row.items():
            feature = expected.features.feature[name]
            if cell is not None:
                cell = cell.encode() if isinstance(cell, str) else cell
                getattr(feature, kinds[name]).value.append(cell)
        assert tf.train.Example.FromString(data) == expected


def test_agrees_with_tfx_bsl():
    """The encoder of TFX's own library, given columns with the missing cells masked out."""
    rng = np.random.default_rng(0)
    rows = 3000
    keep = rng.random((3, rows)) < 0.8
    batch = pa.record_batch(
        [
            pa.array(
                rng.integers(-(2**62), 2**62, rows) >> rng.integers(0, 62, rows), mask=~keep[0]
            ),
            pa.array(rng.normal(size=rows), mask=~keep[1]),
            pa.array(rng.choice(["", "a", "b" * 200], rows), mask=~keep[2]),
        ],
        ["n", "x", "s"],
    )
    types = {"n": pa.int64(), "x": pa.float32(), "s": pa.binary()}
    lists = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        valid = np.asarray(column.is_valid())
        offsets = np.concatenate([[0], np.cumsum(valid)]).astype(np.int32)
        lists.append(
            pa.ListArray.from_arrays(
                pa.array(offsets, mask=np.concatenate([~valid, [False]])),
                column.drop_null().cast(types[name]),
            )
        )
    theirs = example_coder.RecordBatchToExamples(pa.RecordBatch.from_arrays(lists, list(types)))
    ours = encode.encode(batch).to_pylist()
    for a, b in zip(ours, theirs, strict=True):
        assert tf.train.Example.FromString(a) == tf.train.Example.FromString(b)


@pytest.mark.parametrize("sizes", [[1], [0, 1, 127, 128, 70_000], [3] * 5000])
def test_framing_is_what_tensorflow_reads(tmp_path, sizes):
    rows = [bytes([i % 256]) * size for i, size in enumerate(sizes)]
    path = tmp_path / "t.gz"
    with open(path, "wb") as stream:
        writer = encode.RecordWriter(stream)
        writer.write(pa.array(rows[:1], pa.binary()))
        writer.write(pa.array([], pa.binary()))
        writer.write(pa.array([b"before", *rows[1:]], pa.binary())[1:])
        writer.finish()
    assert list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()) == rows
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(path), "GZIP")] == rows


# The artifact


def test_every_row_is_in_one_split(taxi):
    counts = [len(records(taxi, name)) for name in split.SPLITS]
    assert sum(counts) == 15002 == taxi.get_int_custom_property("rows_read")
    assert counts == [taxi.get_int_custom_property(f"rows_{name}") for name in split.SPLITS]
    assert taxi.split_names == '["train", "eval", "test"]'
    assert taxi.get_string_custom_property("fingerprint") == fingerprint("demo:chicago-taxi")
    kinds = ("Columns", "Split")
    names = [f"{kind}-{split}" for kind in kinds for split in ("eval", "test", "train")]
    assert sorted(os.listdir(taxi.uri)) == names
    assert os.listdir(os.path.join(taxi.uri, "Split-train")) == ["data_tfrecord-00000-of-00001.gz"]


def test_fixed_length_features_with_defaults_parse(taxi):
    parsed = tf.io.parse_example(
        records(taxi, "train"),
        {
            "company": tf.io.FixedLenFeature([], tf.string, default_value="none"),
            "pickup_census_tract": tf.io.FixedLenFeature([], tf.int64, default_value=-1),
            "pickup_latitude": tf.io.FixedLenFeature([], tf.float32, default_value=-1.0),
            "big_tipper": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    assert 0.3 < np.mean(parsed["company"].numpy() == b"none") < 0.4
    assert np.mean(parsed["pickup_census_tract"].numpy() == -1) > 0.99
    assert 0.0 < np.mean(parsed["pickup_latitude"].numpy() == -1.0) < 0.1
    assert set(parsed["big_tipper"].numpy()) == {0, 1}


def test_tfxio_reads_it(taxi):
    factory = tfxio_utils.get_tfxio_factory_from_artifact([taxi], ["test"])
    tfxio = factory(os.path.join(artifact_utils.get_split_uri([taxi], "eval"), "*"))
    batches = list(
        tfxio.RecordBatches(dataset_options.RecordBatchesOptions(batch_size=1000, num_epochs=1))
    )
    assert sum(b.num_rows for b in batches) == taxi.get_int_custom_property("rows_eval")
    assert set(batches[0].schema.names) >= {"company", "big_tipper", "trip_miles"}


def test_tfdv_counts_the_missing_cells(taxi):
    """On Beam, from the files; the stock CsvExampleGen's output gives 0 missing here."""
    missing = 0
    for name in split.SPLITS:
        uri = artifact_utils.get_split_uri([taxi], name)
        stats = tfdv.generate_statistics_from_tfrecord(os.path.join(uri, "*"))
        company = tfdv.get_feature_stats(stats.datasets[0], tfdv.FeaturePath(["company"]))
        missing += company.string_stats.common_stats.num_missing
    assert missing == 5140


def test_splits_by_time_and_key(tmp_path):
    by_time = generate(
        tmp_path / "time",
        "demo:chicago-taxi",
        split=SplitOptions(by="time", column="trip_start_timestamp"),
    )
    spans = []
    for name in split.SPLITS:
        parsed = tf.io.parse_example(
            records(by_time, name), {"trip_start_timestamp": tf.io.FixedLenFeature([], tf.int64)}
        )["trip_start_timestamp"].numpy()
        spans += [parsed.min(), parsed.max()]
    assert spans == sorted(spans) and len(set(spans)) == 6


# Derived columns


@quick
@given(tables)
def test_derived_is_missing_where_an_operand_is(columns):
    batch = to_batch({**columns, "n": [v and v % 1000 for v in columns["n"]]})
    plan = derive.plan(
        {"more": "x > 0.5 * n", "sum": "n + 1", "ratio": "x / n", "same": "s == 'a'"}, batch.schema
    )
    assert [d.type for d in plan] == [pa.int64(), pa.int64(), pa.float64(), pa.int64()]
    more, total, ratio, same = (d.compute(batch).to_pylist() for d in plan)
    for i, row in enumerate(batch.to_pylist()):
        n, x, s = row["n"], row["x"], row["s"]
        assert total[i] == (None if n is None else n + 1)
        assert more[i] == (None if n is None or x is None else int(x > 0.5 * n))
        assert (ratio[i] is None) == (n in (None, 0) or x is None)
        assert same[i] == (None if s is None else int(s == "a"))


@pytest.mark.parametrize(
    "expression, code, hint",
    [
        ("fair * 2", "COLUMN_MISSING", "fare"),
        ("fare +", "DERIVE_FAILED", ""),
        ("fare.real", "DERIVE_FAILED", "Attribute"),
        ("open('x')", "DERIVE_FAILED", "open"),
        ("@fare", "DERIVE_FAILED", ""),
        ("1 + 1", "DERIVE_FAILED", "no column"),
        ("company * fare", "DERIVE_FAILED", ""),
        ("[fare for fare in fare]", "DERIVE_FAILED", "ListComp"),
    ],
)
def test_derive_errors(expression, code, hint):
    schema = pa.schema([("fare", pa.float64()), ("company", pa.string())])
    with pytest.raises(ConfigError) as caught:
        derive.plan({"new": expression}, schema)
    assert caught.value.reason.code == code and hint in str(caught.value)


def test_derived_name_taken_and_chained():
    schema = pa.schema([("a b", pa.int64()), ("c", pa.int64())])
    with pytest.raises(ConfigError, match="name of a column"):
        derive.plan({"c": "c + 1"}, schema)
    batch = pa.record_batch([pa.array([1, 2]), pa.array([3, None])], schema=schema)
    first, second = derive.plan({"d": "`a b` + c", "e": "sqrt(d) > 1"}, schema)
    batch = pa.RecordBatch.from_arrays([*batch.columns, first.compute(batch)], ["a b", "c", "d"])
    assert second.compute(batch).to_pylist() == [1, None]


# Failures


def test_disk_full(tmp_path, monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    # The device that is always full stands where a split will be written.
    staging = tmp_path / "out" / ".unfinished"
    staging.mkdir(parents=True)
    (staging / "eval.gz").symlink_to("/dev/full")
    with pytest.raises(FlywheelError) as caught:
        generate(tmp_path / "out", "demo:chicago-taxi")
    assert caught.value.reason.code == "DISK_FULL" and caught.value.exit_code == 1
    assert os.listdir(tmp_path / "out") == [], "nothing half-written is left"


def test_changed_data_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n2\n3\n")
    component = ExampleGen(DataOptions(path=str(path)))
    path.write_text("a\n1\n2\n4\n")
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "out")
    with pytest.raises(DataError) as caught:
        Executor().Do({}, {"examples": [examples]}, component.exec_properties)
    assert caught.value.reason.code == "DATA_CHANGED"


def test_remote_address_of_the_artifact(tmp_path):
    """A filesystem that is not a local path is written to through TFX's fileio."""
    tf.io.gfile.makedirs("ram://examples")
    (tmp_path / "t.csv").write_text("a\n" + "".join(f"{i}\n" for i in range(100)))
    examples = generate_at("ram://examples", tmp_path / "t.csv")
    assert sum(len(records(examples, name)) for name in split.SPLITS) == 100


def generate_at(uri, path):
    examples = standard_artifacts.Examples()
    examples.uri = uri
    properties = ExampleGen(DataOptions(path=str(path))).exec_properties
    Executor().Do({}, {"examples": [examples]}, properties)
    return examples


def test_component_checks_early(tmp_path):
    with pytest.raises(ConfigError):
        ExampleGen(DataOptions(path=str(tmp_path / "no.csv")))
    component = ExampleGen(DataOptions(path="elsewhere.csv").model_dump_json(), fingerprint="")
    assert component.exec_properties["fingerprint"] == ""
    assert component.outputs["examples"].type is standard_artifacts.Examples


@pytest.mark.slow
def test_cache_hits_on_same_content_only(tmp_path):
    """Through the runner: a copy of the file is the same data, a changed cell is not."""
    path = tmp_path / "t.csv"

    def run(text) -> str:
        path.write_text(text)
        config = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                pipeline_name="p",
                pipeline_root=str(tmp_path / "root"),
                components=[ExampleGen(DataOptions(path=str(path)), kinds={"a": "label"})],
                metadata_connection_config=config,
                enable_cache=True,
            )
        )
        with metadata.Metadata(config) as store:
            executions = store.store.get_executions()
            return [e.last_known_state for e in sorted(executions, key=lambda e: e.id)][-1]

    text = "a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(100))
    complete, cached = 3, 5  # ml_metadata.proto.Execution: COMPLETE, CACHED
    assert [run(text), run(text), run(text.replace("7,1", "8,1")), run(text)] == [
        complete,
        cached,
        complete,
        cached,
    ]


@pytest.mark.slow
def test_memory_is_flat_in_rows(tmp_path):
    """Six times the rows, the same peak (Linux: ru_maxrss in kB)."""
    code = """
import resource, sys, tempfile
from custom_components.example_gen import reader, split, write
from custom_components.example_gen.options import SplitOptions
dataset = reader.open_dataset(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    write.write_splits(dataset, split.plan(dataset, SplitOptions()), folder)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    rng = np.random.default_rng(0)
    block = "".join(f"{i},{x},word {i % 977}\n" for i, x in enumerate(rng.random(200_000)))
    peaks = []
    for times in (1, 6):
        path = tmp_path / "t.csv"
        path.write_text("a,b,c\n" + block * times)
        result = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        peaks.append(int(result.stdout))
    assert peaks[1] < 1.25 * peaks[0], peaks
