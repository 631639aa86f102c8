"""Which rows train, which choose, which judge.

Rows carry a number, and two thresholds cut the numbers into train, eval and test:

- `hash`: a hash of the row's values. It does not depend on the order of rows, files or columns, on
  how the table is cut into blocks, on the machine, or on whether a whole number was read as int64
  or double; equal rows are in one split. Derived and missing cells do not count, so a new
  derived column, or one that is empty, moves no row.
  Of rows with an image only its pixels count, so that no picture is in two splits, whatever it
  is called.
- `key`: a hash of one column: rows with one key are in one split.
- `time`: the time itself: train is before eval is before test; equal times are in one split.

The thresholds of hashes are fixed (0.70 and 0.85 of the range), so that a row stays in its split
when the table grows. Only where that would leave a split with less than half of its share (few
rows, few keys) are they set at the quantiles, as those of time always are. Rows whose key or time
is missing train: they cannot be judged fairly.
"""

from __future__ import annotations

import dataclasses
import difflib

import numpy as np
import pyarrow as pa

from custom_components.example_gen import pictures, timestamps
from custom_components.example_gen.options import SplitOptions
from custom_components.example_gen.reader import Dataset
from models import progress
from models.errors import ConfigError, DataError

SPLITS = ("train", "eval", "test")

#: With more rows than this a fixed threshold cannot miss half of a share by chance.
_SURE_ROWS = 20_000
_RANGE = 2.0**64
_EXACT = 2**53


@dataclasses.dataclass(frozen=True)
class Splitter:
    """Puts rows into splits.

    Attributes:
      options: How.
      names: Columns that are hashed (`hash`).
      low, high: Numbers below `low` train, those below `high` are eval, the rest test.
      form: How times are written (`time` and text only).
    """

    options: SplitOptions
    names: tuple[str, ...]
    low: float | int
    high: float | int
    form: str = ""

    def assign(self, batch: pa.RecordBatch) -> np.ndarray:
        """The split of each row: int8 index into `SPLITS`."""
        if self.options.by == "hash":
            values, present = hash_rows(batch, self.names), None
        else:
            column = batch.column(self.options.column)
            present = column.is_valid().to_numpy(zero_copy_only=False)
            column = column.drop_null()
            if self.options.by == "key":
                values = hash_cells(column)
            elif self.form:
                values = timestamps.parse_times(column, self.form)
            else:
                values = column.to_numpy()
        split = (values >= self.low).astype(np.int8) + (values >= self.high)
        if present is None:
            return split
        result = np.zeros(batch.num_rows, np.int8)
        result[present] = split
        return result


def plan(dataset: Dataset, options: SplitOptions) -> Splitter:
    """Decides the thresholds, with one more look at the table where that is needed.

    That look keeps 16 bytes per distinct number: all rows of a small table, keys, or times.

    Raises:
      ConfigError: COLUMN_MISSING, the key or time column is not there.
      DataError: TIME_UNREADABLE; SPLIT_EMPTY, fewer than three distinct rows, keys or times.
    """
    names = dataset.telling_names
    low = _threshold(options.train)
    high = _threshold(options.train + options.eval)
    if options.by == "hash" and dataset.rows > _SURE_ROWS:
        return Splitter(options, names, low, high)
    if options.by != "hash" and options.column not in dataset.schema.names:
        close = difflib.get_close_matches(options.column, dataset.schema.names, 1, cutoff=0.5)
        raise ConfigError(
            "COLUMN_MISSING",
            f"`data.split.column` names `{options.column}`, which the data does not have.",
            next=f"Did you mean `{close[0]}`?"
            if close
            else f"It has: {', '.join(dataset.schema.names[:30])}.",
        )
    progress.doing(f"splitting by {options.by}")
    form = ""
    tally = _Tally()
    if options.by == "hash":
        for batch in dataset.batches(names):
            tally.add(hash_rows(batch, names))
    elif options.by == "key":
        for batch in dataset.batches([options.column]):
            tally.add(hash_cells(batch.column(0).drop_null()))
    else:
        form, tally = _tally_times(dataset, options.column)
    values, counts = tally.total()
    if len(values) < len(SPLITS):
        what = {"hash": "distinct rows", "key": "distinct keys", "time": "distinct times"}
        of = f" in `{options.column}`" if options.column else ""
        raise DataError(
            "SPLIT_EMPTY",
            f"The data has {len(values)} {what[options.by]}{of}; train, eval and test need at "
            "least one each.",
            next="Use more rows, or split by something else (`data.split`).",
        )
    if options.by != "time" and _fair(values, counts, (low, high), options):
        return Splitter(options, names, low, high)
    low, high = _cut(values, counts, options)
    return Splitter(options, names, low, high, form)


def _threshold(share: float) -> np.uint64:
    return np.uint64(min(round(share * _RANGE), 2**64 - 1))


class _Tally:
    """How often each number occurs."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, values: np.ndarray) -> None:
        self._parts.append(np.unique(values, return_counts=True))

    def total(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct numbers ascending, and their counts."""
        if not self._parts:
            return np.array([]), np.array([], int)
        values, inverse = np.unique(
            np.concatenate([v for v, _ in self._parts]), return_inverse=True
        )
        counts = np.bincount(inverse, np.concatenate([c for _, c in self._parts]))
        return values, counts.astype(np.int64)


def _tally_times(dataset: Dataset, name: str) -> tuple[str, _Tally]:
    if dataset.schema.field(name).type != pa.string():
        tally = _Tally()
        for batch in dataset.batches([name]):
            tally.add(batch.column(0).drop_null().to_numpy())
        return "", tally
    tallies = {form: _Tally() for form in timestamps.FORMATS}
    for batch in dataset.batches([name]):
        text = batch.column(0).drop_null()
        if not len(text):
            continue
        fits = timestamps.fitting(text, tuple(tallies))
        if not fits:
            word = timestamps.first_unfit(text, tuple(tallies))
            raise DataError(
                "TIME_UNREADABLE",
                f"`{word}` in the time column `{name}` cannot be read as a time.",
                next="Write times as ISO 8601 (2024-05-31T08:00:00) or as numbers that grow.",
                cases=[{"column": name, "value": word}],
            )
        tallies = {form: tallies[form] for form in fits}
        for form, values in fits.items():
            tallies[form].add(values)
    return next(iter(tallies.items()))


def _fair(values: np.ndarray, counts: np.ndarray, thresholds: tuple, options: SplitOptions) -> bool:
    """Whether fixed thresholds leave each split at least half of its share."""
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    low, high = cumulative[np.searchsorted(values, thresholds)]
    rows = np.array([low, high - low, cumulative[-1] - high])
    shares = np.array([options.train, options.eval, options.test])
    return bool(np.all(rows >= 0.5 * shares * cumulative[-1]))


def _cut(values: np.ndarray, counts: np.ndarray, options: SplitOptions) -> tuple:
    """Thresholds closest to the shares that split no number and leave no split empty."""
    cumulative = np.cumsum(counts)
    rows, last = cumulative[-1], len(values) - 1
    # cumulative[i - 1] rows are below values[i].
    low = 1 + int(np.argmin(np.abs(cumulative[: last - 1] - options.train * rows)))
    target = (options.train + options.eval) * rows
    high = low + 1 + int(np.argmin(np.abs(cumulative[low:last] - target)))
    return values[low], values[high]


def hash_rows(batch: pa.RecordBatch, names: tuple[str, ...]) -> np.ndarray:
    """A uint64 hash of each row.

    Args:
      batch: Typed columns.
      names: The columns that count, in any order.
    """
    total = np.zeros(batch.num_rows, np.uint64)
    for name in names:
        column = batch.column(name)
        if column.null_count == len(column):
            continue
        seed = hash_cells(pa.array([name]))[0]
        # The sum makes the order of the columns irrelevant; a missing cell adds nothing.
        if column.null_count:
            present = column.is_valid().to_numpy(zero_copy_only=False)
            total[present] += _mix(hash_cells(column.drop_null()) ^ seed)
        else:
            total += _mix(hash_cells(column) ^ seed)
    return _mix(total)


def hash_cells(values: pa.Array) -> np.ndarray:
    """A uint64 hash of each value; none may be missing. An integer hashes as the equal real."""
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        from pandas.util import hash_array

        distinct = values.dictionary_encode()
        if pa.types.is_binary(values.type):
            words = pictures.pixels(distinct.dictionary)
        else:
            words = distinct.dictionary.to_numpy(zero_copy_only=False).astype(object)
        hashes = hash_array(words, categorize=False)  # SipHash, the same on every machine
        return hashes[distinct.indices.to_numpy()]
    if pa.types.is_null(values.type):
        return np.zeros(0, np.uint64)
    numbers = values.to_numpy()
    bits = (numbers.astype(np.float64) + 0.0).view(np.uint64)  # + 0.0 makes -0.0 equal to 0.0
    if numbers.dtype == np.int64:
        large = (numbers > _EXACT) | (numbers < -_EXACT)
        if large.any():
            bits = np.where(large, numbers.view(np.uint64), bits)
    return _mix(bits)


def _mix(bits: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014), with its increment."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
