"""From the JSON of a request to the tensors of the model, row by row and strictly.

What a value may be follows from the feature, as in `models.feeds`, which this equals where both
answer; it is written out for a few rows at a time, where Arrow's overhead would be the larger
part of a request. A row that cannot be read gets errors of its own and no prediction.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.spec import Feature, ImageFeature, ModelSpec, NumericFeature
from models.text import did_you_mean

_LARGEST = float(np.finfo(np.float32).max)
_LONGEST = 4096


@dataclasses.dataclass(frozen=True)
class RowError:
    """Why a row got no prediction.

    Attributes:
      row: Its place in the request.
      code: Stable: `WRONG_TYPE`, `UNKNOWN_FEATURE` …
      message: One sentence.
      feature: Which one, where it is one.
    """

    row: int
    code: str
    message: str
    feature: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


class _Unreadable(Exception):
    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Decoded:
    """The rows of a request.

    Attributes:
      good: Places of the rows that can be predicted.
      inputs: Feature to `[len(good), 1]`, as the model takes them.
      values: The good rows' values, for the log.
      bad: Place to what could be read of each other row.
      errors: At least one for each of those, in order.
    """

    good: list[int]
    inputs: dict[str, np.ndarray]
    values: list[dict[str, Any]]
    bad: dict[int, dict[str, Any]]
    errors: list[RowError]


class Decoder:
    """Reads rows for one model.

    Args:
      spec: Its contract.
      ignore_unknown: Whether names the model does not know are passed over.
      max_pixels: Largest image that is decoded.
    """

    def __init__(
        self, spec: ModelSpec, *, ignore_unknown: bool = False, max_pixels: int = 25_000_000
    ):
        self._spec = spec
        self._ignore = ignore_unknown
        self._read: dict[str, Callable[[Any], Any]] = {
            f.name: _reader(f, max_pixels) for f in spec.features
        }
        self._texts = [f.name for f in spec.categorical if f.dtype == "string"]
        self._numbers = [
            f.name for f in (*spec.numeric, *spec.categorical) if f.name not in self._texts
        ]

    def decode(self, instances: Sequence[Any]) -> Decoded:
        """All rows of a request."""
        good: list[int] = []
        values: list[dict[str, Any]] = []
        bad: dict[int, dict[str, Any]] = {}
        errors: list[RowError] = []
        for place, instance in enumerate(instances):
            row, problems = self._row(place, instance)
            if problems:
                bad[place] = row
                errors += problems
            else:
                good.append(place)
                values.append(row)
        inputs = self._inputs(values)
        if self._spec.image is not None:  # the log holds no pictures
            for row in (*values, *bad.values()):
                row.pop(self._spec.image.name, None)
        return Decoded(good, inputs, values, bad, errors)

    def _row(self, place: int, instance: Any) -> tuple[dict[str, Any], list[RowError]]:
        if type(instance) is not dict:
            message = f"A row is an object of feature names and values, not {_shown(instance)}."
            return {}, [RowError(place, "NOT_AN_OBJECT", message)]
        row, problems = {}, []
        for name, read in self._read.items():
            value = instance.get(name)
            try:
                row[name] = None if value is None else read(value)
            except _Unreadable as problem:
                row[name] = None
                message = f"`{name}` is {_shown(value)}; {problem}."
                problems.append(RowError(place, problem.code, message, name))
        if not self._ignore and not instance.keys() <= self._read.keys():
            for name in sorted(instance.keys() - self._read.keys())[:20]:
                close = did_you_mean(name, list(self._read))
                message = f"The model has no feature {_shown(name)}.{close}"
                problems.append(RowError(place, "UNKNOWN_FEATURE", message, name[:100]))
        if not problems and all(value is None for value in row.values()):
            message = "The row holds no value of any of the model's features."
            problems.append(RowError(place, "EMPTY_ROW", message))
        return row, problems

    def _inputs(self, rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        # By way of float64, as a table's column goes; all columns at once.
        exact = [[math.nan if row[n] is None else row[n] for row in rows] for n in self._numbers]
        columns = np.array(exact, np.float64).astype(np.float32)
        inputs = {
            name: column.reshape(-1, 1) for name, column in zip(self._numbers, columns, strict=True)
        }
        for name in self._texts:
            column = np.empty((len(rows), 1), dtype=object)
            for i, row in enumerate(rows):
                column[i, 0] = (row[name] or "").encode()
            inputs[name] = column
        if self._spec.image is not None:
            name = self._spec.image.name
            pixels = np.zeros((len(rows), *self._spec.image.shape), np.uint8)  # black where missing
            for i, row in enumerate(rows):
                if row[name] is not None:
                    pixels[i] = row[name]
            inputs[name] = pixels
        return inputs


def _reader(feature: Feature, max_pixels: int) -> Callable[[Any], Any]:
    if isinstance(feature, NumericFeature):
        return _number
    if isinstance(feature, ImageFeature):
        return functools.partial(_pixels, feature.shape, max_pixels)
    return _text if feature.dtype == "string" else _whole


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise _Unreadable("WRONG_TYPE", "it must be a number or null")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not -_LARGEST <= number <= _LARGEST:
        raise _Unreadable("OUT_OF_RANGE", "it must be a finite number of single precision")
    return number


def _whole(value: Any) -> int | None:
    if type(value) is str:
        if not value:
            return None
        try:
            value = int(value) if len(value) < 30 else math.inf
        except ValueError:
            raise _Unreadable("WRONG_TYPE", "it must be a whole number or null") from None
    if type(value) not in (int, float) or (type(value) is float and not value.is_integer()):
        raise _Unreadable("WRONG_TYPE", "it must be a whole number or null")
    if not -(2**63) <= value < 2**63:
        raise _Unreadable("OUT_OF_RANGE", "it must fit 64 bits")
    return int(value)


def _text(value: Any) -> str | None:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float:  # 3, 3.0 and "3" are the same category
        if not math.isfinite(value):
            raise _Unreadable("OUT_OF_RANGE", "it must be finite")
        value = int(value) if value.is_integer() and abs(value) < 2**63 else repr(value)
    if type(value) is int:
        if value.bit_length() > 64:
            raise _Unreadable("OUT_OF_RANGE", "a number here must fit 64 bits")
        return str(value)
    if type(value) is not str:
        raise _Unreadable("WRONG_TYPE", "it must be text or null")
    if len(value) > _LONGEST:
        raise _Unreadable("TOO_LONG", f"it must have {_LONGEST:,} characters at most")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Unreadable("INVALID_TEXT", "it holds half a surrogate pair") from None
    return value or None


def _pixels(shape: tuple[int, int, int], most: int, value: Any) -> np.ndarray:
    """uint8 `[height, width, channels]` from TF Serving's form of bytes."""
    from models import images  # Pillow, which a model of tables does not need

    if type(value) is not dict or value.keys() != {"b64"} or type(value["b64"]) is not str:
        raise _Unreadable("WRONG_TYPE", 'it must be an image file as {"b64": …}, or null')
    try:
        content = base64.b64decode(value["b64"], validate=True)
    except ValueError:
        raise _Unreadable("WRONG_TYPE", "its b64 is not Base64") from None
    try:
        if images.is_encoded(content):
            height, width, _ = images.shape(content)
            if height * width > most:
                said = f"it has {height:,} x {width:,} pixels, and {most:,} are the most"
                raise _Unreadable("IMAGE_TOO_LARGE", said)
        return images.decode(content, *shape)
    except _Unreadable:
        raise
    except Exception as error:  # Pillow's readers raise what they like on damaged files
        said = ascii(str(error) or type(error).__name__)[1:-1]
        raise _Unreadable("UNREADABLE_IMAGE", f"it cannot be decoded ({said[:200]})") from None


def _shown(value: Any) -> str:
    """The value for a sentence: short, and printable whatever it is."""
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and abs(value) > 10**30:
        return "a number of more than 30 digits"
    text = ascii(value[:60] + "…") if isinstance(value, str) and len(value) > 60 else ascii(value)
    return {"True": "true", "False": "false", "None": "null"}.get(text, text)
