"""The splits of a table as gzip TFRecords, all of them or none."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import errno
import os

import pyarrow as pa

from custom_components.example_gen.encode import RecordWriter, encode
from custom_components.example_gen.reader import Dataset
from custom_components.example_gen.split import SPLITS, Splitter
from models import decoded
from models.errors import DataError, disk_full

FILE_NAME = "data_tfrecord-00000-of-00001.gz"

#: Blocks that wait to be compressed; bounds the memory.
_QUEUE = 6


def write_splits(dataset: Dataset, splitter: Splitter, folder: str) -> dict[str, int]:
    """Writes `<split>.gz` and its columns for each split into a folder of its own.

    Encoding and compressing run side by side. Nothing here has its final name: the caller moves the
    files when all are whole.

    Args:
      dataset: The table.
      splitter: From `split.plan`.
      folder: An existing local folder.

    Returns:
      Rows per split.

    Raises:
      DataError: SPLIT_EMPTY.
      FlywheelError: DISK_FULL.
    """
    rows = dict.fromkeys(SPLITS, 0)
    try:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(staged(folder, split), "wb")) for split in SPLITS]
            writers = [RecordWriter(file) for file in files]
            # Pictures are compressed already, and reading them is not what takes time.
            tables = [
                stack.enter_context(
                    contextlib.closing(
                        decoded.Writer(staged_columns(folder, split), dataset.schema)
                    )
                )
                for split in (() if dataset.image else SPLITS)
            ]
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
            waiting: collections.deque[concurrent.futures.Future] = collections.deque()
            for batch in dataset.batches():
                index = splitter.assign(batch)
                records = encode(batch)
                for i, split in enumerate(SPLITS):
                    mine = pa.array(index == i)
                    chosen = records.filter(mine)
                    rows[split] += len(chosen)
                    waiting.append(pool.submit(writers[i].write, chosen))
                    if tables:
                        waiting.append(pool.submit(tables[i].write, batch.filter(mine)))
                while len(waiting) > _QUEUE:
                    waiting.popleft().result()
            for future in waiting:
                future.result()
            for writer, file in zip(writers, files, strict=True):
                writer.finish()
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full(
            f"the examples cannot be written to {folder}. Nothing was published."
        ) from error
    check_rows(rows, dataset)
    return rows


def check_rows(rows: dict[str, int], dataset: Dataset) -> None:
    """Refuses splits without rows.

    Raises:
      DataError: SPLIT_EMPTY.
    """
    empty = [split for split, count in rows.items() if not count]
    if empty:
        raise DataError(
            "SPLIT_EMPTY",
            f"No row is in the {' and '.join(empty)} split: almost all {dataset.rows:,} rows are "
            "equal.",
            next="Remove the duplicates, or split by something else (`data.split`).",
        )


def staged(folder: str, split: str) -> str:
    """Where `write_splits` puts a split."""
    return os.path.join(folder, f"{split}.gz")


def staged_columns(folder: str, split: str) -> str:
    """Where it puts the split's columns, if the rows have no pictures."""
    return os.path.join(folder, f"{split}.arrow")
