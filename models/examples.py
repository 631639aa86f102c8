"""Reading the tf.Examples of a split as Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterator

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
    files = sorted(
        path for path in tf.io.gfile.glob(f"{folder}/*") if not path.rsplit("/")[-1].startswith(".")
    )
    decoder = example_coder.ExamplesToRecordBatchDecoder()
    records = tf.data.TFRecordDataset(files, compression_type="GZIP", buffer_size=1 << 20)
    for chunk in records.batch(DECODE_ROWS).as_numpy_iterator():
        yield decoder.DecodeBatch(chunk.tolist())
