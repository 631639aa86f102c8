"""Text that tells a time, as numbers that sort.

A column has one way of writing times. All ways that fit every cell seen so far stay in the race, so
that `03/04/2020` is not read one way in one block and another way in the next; where several are
left at the end (no day over 12), the first in the list counts: ISO 8601, then month first.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ISO = re.compile(r"^\d{4}-\d\d?(-\d\d?)?([T ]\d\d?(:\d\d){0,2}([.,]\d+)?)? ?(Z|[+-]\d\d:?\d\d)?$")
_DAYS = (
    "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y", "%m-%d-%Y", "%d-%m-%Y", "%m/%d/%y", "%d/%m/%y",
    "%d.%m.%y", "%b %d %Y", "%b %d, %Y", "%d %b %Y", "%d-%b-%Y", "%B %d, %Y", "%d %B %Y",
)  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
_ANY = "any"
FORMATS = ("iso", *(day + clock for day, clock in itertools.product(_DAYS, _CLOCKS)), _ANY)


def parse_times(text: pa.Array, form: str) -> np.ndarray | None:
    """Times in one way of writing, or None if a cell does not fit.

    Args:
      text: Strings without missing cells.
      form: One of `FORMATS`; `any` takes whatever pandas can parse cell by cell.

    Returns:
      int64 nanoseconds since 1970; a time without a zone counts as UTC.
    """
    import pandas as pd

    distinct = text.dictionary_encode()
    # A first cell that does not fit spares the rest.
    words = [word.strip() for word in distinct.dictionary.to_pylist()]
    try:
        for some in (words[:1], words):
            if form == "iso" and not all(map(_ISO.match, some)):
                return None
            if form in ("iso", _ANY):
                # One by one: pandas 2 would otherwise insist on the form of the first cell.
                times = [pd.Timestamp(word) for word in some]
                times = [t.tz_localize("UTC") if t.tz is None else t for t in times]
                parsed = np.array([t.value for t in times], np.int64)
            else:
                parsed = pd.to_datetime(pd.Series(some, dtype=object), format=form, utc=True)
                parsed = parsed.dt.tz_localize(None).to_numpy("datetime64[ns]").astype(np.int64)
    except (ValueError, OverflowError):
        return None
    return parsed[distinct.indices.to_numpy()]


def fitting(text: pa.Array, forms: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The ways of writing that fit every cell, each with the times it gives.

    Args:
      text: Strings without missing cells.
      forms: Ways still in the race.
    """
    fits = {}
    for form in forms:
        if form == _ANY and fits:
            break  # the last resort, and slow
        times = parse_times(text, form)
        if times is not None:
            fits[form] = times
    return fits


def first_unfit(text: pa.Array, forms: tuple[str, ...]) -> str:
    """A cell that none of the ways still in the race can read, else the first cell."""
    for word in pc.unique(text).to_pylist():
        if not fitting(pa.array([word]), forms):
            return word
    return text[0].as_py()
