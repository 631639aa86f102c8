"""The splits of a table written by Apache Beam: one file of the table is one piece of work.

What the columns are and where the splits are cut was decided before, by one look at the table;
encoding and compressing, where the time goes, is spread over whatever runner there is. The
workers must see the data and the pipeline root at the same paths.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import uuid
from collections.abc import Callable, Iterator

import apache_beam as beam
import pyarrow as pa
from tfx.dsl.io import fileio

from custom_components.example_gen import write
from custom_components.example_gen.encode import RecordWriter, encode
from custom_components.example_gen.reader import Dataset
from custom_components.example_gen.split import SPLITS, Splitter

_RESULTS = "results.json"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One finished file of one split.

    Attributes:
      split: Its split.
      part: Which file of the table it comes from.
      path: Where it lies under a name of its own.
      rows: Rows in it.
    """

    split: str
    part: int
    path: str
    rows: int


class _WriteShards(beam.DoFn):
    """The rows of one file of the table, encoded, as one file per split."""

    def __init__(self, dataset: Dataset, splitter: Splitter, folder: str):
        self._dataset = dataset
        self._splitter = splitter
        self._folder = folder

    def process(self, index: int) -> Iterator[list]:
        part = self._dataset.parts[index]
        dataset = dataclasses.replace(self._dataset, parts=(part,), rows=part.rows)
        # A runner may try twice, or at two places at once: each try has files of its own, and
        # only what it returns counts.
        attempt = uuid.uuid4().hex
        paths = {split: os.path.join(self._folder, f"{split}-{attempt}.gz") for split in SPLITS}
        rows: collections.Counter[str] = collections.Counter()
        streams = {split: fileio.open(path, "wb") for split, path in paths.items()}
        writers = {split: RecordWriter(stream) for split, stream in streams.items()}
        for batch in dataset.batches():
            index_of = self._splitter.assign(batch)
            records = encode(batch)
            for i, split in enumerate(SPLITS):
                mine = records.filter(pa.array(index_of == i))
                rows[split] += len(mine)
                writers[split].write(mine)
        for split in SPLITS:
            writers[split].finish()
            streams[split].close()
            yield [split, index, paths[split], rows[split]]


def write_shards(
    dataset: Dataset,
    splitter: Splitter,
    folder: str,
    make_pipeline: Callable[[], beam.Pipeline],
) -> list[Shard]:
    """Writes each split as one file per file of the table.

    Args:
      dataset: The table.
      splitter: From `split.plan`.
      folder: For unfinished files; the workers write into it.
      make_pipeline: The executor's own.

    Returns:
      The shards that have rows, in the order of the table's files.

    Raises:
      DataError: SPLIT_EMPTY.
    """
    results = os.path.join(folder, _RESULTS)
    fileio.makedirs(folder)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Parts" >> beam.Create(range(len(dataset.parts)))
            | "Spread" >> beam.Reshuffle()
            | "WriteShards" >> beam.ParDo(_WriteShards(dataset, splitter, folder))
            | "Collect" >> beam.combiners.ToList()
            | "WriteResults" >> beam.Map(_write_results, results)
        )
    with fileio.open(results, "r") as stream:
        shards = [Shard(*entry) for entry in json.loads(stream.read())]
    write.check_rows(rows_of(shards), dataset)
    return sorted((s for s in shards if s.rows), key=lambda s: (s.split, s.part))


def rows_of(shards: list[Shard]) -> dict[str, int]:
    """Rows per split."""
    rows = dict.fromkeys(SPLITS, 0)
    for shard in shards:
        rows[shard.split] += shard.rows
    return rows


def names_of(shards: list[Shard], split: str) -> list[tuple[str, str]]:
    """The shards of a split with the names that TFX gives to such files."""
    mine = [shard for shard in shards if shard.split == split]
    return [
        (shard.path, f"data_tfrecord-{number:05d}-of-{len(mine):05d}.gz")
        for number, shard in enumerate(mine)
    ]


def _write_results(results: list[list], path: str) -> None:
    # Under a name of its own first: this, too, may be done twice.
    unfinished = f"{path}-{uuid.uuid4().hex}"
    with fileio.open(unfinished, "w") as stream:
        stream.write(json.dumps(results))
    fileio.rename(unfinished, path, overwrite=True)
