"""What type a column has: the most general one over all rows and files.

    null < int64 < double < string        null < bool < string

Text cells (CSV) are narrowed to the least type that holds all of them. Cells with a type of their
own (Parquet, TFRecord) keep it, joined over the files. What is decided here, for every source:

- A number that is not finite, or beyond float32 (which is what tf.Example stores), is missing;
  so is an empty text.
- Truth values become int64 0 and 1; in a categorical column or the label, the text `true`, `false`.
- Dates, times and timestamps become ISO 8601 text.
- A categorical column of whole reals (`3.0`) becomes int64, one of other reals text as written.
- A column of the kind `image` is bytes; `pictures` brings them into one size.
- A column of the kind `text` stays text as written (`007`); it is for those who read data for a
  model that knows the column as text.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NULL, BOOL, INT, REAL, TEXT = pa.null(), pa.bool_(), pa.int64(), pa.float64(), pa.string()

_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_EXACT = 2.0**53  # reals hold every whole number up to here
_MAX_CASES = 10
_PROBE = 64
_NUMBER = r"^\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def join(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The least type that holds values of both."""
    if a == b or b == NULL:
        return a
    if a == NULL:
        return b
    return REAL if {a, b} == {INT, REAL} else TEXT


def parse(values: pa.Array, to: pa.DataType) -> pa.Array | None:
    """Text as another type, or None if some value does not fit.

    Args:
      values: Strings; surrounding blanks do not count in numbers and truth values.
      to: One of the types above.
    """
    if to == TEXT:
        return values
    if to == NULL:
        return pa.nulls(len(values)) if values.null_count == len(values) else None
    if to == BOOL:
        text = pc.utf8_trim_whitespace(values)
        known = pc.is_in(text, value_set=pa.array([*_TRUE, *_FALSE]))
        if not pc.all(pc.or_(known, text.is_null())).as_py():
            return None
        truth = pc.is_in(text, value_set=pa.array(_TRUE))
        return pc.if_else(text.is_null(), pa.scalar(None, BOOL), truth)
    for strip in (False, True):
        try:
            # A failing cast is slow, it words an error for every cell: try a few cells first.
            for text in (values[:_PROBE], values):
                numbers = (pc.utf8_trim_whitespace(text) if strip else text).cast(to)
        except pa.ArrowInvalid:
            continue
        return None if to == INT and _has_hexadecimal(values) else numbers
    return None


def _has_hexadecimal(text: pa.Array) -> bool:
    """Arrow reads 0x10 as the integer 16, though not as a real: such cells are text."""
    data = text.buffers()[2]
    # A look at the raw bytes is cheap, and almost always enough.
    if data is None or not np.any((np.frombuffer(data, np.uint8) | 0x20) == ord("x")):
        return False
    return pc.any(pc.match_substring(text, "x", ignore_case=True)).as_py()


def canonical(values: pa.Array, name: str) -> pa.Array:
    """A typed array as one of the five types of this module.

    Args:
      values: From Parquet or TFRecord.
      name: Column, for the error.

    Raises:
      TypeError: Nested or otherwise unusable type; the message says which.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        return canonical(values.dictionary_decode(), name)
    if kind in (NULL, BOOL, INT, TEXT):
        return values
    if pa.types.is_integer(kind):
        try:
            return values.cast(INT)
        except pa.ArrowInvalid:  # uint64 beyond int64
            return values.cast(REAL, safe=False)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if kind == pa.float16():
            values = pa.array(values.to_numpy(zero_copy_only=False).astype(np.float32))
        return values.cast(REAL)
    if pa.types.is_timestamp(kind):
        text = values.cast(pa.timestamp(kind.unit)).cast(TEXT)
        text = pc.replace_substring_regex(text, r"\.0+$", "")
        text = pc.replace_substring(text, " ", "T")
        return pc.binary_join_element_wise(text, "Z", "") if kind.tz else text
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return values.cast(TEXT)
    if pa.types.is_large_string(kind):
        return values.cast(TEXT)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return values.cast(TEXT)
        except pa.ArrowInvalid:
            raise TypeError(f"`{name}` holds bytes that are not UTF-8 text") from None
    raise TypeError(f"`{name}` holds values of type {kind}")


@dataclasses.dataclass
class Column:
    """What is known about a column while its blocks go by.

    Attributes:
      name: Column.
      kind: `numeric`, `categorical`, `image`, `ignore`, `label`, `text`, or None: nothing is
        configured.
      type: The least type of this module that holds all cells so far.
      whole: Whether all reals so far are whole; kept for categorical columns only.
      unfit, cases: Cells of a numeric column that are no numbers: how many, and the first few.
    """

    name: str
    kind: str | None = None
    type: pa.DataType = NULL
    whole: bool = True
    unfit: int = 0
    cases: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def observe(self, values: pa.Array, untyped: bool, file: str, row: int) -> None:
        """Widens the type so that it holds one more block.

        Args:
          values: Strings (CSV) or `canonical` values.
          untyped: Whether strings may turn out to be numbers or truth values.
          file: Where they are from.
          row: Rows of the file before this block.
        """
        if values.type == TEXT:
            values = drop_empty(values)
            if untyped or self.kind == "numeric":
                self._narrow(values, file, row)
            elif values.null_count < len(values):
                self.type = TEXT
        elif values.null_count < len(values):
            self.type = join(self.type, values.type)
            self._look(values)

    def declare(self, kind: pa.DataType) -> bool:
        """Widens the type by one that a file declares.

        Args:
          kind: Any Arrow type.

        Returns:
          Whether the cells must be observed all the same, because they decide more.

        Raises:
          TypeError: As `canonical`.
        """
        declared = canonical(pa.array([], kind), self.name).type
        if declared == TEXT and self.kind == "numeric":
            return True
        self.type = join(self.type, declared)
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.uint64():
            return True
        return self.kind == "categorical" and declared == REAL

    def _narrow(self, text: pa.Array, file: str, row: int) -> None:
        if text.null_count == len(text) or (self.type == TEXT and self.kind != "numeric"):
            return
        candidates = (REAL,) if self.type == REAL else (INT, REAL, BOOL)
        for candidate in (BOOL,) if self.kind == "text" else candidates:
            values = parse(text, candidate)
            if values is not None:
                self.type = join(self.type, candidate)
                self._look(values)
                break
        else:
            self.type = TEXT
            if self.kind == "numeric":
                self._note(text, file, row)

    def _look(self, values: pa.Array) -> None:
        if self.kind == "categorical" and values.type == REAL and self.whole:
            values = finite(values)
            whole = pc.and_(
                pc.equal(values, pc.floor(values)), pc.less_equal(pc.abs(values), _EXACT)
            )
            self.whole = pc.all(whole).as_py() is not False

    def _note(self, text: pa.Array, file: str, row: int) -> None:
        number = pc.match_substring_regex(text, _NUMBER).fill_null(True)
        bad = np.flatnonzero(~number.to_numpy(zero_copy_only=False))
        self.unfit += len(bad)
        for index in bad[: _MAX_CASES - len(self.cases)]:
            self.cases.append(
                {"file": file, "row": row + int(index) + 1, "value": text[int(index)].as_py()}
            )

    @property
    def target(self) -> pa.DataType:
        """The type in which the column is handed out."""
        if self.kind == "image":
            return pa.binary()
        if self.kind == "numeric":
            return {NULL: REAL, BOOL: INT}.get(self.type, self.type)
        if self.kind == "categorical":
            if self.type == REAL:
                return INT if self.whole else TEXT
            return INT if self.type == INT else TEXT
        if self.kind == "text":
            return TEXT
        if self.type == BOOL:
            return TEXT if self.kind == "label" else INT
        return self.type

    def convert(self, values: pa.Array) -> pa.Array:
        """A block as `target`.

        Raises:
          ValueError: The block does not fit what was observed: the file has changed since.
        """
        to = self.target
        if self.kind == "image":
            return values.cast(to)
        as_written = to == TEXT and self.type in (REAL, TEXT)
        if values.type == TEXT and not as_written:
            values = parse(drop_empty(values), self.type)
            if values is None:
                raise ValueError(self.name)
        if values.type == REAL:
            values = finite(values)
        try:
            if values.type == TEXT and to == TEXT:
                return drop_empty(values)
            return values if values.type == to else values.cast(to)
        except pa.ArrowInvalid as error:
            raise ValueError(self.name) from error


def drop_empty(text: pa.Array) -> pa.Array:
    """Empty texts as missing."""
    empty = pc.equal(text, "")
    if not pc.any(empty).as_py():
        return text
    return pc.if_else(empty, pa.scalar(None, TEXT), text)


def finite(values: pa.Array) -> pa.Array:
    """Numbers that float32 cannot hold as missing: infinities, NaN, magnitudes over 3.4e38."""
    good = pc.less_equal(pc.abs(values), _FLOAT32_MAX)
    if pc.all(good).as_py() is not False:
        return values
    return pc.if_else(good, values, pa.scalar(None, REAL))
