"""How often the configured thresholds cry wolf, and how soon they see: on one's own data.

A/A: part of the reference's days (or rows) is the reference, windows are drawn from the rest, so
nothing has changed and every alarm is false. A/B: the same windows with one fault put in. Both go
the way real windows go: counted, measured, decided by thresholds learnt from the part.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring.decisions import statistics
from monitoring.decisions.blocks import Blocks, Column, Levels, block_of, column_of, to_numpy
from monitoring.decisions.decide import decide
from monitoring.decisions.learn import learn
from monitoring.decisions.options import ThresholdOptions

Columns = dict[str, Levels]
#: Rows per window, where nobody says otherwise.
SIZES = (1000, 5000, 20_000)
_LONGEST_DELAY = 20


@dataclasses.dataclass(frozen=True)
class Fault:
    """A change put into a window.

    Attributes:
      name: For the table.
      feature: What it changes, and where it must be found.
      change: Values of the feature and a random generator to changed values.
    """

    name: str
    feature: str
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray]


def scaled(feature: str, factor: float = 1.2) -> Fault:
    """All numbers times a factor: a changed unit, a price rise."""
    return Fault(f"{feature} × {factor:g}", feature, lambda x, _: x * factor)


def new_category(feature: str, share: float = 0.05, value: str = "(a new value)") -> Fault:
    """A share of rows gets a value that the reference does not have."""

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.where(rng.random(len(x)) < share, value, x.astype(object))

    return Fault(f"{feature}: {share:.0%} new", feature, change)


def missing(feature: str, share: float = 0.03) -> Fault:
    """A share of rows loses its value."""

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        lost = rng.random(len(x)) < share
        return np.where(lost, np.nan, x) if x.dtype.kind == "f" else np.where(lost, None, x)

    return Fault(f"{feature}: {share:.0%} missing", feature, change)


def more_often(feature: str, value: str, other: str, relative: float = 0.2) -> Fault:
    """One of two values becomes more frequent by this share of its rate."""

    def change(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        x = x.astype(object)
        rate = float(np.mean(x == value))
        flip = (x == other) & (rng.random(len(x)) < relative * rate / max(1 - rate, 1e-9))
        return np.where(flip, value, x)

    return Fault(f"{feature}: rate {relative:+.0%}", feature, change)


@dataclasses.dataclass(frozen=True)
class Seen:
    """One played window, for whoever watches.

    Attributes:
      size: Rows asked for.
      split: Number of the split; its reference stays the same.
      fault: What was put in; None where nothing changed.
      columns: Every feature, all rows.
      reference: Which rows are the reference.
      window: Which rows are the window.
      changed: With a fault: the feature's changed values.
    """

    size: int
    split: int
    fault: Fault | None
    columns: Columns
    reference: np.ndarray
    window: np.ndarray
    changed: np.ndarray | None = None


Watcher = Callable[[Seen], None]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the answer.

    Attributes:
      name: `nothing changed`, or the fault.
      size: Rows per window asked for.
      rows: Rows per window there were (whole days).
      windows: Tried.
      alarms: With a finding; for a fault: on its feature.
      low, high: 95 % interval of their share (Wilson, 1927; over splits where that is wider).
      delay: Mean windows until the fault is found, 1 is the first; None when nothing changed.
      features: Feature to alarms.
    """

    name: str
    size: int
    rows: int
    windows: int
    alarms: int
    low: float
    high: float
    delay: float | None
    features: Mapping[str, int]

    @property
    def rate(self) -> float:
        return self.alarms / max(self.windows, 1)

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "rate": self.rate}


@dataclasses.dataclass(frozen=True)
class Replay:
    """What came out; `lines()` is for people."""

    method: str
    false_alarms: float
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "false_alarms": self.false_alarms,
            "rows": [row.to_dict() for row in self.rows],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """A Markdown table and what follows from it."""
        found = [
            "| windows of | what happened | windows | alarmed | 95 % | found after |",
            "|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            delay = "" if row.delay is None else f"{row.delay:.1f} windows"
            found.append(
                f"| {row.rows:,} rows | {row.name} | {row.windows:,} | {row.rate:.1%} | "
                f"{row.low:.1%} – {row.high:.1%} | {delay} |"
            )
        return [*found, *self.notes]


def wilson(hits: int, tries: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share."""
    if not tries:
        return 0.0, 1.0
    share, square = hits / tries, z * z
    middle = (share + square / (2 * tries)) / (1 + square / tries)
    half = (
        z
        * math.sqrt(share * (1 - share) / tries + square / (4 * tries * tries))
        / (1 + square / tries)
    )
    return max(middle - half, 0.0), min(middle + half, 1.0)


def replay(
    table: pa.Table | Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    options: ThresholdOptions,
    *,
    times: np.ndarray | None = None,
    sizes: Sequence[int] = SIZES,
    windows: int = 1000,
    splits: int = 20,
    faults: Sequence[Fault] = (),
    fault_windows: int = 100,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Replay:
    """Plays resampled and faulty windows of past data through the configured thresholds.

    Args:
      table: Reference rows, one array per feature; text features as text.
      kinds: Feature to `numeric` or `categorical`.
      options: The config in use.
      times: datetime64 per row; whole days are drawn then. None: rows.
      sizes: Rows per window; in whole days, the nearest number of days.
      windows: A/A windows per size, over all splits.
      splits: Times the data are split anew, and thresholds learnt anew.
      faults: To put in.
      fault_windows: Windows per fault and size.
      seed: Of everything.
      watcher: Called for every window.

    Returns:
      Shares of alarmed windows. Windows of more rows than half of the data has are drawn with
      replacement, from a reference drawn likewise; the notes say so.
    """
    arrays = {
        name: Levels.of(to_numpy(table[name], kind), kind)
        for name, kind in kinds.items()
        if kind != "ignore"
    }
    total = len(next(iter(arrays.values())))
    block = block_of(times, total) if times is not None else None
    method = "days" if block is not None else "rows"
    found: list[Row] = []
    notes: list[str] = []
    for size in sizes:
        run = _Size(arrays, kinds, block, options, size, np.random.default_rng([seed, size]))
        if run.replace:
            notes.append(f"windows of {size:,} rows: drawn with replacement, the data are few")
        counts = run.play(windows, splits, list(faults), fault_windows, watcher)
        found += counts
    return Replay(method, options.false_alarms, tuple(found), tuple(notes))


class _Size:
    """Windows of one size."""

    def __init__(
        self,
        arrays: Columns,
        kinds: Mapping[str, str],
        block: np.ndarray | None,
        options: ThresholdOptions,
        size: int,
        rng: np.random.Generator,
    ):
        self.arrays, self.kinds, self.block = arrays, kinds, block
        self.options, self.size, self.rng = options, size, rng
        total = len(next(iter(arrays.values())))
        self.units = total if block is None else int(block.max()) + 1
        per_unit = 1.0 if block is None else total / self.units
        self.length = max(1, round(size / per_unit))
        self.replace = self.length > self.units - self.units // 2
        if block is not None:
            self.order = np.argsort(block, kind="stable")
            self.starts = np.searchsorted(block[self.order], np.arange(self.units + 1))

    def rows_of(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows of these units, and the block of each row, counted from 0."""
        if self.block is None:
            return units, None
        parts = [self.order[self.starts[u] : self.starts[u + 1]] for u in units]
        return np.concatenate(parts), np.repeat(np.arange(len(units)), [len(p) for p in parts])

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Units of the reference, and those that windows are drawn from."""
        if self.replace:
            return self.rng.integers(0, self.units, self.units), np.arange(self.units)
        order = self.rng.permutation(self.units)
        return order[: self.units // 2], order[self.units // 2 :]

    def counted(
        self,
        columns: tuple[Column, ...],
        codes: Columns,
        index: np.ndarray,
        block: np.ndarray | None = None,
    ) -> Blocks:
        """These rows, counted."""
        return Blocks.of_codes(
            columns,
            {name: x[index] for name, x in codes.items()},
            {c.name: self.arrays[c.name][index].to_numpy() for c in columns if c.mostly_zero},
            np.zeros(len(index), np.int64) if block is None else block,
            block is not None,
        )

    def play(
        self,
        windows: int,
        splits: int,
        faults: list[Fault],
        fault_windows: int,
        watcher: Watcher | None,
    ) -> list[Row]:
        hits: list[list[bool]] = []
        features: dict[str, int] = {}
        found: dict[str, list[bool]] = {fault.name: [] for fault in faults}
        rows = []
        for number in range(splits):
            base, pool = self.split()
            base_rows, block = self.rows_of(base)
            columns = tuple(
                column_of(n, x[base_rows], self.kinds[n]) for n, x in self.arrays.items()
            )
            codes = {c.name: c.codes(self.arrays[c.name]) for c in columns}
            reference = self.counted(columns, codes, base_rows, block)
            thresholds = learn(
                reference,
                self.options,
                window_blocks=self.length if block is not None else 1,
                seed=int(self.rng.integers(2**31)),
            )
            once = reference.summed()
            hits.append([])
            for trial in range(max(-(-windows // splits), -(-fault_windows // splits))):
                drawn = np.sort(self.rng.choice(pool, self.length, replace=self.replace))
                index, _ = self.rows_of(drawn)
                counted = self.counted(columns, codes, index)
                rows.append(len(index))
                measures = statistics.measure_all(
                    once, counted, f"{number}/{trial}", p_values=thresholds.method != "blocks"
                )
                if watcher:
                    watcher(Seen(self.size, number, None, self.arrays, base_rows, index))
                findings = decide(measures, thresholds, options=self.options)
                told = {f.feature for f in findings if f.severity != "info"}
                hits[-1].append(bool(told))
                for name in told:
                    features[name] = features.get(name, 0) + 1
                if trial >= -(-fault_windows // splits):
                    continue
                for fault in faults:
                    changed = fault.change(self.arrays[fault.feature][index].to_numpy(), self.rng)
                    column = next(c for c in columns if c.name == fault.feature)
                    part = Blocks.of(
                        {fault.feature: changed}, {fault.feature: column.kind}, columns=(column,)
                    )
                    measures = statistics.measure_all(once.only(fault.feature), part)
                    if watcher:
                        played = (self.size, number, fault, self.arrays, base_rows, index)
                        watcher(Seen(*played, changed))
                    findings = decide(measures, thresholds, options=self.options)
                    found[fault.name].append(bool(findings))
        every = [hit for part in hits for hit in part]
        low, high = _interval(hits)
        mean_rows = int(np.mean(rows))
        answer = [
            Row(
                "nothing changed",
                self.size,
                mean_rows,
                len(every),
                sum(every),
                low,
                high,
                None,
                features,
            )
        ]
        for fault in faults:
            seen = found[fault.name]
            low, high = wilson(sum(seen), len(seen))
            answer.append(
                Row(
                    fault.name,
                    self.size,
                    mean_rows,
                    len(seen),
                    sum(seen),
                    low,
                    high,
                    mean_delay(seen),
                    {fault.feature: sum(seen)},
                )
            )
        return answer


def _interval(hits: list[list[bool]]) -> tuple[float, float]:
    """Windows of one split share its reference: the wider of Wilson's and that over splits."""
    every = [hit for part in hits for hit in part]
    low, high = wilson(sum(every), len(every))
    shares = np.array([np.mean(part) for part in hits if part])
    if len(shares) > 2:
        half = 1.96 * shares.std(ddof=1) / math.sqrt(len(shares))
        low, high = min(low, shares.mean() - half), max(high, shares.mean() + half)
    return max(float(low), 0.0), min(float(high), 1.0)


def mean_delay(seen: Sequence[bool]) -> float:
    """Mean windows until one is found, when each of these comes first once."""
    delays, wait = [], math.inf
    for hit in reversed([*seen, *seen]):
        wait = 1 if hit else wait + 1
        delays.append(min(wait, _LONGEST_DELAY))
    return float(np.mean(delays[len(seen) :])) if len(seen) else math.nan
