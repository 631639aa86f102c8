"""Arrow rows to TFRecords of tf.Example, a column at a time.

The wire format is built by columns: each cell's map entry, then one join per row. That takes a
quarter of the time of `tfx_bsl`'s RecordBatchToExamples, needs no TensorFlow, and lists the
features of all rows in one order, which compresses better and twice as fast.

int64 becomes an int64_list, double a float_list (float32), string a bytes_list of UTF-8; a missing
cell is the key with no kind set, which FixedLenFeature defaults, TFDV and TFMA all understand.

Formats: tensorflow/core/example/{example,feature}.proto, protobuf's encoding guide, and
tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_EMPTY = pa.scalar(b"", pa.binary())
_GZIP = 16 + zlib.MAX_WBITS
_CRC_MASK = np.uint32(0xA282EAD8)

# Field numbers and wire types of the messages, as their one-byte tags.
_EXAMPLE_FEATURES = b"\x0a"
_FEATURES_ENTRY = b"\x0a"
_ENTRY_KEY, _ENTRY_VALUE = b"\x0a", b"\x12"
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = b"\x0a", b"\x12", b"\x1a"
_LIST_VALUE = b"\x0a"


def encode(batch: pa.RecordBatch) -> pa.BinaryArray:
    """Serialised tf.Examples, one per row.

    Args:
      batch: null, int64, double and string columns.
    """
    fields = [_fields(n, c) for n, c in zip(batch.schema.names, batch.columns, strict=True)]
    lengths = sum(pc.binary_length(field).to_numpy(zero_copy_only=False) for field in fields)
    starts = _by_length(lengths, lambda n: _EXAMPLE_FEATURES + _varint(n))
    return pc.binary_join_element_wise(starts, *fields, _EMPTY)


def _fields(name: str, column: pa.Array) -> pa.Array:
    """One column's part of each row: a map entry."""
    key = name.encode()
    missing = pa.scalar(_entry(key, b""), pa.binary())
    if column.null_count == len(column):
        return pa.array([missing.as_py()], pa.binary()).take(pa.array(np.zeros(len(column), int)))
    if pa.types.is_floating(column.type):
        entries = _float_entries(key, column.fill_null(0.0).to_numpy().astype("<f4"))
    else:
        encoded = column.dictionary_encode()
        cells = encoded.dictionary
        entries = (
            _int_entries(key, cells.to_numpy())
            if pa.types.is_integer(column.type)
            else _text_entries(key, cells)
        ).take(encoded.indices)
    return pc.if_else(column.is_valid(), entries, missing) if column.null_count else entries


def _float_entries(key: bytes, values: np.ndarray) -> pa.BinaryArray:
    prefix = _entry(key, _message(_FLOAT_LIST, _message(_LIST_VALUE, bytes(4))))[:-4]
    return _rows(prefix, values.view(np.uint8).reshape(-1, 4))


def _int_entries(key: bytes, values: np.ndarray) -> pa.BinaryArray:
    bits = values.view(np.uint64)
    limits = np.array([1 << (7 * i) for i in range(1, 10)], np.uint64)
    sizes = 1 + np.searchsorted(limits, bits, side="right")  # bytes of the varint
    pieces, places = [], []
    for size in np.unique(sizes):
        places.append(np.flatnonzero(sizes == size))
        shifts = np.arange(size, dtype=np.uint64) * np.uint64(7)
        varints = (bits[places[-1], None] >> shifts).astype(np.uint8)
        varints[:, :-1] |= 0x80
        varints[:, -1] &= 0x7F
        prefix = _entry(key, _message(_INT64_LIST, _message(_LIST_VALUE, bytes(int(size)))))
        pieces.append(_rows(prefix[: -int(size)], varints))
    if len(pieces) == 1:
        return pieces[0]
    order = np.argsort(np.concatenate(places))
    return pa.concat_arrays(pieces).take(pa.array(order))


def _text_entries(key: bytes, values: pa.StringArray) -> pa.BinaryArray:
    values = values.cast(pa.binary())
    lengths = pc.binary_length(values).to_numpy()

    def start(n: int) -> bytes:
        entry = _entry(key, _message(_BYTES_LIST, _message(_LIST_VALUE, bytes(n))))
        return entry[: len(entry) - n]

    return pc.binary_join_element_wise(_by_length(lengths, start), values, _EMPTY)


def _by_length(lengths: np.ndarray, make) -> pa.BinaryArray:
    """make(length) for each row, computed once per distinct length."""
    distinct, index = np.unique(lengths, return_inverse=True)
    return pa.array([make(int(n)) for n in distinct], pa.binary()).take(pa.array(index))


def _rows(prefix: bytes, tails: np.ndarray) -> pa.BinaryArray:
    """One constant and one row of bytes each; tails: uint8 [n, k]."""
    n, width = len(tails), len(prefix) + tails.shape[1]
    data = np.empty((n, width), np.uint8)
    data[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    data[:, len(prefix) :] = tails
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(width)
    return pa.Array.from_buffers(
        pa.binary(), n, [None, pa.py_buffer(offsets), pa.py_buffer(data.reshape(-1))]
    )


def _entry(key: bytes, feature: bytes) -> bytes:
    return _message(_FEATURES_ENTRY, _message(_ENTRY_KEY, key) + _message(_ENTRY_VALUE, feature))


def _message(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    groups = bytearray()
    while n > 0x7F:
        groups.append(n & 0x7F | 0x80)
        n >>= 7
    groups.append(n)
    return bytes(groups)


def frame(records: pa.BinaryArray) -> memoryview:
    """TFRecord framing: length, its checksum, the record, its checksum; for each record."""
    count = len(records)
    rows = records.to_pylist()
    lengths = pc.binary_length(records).to_numpy()
    heads = _by_length(lengths, _head)
    sums = np.fromiter(map(google_crc32c.value, rows), np.uint32, count)
    framed = pc.binary_join_element_wise(
        heads, records, _rows(b"", _mask(sums).astype("<u4").view(np.uint8).reshape(-1, 4)), _EMPTY
    )
    start, end = framed.buffers()[1], framed.buffers()[2]
    size = np.frombuffer(start, np.int32)[framed.offset + count]
    return memoryview(end)[:size]


def _head(length: int) -> bytes:
    size = length.to_bytes(8, "little")
    checksum = _mask(np.array([google_crc32c.value(size)], np.uint32))
    return size + checksum.astype("<u4").tobytes()


def _mask(checksums: np.ndarray) -> np.ndarray:
    turned = (checksums >> np.uint32(15)) | (checksums << np.uint32(17))
    return turned + _CRC_MASK


class RecordWriter:
    """Writes tf.Examples to a gzip TFRecord file.

    Args:
      stream: Where the bytes go; not closed.
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        # Level 1: level 6 takes three times as long for a tenth less.
        self._gzip = zlib.compressobj(1, zlib.DEFLATED, _GZIP)

    def write(self, records: pa.BinaryArray) -> None:
        """Appends records."""
        if len(records):
            self._stream.write(self._gzip.compress(frame(records)))

    def finish(self) -> None:
        """Ends the file; without it a reader finds it cut off."""
        self._stream.write(self._gzip.flush())
