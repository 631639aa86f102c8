"""What a table seems to be about: label, task, kinds, split, slices, each with a reason.

A guess is a start: it is written into a config file that people read and change.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import feeds
from models.errors import ConfigError, DataError
from models.text import did_you_mean

LABEL_NAMES = (
    "label target class y outcome survived churn churned default fraud is_fraud species "
    "diagnosis quality rating price sale_price saleprice medv income"
).split()
_CATEGORY_WORDS = {
    "area", "category", "class", "code", "day", "dow", "grade", "group", "hour", "kind", "level",
    "month", "quarter", "region", "state", "status", "store", "tract", "type", "weekday", "zip",
    "zone",
}  # fmt: skip
_IDENTIFIER = re.compile(r"(^|_)(id|uuid|guid|key|index|rowid|number|nr|no)$|^unnamed|^$", re.I)
_TIME_WORDS = re.compile(r"(^|_)(time|timestamp|date|datetime|ts)($|_)|_at$", re.I)
#: An integer with at most so many values may be a category when its name says so.
_MOST_INTEGER_CATEGORIES = 200
_MOST_CLASSES = 50
_EPOCH = (100_000_000, 5_000_000_000)


@dataclasses.dataclass(frozen=True)
class Column:
    """What is known about a column from the rows looked at."""

    name: str
    type: str  # "null", "integer", "real", "text"
    distinct: int
    missing: int
    rows: int
    sample: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    whole: bool = False
    dates: bool = False

    @property
    def filled(self) -> int:
        return self.rows - self.missing


@dataclasses.dataclass(frozen=True)
class Guess:
    """A config in the making.

    Attributes:
      label, task: What is predicted, and what kind of problem that is.
      kinds: Column to `numeric`, `categorical` or `ignore`, the label left out.
      why: Column to the reason for its kind; `` for the obvious.
      task_why: The reason for label and task.
      time: Column to split by time, if there is one.
      slices: Columns to judge the model by.
      size: Height, width and channels that images are brought to; None without images.
    """

    label: str
    task: str
    kinds: dict[str, str]
    why: dict[str, str]
    task_why: str
    time: str | None
    slices: tuple[str, ...]
    size: tuple[int, int, int] | None = None


def look(table: pa.Table) -> list[Column]:
    """Counts what the guesses need."""
    return [_look(name, feeds.flat_column(table, name)) for name in table.schema.names]


def _look(name: str, column: pa.Array) -> Column:
    rows, missing = len(column), column.null_count
    values = column.drop_null()
    distinct = pc.count_distinct(values).as_py() if len(values) else 0
    sample = tuple(str(v) for v in pc.unique(values).slice(0, 5).to_pylist())
    if pa.types.is_null(column.type) or not len(values):
        return Column(name, "null", 0, rows, rows, ())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = values.to_numpy(zero_copy_only=False).astype(float)
        whole = bool(np.all(numbers == np.floor(numbers)))
        kind = "integer" if pa.types.is_integer(column.type) else "real"
        return Column(
            name,
            kind,
            distinct,
            missing,
            rows,
            sample,
            float(numbers.min()),
            float(numbers.max()),
            whole,
        )
    return Column(name, "text", distinct, missing, rows, sample, dates=_are_dates(sample))


def _are_dates(sample: tuple[str, ...]) -> bool:
    return bool(sample) and all(re.match(r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d|$)", v) for v in sample)


def guess(columns: list[Column], label: str | None = None) -> Guess:
    """Guesses everything.

    Args:
      columns: From `look`.
      label: The label when the user knows it.

    Raises:
      ConfigError: LABEL_MISSING, there is no such column.
      DataError: LABEL_UNUSABLE, it is constant or empty.
    """
    by_name = {c.name: c for c in columns}
    label, label_why = _label(columns, by_name, label)
    task, task_why = _task(by_name[label])
    kinds, why = {}, {}
    for column in columns:
        if column.name != label:
            kinds[column.name], why[column.name] = _kind(column)
    time = next((c.name for c in columns if c.name != label and _is_time(c)), None)
    slices = tuple(
        c.name for c in columns if kinds.get(c.name) == "categorical" and 2 <= c.distinct <= 12
    )[:2]
    return Guess(label, task, kinds, why, f"{label_why}; {task_why}", time, slices)


def guess_images(
    table: pa.Table,
    image: str,
    measured: Sequence[str],
    size: tuple[int, int, int],
    label: str | None = None,
) -> Guess:
    """Guesses everything about rows with an image: classes, and nothing beside the picture.

    Args:
      table: The other columns.
      image: The column of images.
      measured: Columns that hold what was measured of them.
      size: Height, width and channels that they are brought to.
      label: The label when the user knows it.

    Raises:
      ConfigError: LABEL_MISSING, there is no such column, or none that is called like one.
      DataError: LABEL_UNUSABLE, it is constant or empty.
    """
    names = [name for name in table.schema.names if name not in (image, *measured)]
    by_name = {name: _look(name, feeds.flat_column(table, name)) for name in names}
    # Names like `image/class/label`, as TFRecords of images often have them.
    like = (name for name in names if name.split("/")[-1].lower() in LABEL_NAMES)
    found = label if label is not None else next(like, None)
    if found not in by_name:
        raise ConfigError(
            "LABEL_MISSING",
            f"There is no column `{found}` in the data.{did_you_mean(found, by_name)}"
            if found
            else "No column beside the image is called like a label.",
            next=f"Name it with `--label`. Columns: {', '.join(names) or 'none'}.",
        )
    if by_name[found].distinct < 2:
        _task(by_name[found])  # says why
    classes = by_name[found].distinct
    why = dict.fromkeys(names, "`categorical` or `numeric` to use it beside the picture")
    why |= dict.fromkeys(measured, "measured of the image: drift is judged by it")
    return Guess(
        found,
        "binary" if classes == 2 else "multiclass",
        {image: "image", **{name: "ignore" for name in (*names, *measured) if name != found}},
        {**why, image: ""},
        f"{classes} classes",
        None,
        (),
        size,
    )


def _label(columns: list[Column], by_name: dict[str, Column], label: str | None) -> tuple[str, str]:
    if label is not None:
        if label not in by_name:
            raise ConfigError(
                "LABEL_MISSING",
                f"There is no column `{label}` in the data.{did_you_mean(label, by_name)}",
                next=f"Columns: {', '.join(by_name)}.",
            )
        return label, "you named it"
    lower = {c.name.lower(): c.name for c in columns}
    for name in LABEL_NAMES:
        if name in lower:
            return lower[name], f"a column called `{lower[name]}` is usually the label"
    return columns[-1].name, "the last column, for want of a better sign"


def _task(column: Column) -> tuple[str, str]:
    if column.distinct < 2:
        what = "no value at all" if not column.distinct else f"only the value {column.sample[0]}"
        raise DataError(
            "LABEL_UNUSABLE",
            f"The label `{column.name}` holds {what}: there is nothing to learn.",
            next="Name another with `--label`.",
        )
    if column.distinct == 2:
        return "binary", f"it has two values: {' and '.join(column.sample)}"
    numbers = column.type in ("integer", "real")
    if numbers and not (column.whole and column.distinct <= max(10, min(20, column.filled // 20))):
        return "regression", f"it is a number with {column.distinct:,} values"
    if column.distinct > _MOST_CLASSES:
        raise DataError(
            "LABEL_UNUSABLE",
            f"The label `{column.name}` is text with {column.distinct:,} values: too many classes.",
            next="Name another with `--label`.",
        )
    return "multiclass", f"it has {column.distinct} values"


def _is_time(column: Column) -> bool:
    if column.type == "text":
        return column.dates and column.distinct > 10
    return (
        bool(_TIME_WORDS.search(column.name))
        and column.low is not None
        and column.low > _EPOCH[0]
        and column.high < _EPOCH[1]
        and column.whole
        and column.distinct > 10
    )


def _kind(column: Column) -> tuple[str, str]:
    if column.type == "null":
        return "ignore", "empty"
    if column.distinct == 1:
        return "ignore", f"always {column.sample[0]}"
    if _is_time(column):
        return "ignore", "a time: rows are split by it"
    unique = column.distinct == column.filled
    if column.type == "text":
        if column.dates:
            return "ignore", "a date: derive numbers from it to use it"
        if column.distinct > max(50, 0.5 * column.filled):
            return "ignore", f"{column.distinct:,} different texts in {column.filled:,} rows"
        return "categorical", f"text, {column.distinct:,} values"
    words = set(re.split(r"[^a-z]+", column.name.lower()))
    if unique and column.whole and column.filled > 20 and _IDENTIFIER.search(column.name):
        return "ignore", "an identifier: different in every row"
    if column.type == "integer" and column.distinct <= _MOST_INTEGER_CATEGORIES:
        hint = sorted(words & _CATEGORY_WORDS)
        if hint and column.distinct > 2:
            return "categorical", f"`{hint[0]}` in its name, {column.distinct} whole numbers"
    if column.type == "integer" and _IDENTIFIER.search(column.name) and column.distinct > 50:
        return "ignore", f"an identifier by its name, {column.distinct:,} values"
    return "numeric", ""
