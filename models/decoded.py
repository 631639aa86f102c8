"""The rows of a split once more as columns, so that they are decoded once and not by each reader.

Beside `<examples uri>/Split-<name>` lies `<examples uri>/Columns-<name>`: what decoding the
tf.Examples yields, as an Arrow IPC file, with the sizes and checksums of both folders' files. The
tf.Examples are the artifact. The columns stand in for them only while they tell of these very
files; where they are missing or tell of others, the tf.Examples are decoded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import google_crc32c
import numpy as np
import pyarrow as pa

_DATA, _ABOUT = "rows.arrow", "about.json"
_BLOCK_BYTES = 1 << 20
#: As tfx_bsl's decoder types them.
_CELLS = {"int64": pa.int64(), "double": pa.float32(), "string": pa.large_binary()}


class Writer:
    """Writes the columns of one split to a file of its own; `publish` puts it in place.

    Args:
      path: Of the file.
      schema: Of the batches: null, int64, double and string columns.
    """

    def __init__(self, path: str, schema: pa.Schema):
        self._names = sorted(schema.names)  # the decoder's order
        kinds = [schema.field(name).type for name in self._names]
        self._schema = pa.schema(
            (name, kind if pa.types.is_null(kind) else pa.large_list(_CELLS[str(kind)]))
            for name, kind in zip(self._names, kinds, strict=True)
        )
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(path, self._schema, options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""
        if batch.num_rows:
            columns = [
                _lists(batch.column(batch.schema.get_field_index(field.name)), field.type)
                for field in self._schema
            ]
            self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()


def publish(path: str, split: str) -> None:
    """Puts a finished file beside the TFRecords that hold the same rows.

    Args:
      path: Of a `Writer`, on the file system of the split.
      split: `<examples uri>/Split-<name>`, complete.
    """
    folder = _folder(split)
    os.makedirs(folder, exist_ok=True)
    os.replace(path, os.path.join(folder, _DATA))
    about = os.path.join(folder, _ABOUT)
    with open(about + ".unfinished", "w", encoding="utf-8") as file:
        json.dump(_about(split), file)
    os.replace(about + ".unfinished", about)


def count(split: str) -> int | None:
    """Rows of a split; None if its tf.Examples have to be counted."""
    reader = _open(split)
    if reader is None:
        return None
    return sum(reader.get_batch(i).num_rows for i in range(reader.num_record_batches))


def read(split: str, rows: int) -> Iterator[pa.RecordBatch] | None:
    """The rows of a split in order, as tfx_bsl's decoder gives them; None if they must be decoded.

    Args:
      split: `<examples uri>/Split-<name>`.
      rows: At most so many at a time.
    """
    reader = _open(split)
    return None if reader is None else _batches(reader, rows)


def _open(split: str) -> pa.ipc.RecordBatchFileReader | None:
    """The columns, if they are those of the TFRecords that are there."""
    folder = _folder(split)
    try:
        with open(os.path.join(folder, _ABOUT), encoding="utf-8") as file:
            if json.load(file) != _about(split):
                return None
        return pa.ipc.open_file(pa.memory_map(os.path.join(folder, _DATA)))
    except (OSError, ValueError, pa.ArrowInvalid):
        return None


def _batches(reader: pa.ipc.RecordBatchFileReader, rows: int) -> Iterator[pa.RecordBatch]:
    for number in range(reader.num_record_batches):
        block = reader.get_batch(number)
        for start in range(0, block.num_rows, rows):
            part = block.slice(start, rows)
            # The decoder knows no type for what it never met.
            columns = [pa.nulls(len(c)) if c.null_count == len(c) else c for c in part.columns]
            yield pa.RecordBatch.from_arrays(columns, part.schema.names)


def _lists(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cells as lists of one; missing ones as null."""
    if pa.types.is_null(kind):
        return column
    known = column.is_valid().to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(known)])
    missing = np.append(~known, False)
    offsets = pa.array(ends, pa.int64(), mask=missing if column.null_count else None)
    cells = column.drop_null()
    if pa.types.is_string(cells.type):
        cells = cells.cast(pa.binary())
    return pa.LargeListArray.from_arrays(offsets, cells.cast(kind.value_type))


def _folder(split: str) -> str:
    parent, name = os.path.split(split.rstrip("/"))
    return os.path.join(parent, name.replace("Split-", "Columns-", 1))


def _about(split: str) -> dict[str, dict[str, list[int]]]:
    """The files of both folders.

    Raises:
      OSError: they are not on this machine.
    """
    return {
        "records": {
            name: _fingerprint(os.path.join(split, name))
            for name in sorted(os.listdir(split))
            if not name.startswith(".")
        },
        "columns": {_DATA: _fingerprint(os.path.join(_folder(split), _DATA))},
    }


def _fingerprint(path: str) -> list[int]:
    """Size and CRC-32C of a file."""
    checksum = google_crc32c.Checksum()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            checksum.update(block)
    return [os.path.getsize(path), int.from_bytes(checksum.digest(), "big")]
