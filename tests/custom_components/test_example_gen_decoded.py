"""The columns beside the tf.Examples: the same rows, and only while they are the same."""

from __future__ import annotations

import os
import shutil

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.arrow import table_util

from custom_components.evaluator import scoring
from custom_components.example_gen.encode import RecordWriter, encode
from custom_components.statistics_gen.executor import read_batches
from models import decoded, examples
from tests.custom_components.test_example_gen import generate

CELLS = {
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float64(), st.floats(width=32)),
    "text": (pa.string(), st.text(max_size=5)),
    "nothing": (pa.null(), st.none()),
}


@st.composite
def tables(draw) -> list[pa.RecordBatch]:
    names = draw(st.lists(st.sampled_from("cabdé"), min_size=1, max_size=4, unique=True))
    kinds = [CELLS[draw(st.sampled_from(sorted(CELLS)))] for _ in names]
    schema = pa.schema(zip(names, (kind for kind, _ in kinds), strict=True))
    batches = []
    for rows in draw(st.lists(st.integers(0, 12), min_size=1, max_size=3)):
        columns = [
            pa.array(draw(st.lists(st.none() | cell, min_size=rows, max_size=rows)), kind)
            for kind, cell in kinds
        ]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    return batches


def write(folder, batches) -> str:
    """A split with its columns."""
    shutil.rmtree(folder, ignore_errors=True)
    split = folder / "Split-train"
    split.mkdir(parents=True)
    writer = decoded.Writer(str(folder / "new"), batches[0].schema)
    with open(split / "data.gz", "wb") as file:
        records = RecordWriter(file)
        for batch in batches:
            records.write(encode(batch))
            writer.write(batch)
        records.finish()
    writer.close()
    decoded.publish(str(folder / "new"), str(split))
    return str(split)


def merged(batches) -> pa.RecordBatch:
    return table_util.MergeRecordBatches(list(batches))


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables(), st.integers(1, 9))
def test_they_are_what_the_decoder_gives(tmp_path, batches, rows):
    split = write(tmp_path / "examples", batches)
    ready = list(decoded.read(split, rows))
    assert all(0 < batch.num_rows <= rows for batch in ready)
    shutil.rmtree(tmp_path / "examples" / "Columns-train")
    slow = list(examples.read_split(split))
    if sum(batch.num_rows for batch in batches):
        # NaN is no value equal to itself, so bit by bit.
        assert str(merged(ready).schema) == str(merged(slow).schema)
        assert repr(merged(ready).to_pydict()) == repr(merged(slow).to_pydict())
    else:
        assert ready == [] and sum(batch.num_rows for batch in slow) == 0


@pytest.fixture(scope="module")
def taxi(tmp_path_factory) -> standard_artifacts.Examples:
    return generate(tmp_path_factory.mktemp("taxi"), "demo:chicago-taxi")


def test_all_who_read_examples_read_them(taxi, tmp_path):
    without = standard_artifacts.Examples()
    without.uri, without.split_names = str(tmp_path / "plain"), taxi.split_names
    without.mlmd_artifact.custom_properties.MergeFrom(taxi.mlmd_artifact.custom_properties)
    without.mlmd_artifact.properties.MergeFrom(taxi.mlmd_artifact.properties)
    shutil.copytree(taxi.uri, without.uri, ignore=shutil.ignore_patterns("Columns-*"))
    for name in ("train", "eval", "test"):
        fast, slow = (artifact_utils.get_split_uri([a], name) for a in (taxi, without))
        assert decoded.read(fast, 100) is not None and decoded.read(slow, 100) is None
        readers = (
            lambda a, name=name: examples.read_split(artifact_utils.get_split_uri([a], name)),
            lambda a, name=name: read_batches(a, name),
            lambda a, name=name: scoring.read([a], name),
        )
        for reader in readers:
            assert merged(reader(taxi)).equals(merged(reader(without)))


def spoil(path: str, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize(
    "harm",
    [
        lambda split, folder: spoil(f"{split}/data.gz", 20),
        lambda split, folder: shutil.copy(f"{split}/data.gz", f"{split}/more.gz"),
        lambda split, folder: spoil(f"{folder}/rows.arrow", 200),
        lambda split, folder: os.truncate(f"{folder}/rows.arrow", 100),
        lambda split, folder: os.remove(f"{folder}/about.json"),
        lambda split, folder: os.truncate(f"{folder}/about.json", 5),
        lambda split, folder: os.remove(f"{folder}/rows.arrow"),
    ],
    ids=["records", "more records", "columns", "cut off", "no word", "half a word", "none"],
)
def test_other_files_are_not_taken_for_these(tmp_path, harm):
    batch = pa.RecordBatch.from_pydict({"a": pa.array(range(100)), "b": pa.array(["x"] * 100)})
    split = write(tmp_path, [batch])
    assert decoded.read(split, 50) is not None
    harm(split, str(tmp_path / "Columns-train"))
    assert decoded.read(split, 50) is None


def test_images_have_none(tmp_path):
    made = generate(tmp_path / "digits", "demo:digits")
    assert not [name for name in os.listdir(made.uri) if name.startswith("Columns-")]


def test_of_many_rows_a_sample_is_taken(taxi, tmp_path):
    split = artifact_utils.get_split_uri([taxi], "train")
    every = merged(examples.read_split(split))
    assert merged(examples.sample_split(split, every.num_rows, 0)).equals(every)
    sample = merged(examples.sample_split(split, 3000, 1))
    assert sample.num_rows == 3000
    assert sample.equals(merged(examples.sample_split(split, 3000, 1)))
    assert not sample.equals(merged(examples.sample_split(split, 3000, 2)))
    shutil.copytree(split, tmp_path / "Split-train")
    assert sample.equals(merged(examples.sample_split(str(tmp_path / "Split-train"), 3000, 1)))
    fares = {tuple(fare or ()) for fare in every.column("fare").to_pylist()}
    assert {tuple(fare or ()) for fare in sample.column("fare").to_pylist()} <= fares
    # Rows come in the order of time: a sample from one end would be told by its mean place.
    place = {row: i for i, row in enumerate(zip(*columns(every), strict=True))}
    places = [place[row] for row in zip(*columns(sample), strict=True)]
    assert abs(sum(places) / len(places) / every.num_rows - 0.5) < 0.03


def columns(batch):
    return [map(str, batch.column(i).to_pylist()) for i in range(batch.num_columns)]
