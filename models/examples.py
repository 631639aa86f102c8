"""Reading the tf.Examples of a split as Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tfx_bsl.coders import example_coder

from models import decoded

DECODE_ROWS = 8192


def read_split(folder: str) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a split's folder in order, a few thousand at a time.

    Args:
      folder: `<examples uri>/Split-<name>`, gzip-compressed TFRecord files.
    """
    ready = decoded.read(folder, DECODE_ROWS)
    if ready is not None:
        yield from ready
        return
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    for chunk in _records(folder):
        yield decoder.DecodeBatch(chunk.tolist())


def sample_split(folder: str, most: int, seed: int) -> Iterator[pa.RecordBatch]:
    """The same; where there are more rows, a simple random sample of them, in order.

    Args:
      folder: As in `read_split`.
      most: Rows at most.
      seed: Of the sample; the same rows are drawn from the same split.
    """
    rows = decoded.count(folder)
    if rows is None:
        rows = sum(len(chunk) for chunk in _records(folder))
    if rows <= most:
        yield from read_split(folder)
        return
    chosen = np.zeros(rows, bool)
    chosen[np.random.default_rng(seed).choice(rows, most, replace=False, shuffle=False)] = True
    at = 0
    for batch in read_split(folder):
        mine = chosen[at : at + batch.num_rows]
        at += batch.num_rows
        if mine.any():
            yield batch.filter(pa.array(mine))


def _records(folder: str) -> Iterator[np.ndarray]:
    """Serialised tf.Examples, `[n]` each."""
    files = sorted(
        path for path in tf.io.gfile.glob(f"{folder}/*") if not path.rsplit("/")[-1].startswith(".")
    )
    records = tf.data.TFRecordDataset(files, compression_type="GZIP", buffer_size=1 << 20)
    yield from records.batch(DECODE_ROWS).as_numpy_iterator()
