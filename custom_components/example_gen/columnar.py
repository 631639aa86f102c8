"""Parquet files and TFRecords of tf.Example as blocks of typed columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from custom_components.example_gen.files import DataFile
from models.errors import DataError

_BLOCK_BYTES = 16 << 20
_MAX_BLOCK_ROWS = 1 << 16
_RECORDS = 1 << 13


def read_parquet_schema(file: DataFile) -> tuple[pa.Schema, int]:
    """Declared columns and the number of rows.

    Raises:
      DataError: UNREADABLE_FILE, DUPLICATE_COLUMNS.
    """
    try:
        with pq.ParquetFile(file.path) as parquet:
            schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error, "Parquet") from error
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise DataError(
            "DUPLICATE_COLUMNS",
            f"{file.path} has more than one column named "
            f"{', '.join(f'`{name}`' for name in repeated)}.",
            next="Rename or remove the repeated columns.",
            cases=[{"file": file.path, "column": name} for name in repeated],
        )
    return schema, rows


def read_parquet_blocks(
    file: DataFile, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file in order, about 16 MB at a time.

    Args:
      file: The file.
      columns: Only these.

    Raises:
      DataError: UNREADABLE_FILE.
    """
    try:
        with pq.ParquetFile(file.path) as parquet:
            meta = parquet.metadata
            size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            width = max(1, size // max(1, meta.num_rows))
            rows = min(_MAX_BLOCK_ROWS, max(1, _BLOCK_BYTES // width))
            yield from parquet.iter_batches(batch_size=rows, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(file, error, "Parquet") from error


def read_example_blocks(file: DataFile) -> Iterator[pa.RecordBatch]:
    """The tf.Examples of a TFRecord in order, one cell per row and feature.

    A feature without value is missing. This is the only reader that needs TensorFlow.

    Raises:
      DataError: UNREADABLE_FILE, or COLUMN_UNSUPPORTED where a row has several values.
    """
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

    packing = "GZIP" if file.compression == "gzip" else None
    decoder = ExamplesToRecordBatchDecoder()
    try:
        records = tf.data.TFRecordDataset(file.path, compression_type=packing).batch(_RECORDS)
        for block in records.as_numpy_iterator():
            lists = decoder.DecodeBatch(block.tolist())
            yield pa.RecordBatch.from_arrays(
                [_one_value(file, name, column) for name, column in _sorted_columns(lists)],
                sorted(lists.schema.names),
            )
    except (tf.errors.OpError, RuntimeError, ValueError, pa.ArrowInvalid) as error:
        raise _unreadable(file, error, "TFRecord of tf.Example") from error


def _sorted_columns(batch: pa.RecordBatch) -> list[tuple[str, pa.Array]]:
    # The decoder lists features in the order of a hash table.
    return sorted(zip(batch.schema.names, batch.columns, strict=True))


def _one_value(file: DataFile, name: str, lists: pa.Array) -> pa.Array:
    if pa.types.is_null(lists.type):
        return lists
    counts = pc.fill_null(pc.list_value_length(lists), 0)
    if pc.max(counts).as_py() > 1:
        raise DataError(
            "COLUMN_UNSUPPORTED",
            f"`{name}` has several values in one tf.Example of {file.path}; Flywheel reads tables, "
            "one value per row and column.",
            next="Aggregate the values, or write one column per value.",
        )
    values = lists.flatten()
    present = pc.greater(counts, 0)
    index = pc.subtract(pc.cumulative_sum(present.cast(pa.int64())), 1)
    return values.take(pc.if_else(present, index, pa.scalar(None, pa.int64())))


def _unreadable(file: DataFile, error: Exception, kind: str) -> DataError:
    detail = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(
        "UNREADABLE_FILE",
        f"{file.path} cannot be read as {kind}: {detail.rstrip('.')}.",
        next="Check that the file is complete and is what its name says.",
    )
