"""Thresholds from the reference, so that false alarms are as rare as asked for.

Independent rows: half of the rate goes to the label and the prediction, half to the features, in
equal shares to their tests (weighted Bonferroni), and their laws of chance (`laws.py`) do the
rest. Bonferroni is cautious where features go together.

Timestamped rows: rows of one day are alike, so a window of whole days differs from the
reference by far more than those laws say. Windows of as many days as the real ones are drawn
from the reference (at most half of it) and held against the days that are left; what they show is
brought to the windows' own length and the whole reference by 1 / n + 1 / m, as chance goes. The
tail of each test's changes is its own (Hill, 1975). How far windows go beyond it is then seen on
days which the tail was not made from (the reference is halved, ten times over): each test reaches
as far as it does there in all but 1 % of the windows, and one factor on every reach is chosen so
that the largest of all tests exceeds it in half of the wanted share of windows; the other half is
left for days unlike any of the reference. One factor for the largest
is Westfall and Young's max-T (Resampling-Based Multiple Testing, 1993): features that move together
cost one false alarm, not many. A reach for each keeps a feature that has extraordinary days (no
weather for a day) from making all others blind. Taking the factor from held-out days by the
conformal order statistic (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005)
pays for what a quantile of some hundred days does not know.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from monitoring.decisions import many, statistics
from monitoring.decisions.blocks import Blocks, Column
from monitoring.decisions.options import FloorOptions, ThresholdOptions
from monitoring.decisions.thresholds import Threshold, Thresholds
from monitoring.measure import LABEL, PREDICTION

#: Times that the reference is halved to see its thresholds on days they were not made from.
_FOLDS = 10
#: The share of windows that makes a tail, and the least slope of one.
_TAIL, _LEAST_SLOPE = 0.1, 0.1
#: The share of held-out windows beyond a test's own reach, before the common factor.
_OWN = 0.01
#: The part of the rate that the factor spends; the rest is left for days unlike any that the
#: reference has, which no day of it can foretell.
_SPENT = 0.5
_LAWS = {"psi": "chi-square", "ks": "ks", "nonzero_mean": "mean"}


def learn(
    reference: Blocks,
    options: ThresholdOptions,
    *,
    window_blocks: int = 1,
    importance: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Thresholds:
    """Thresholds for every feature of the reference.

    Args:
      reference: Counted rows.
      options: The rate of false alarms, floors, and how rows depend on each other.
      window_blocks: Blocks (days) that a window holds.
      importance: Feature to its share of the model's importance.
      seed: Of the drawn windows.
    """
    notes: tuple[str, ...] = ()
    blocks = options.rows == "blocks" or (
        options.rows == "auto" and reference.timed and reference.blocks >= options.min_blocks
    )
    if blocks and reference.blocks < options.min_blocks:
        blocks = False
        notes = (
            f"The reference has {reference.blocks} days and {options.min_blocks} are needed: "
            "thresholds are those of independent rows, which alarm too often on daily data.",
        )
    items = _independent(reference, options)
    if blocks and options.mode == "learnt":
        items = _by_days(reference, options, items, window_blocks, np.random.default_rng(seed))
    items = _fixed(items, options)
    return Thresholds(
        items,
        options.false_alarms,
        "fixed" if options.mode == "fixed" else "blocks" if blocks else "independent",
        window_blocks if blocks else 0,
        dict(importance or {}),
        notes=notes,
    )


def floor_of(statistic: str, reference: float, floors: FloorOptions) -> float:
    """The smallest change of a statistic that matters."""
    if statistic in ("psi", "ks"):
        return getattr(floors, statistic)
    if statistic == "nonzero_mean":
        return floors.relative * abs(reference)
    if statistic == "label_rate":
        return floors.relative * reference
    return floors.rate


def _independent(reference: Blocks, options: ThresholdOptions) -> dict[tuple[str, str], Threshold]:
    outcomes = {c.name for c in reference.columns if c.name in (LABEL, PREDICTION)}
    tests: dict[bool, int] = {True: 0, False: 0}
    for column in reference.columns:
        tests[column.name in outcomes] += len(statistics.tests(column))
    # What the model says and what came true are two of many columns and half of the matter.
    part = options.false_alarms / (2 if all(tests.values()) else 1)
    return {
        (column.name, name): _one(
            reference, column, name, part / tests[column.name in outcomes], options.floors
        )
        for column in reference.columns
        for name in statistics.tests(column)
    }


def _one(
    reference: Blocks, column: Column, name: str, alpha: float, floors: FloorOptions
) -> Threshold:
    counts = reference.counts[column.name].sum(axis=0)
    nonzero = reference.nonzero.get(column.name)
    sums = None if nonzero is None else nonzero.sum(axis=0)
    value = statistics.reference_value(column, name, counts, sums)
    spread = 0.0
    if name == "nonzero_mean" and sums is not None and sums[0]:
        # Per row of the window, of which only some are not zero.
        variance = max(sums[2] / sums[0] - (sums[1] / sums[0]) ** 2, 0.0)
        spread = math.sqrt(variance * counts.sum() / sums[0])
    return Threshold(
        column.name,
        name,
        _LAWS.get(name, "proportion"),  # type: ignore[arg-type]
        alpha,
        floor_of(name, value, floors),
        cells=max(int((counts > 0).sum()), 2),
        reference=value,
        spread=spread,
        rows=int(counts.sum()),
    )


def _by_days(
    reference: Blocks,
    options: ThresholdOptions,
    items: dict[tuple[str, str], Threshold],
    window_blocks: int,
    rng: np.random.Generator,
) -> dict[tuple[str, str], Threshold]:
    blocks = reference.blocks
    length = min(window_blocks, blocks // 2)
    draws = _draws(blocks, length, options.resamples, rng)
    changes, rows = changes_of(reference, items, draws)
    rows = round(rows * window_blocks / length)
    changes *= _scale(items, (length, blocks - length), (window_blocks, blocks))
    least = _least(items, rows)
    start, slope = _tail(changes, least)
    beyond = _held_out(reference, items, window_blocks, options.resamples, rng)
    # A test reaches as far as it did on held-out days, and no less than its tail says.
    reach = np.quantile(beyond, 1.0 - _OWN, axis=0, method="higher")
    reach = np.maximum(reach, max(math.log(_TAIL / options.false_alarms), 1.0))
    ratios = np.sort((beyond / reach).max(axis=1))
    place = math.ceil((1.0 - _SPENT * options.false_alarms) * (len(ratios) + 1))
    factor = max(float(ratios[min(place, len(ratios)) - 1]), 0.0)
    limits = np.maximum(np.exp(start + factor * reach * slope), least)
    return {
        key: dataclasses.replace(item, law="days", critical=float(limit), window_rows=rows)
        for (key, item), limit in zip(items.items(), limits, strict=True)
    }


def _least(items: Mapping[tuple[str, str], Threshold], rows: int) -> np.ndarray:
    """Changes up to these are never a finding: too small, or within the chance of rows alone."""
    return np.array([item.limit(rows) for item in items.values()])


def _tail(changes: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the largest changes of each test begin, and how slowly they become rare.

    Hill (A Simple General Approach to Inference About the Tail of a Distribution, 1975): above a
    high quantile the logarithm of a change is that quantile's plus an exponential, whose mean is
    the slope. Weather has a steep tail, the mix of destinations none: each has its own.

    Args:
      changes: Shape [windows, tests].
      least: Changes up to these are never a finding.
    """
    logs = np.log(np.maximum(changes, least / 2))
    start = np.quantile(logs, 1.0 - _TAIL, axis=0)
    return start, np.maximum(np.maximum(logs - start, 0.0).mean(axis=0) / _TAIL, _LEAST_SLOPE)


def _held_out(
    reference: Blocks,
    items: Mapping[tuple[str, str], Threshold],
    window_blocks: int,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """By how many slopes windows go beyond the start of a tail that was seen on other days.

    Returns:
      Shape [windows, tests]; -inf where a change is too small to be a finding.
    """
    half, found = reference.blocks // 2, []
    for _ in range(_FOLDS):
        order = rng.permutation(reference.blocks)
        seen, unseen = reference.take(order[:half]), reference.take(order[half:])
        length = min(window_blocks, half // 2)
        inner = _draws(half, length, resamples // 2, rng)
        changes, rows = changes_of(seen, items, inner)
        changes *= _scale(items, (length, half - length), (length, half))
        least = _least(items, rows)
        start, slope = _tail(changes, least)
        outer = _draws(unseen.blocks, length, max(resamples // _FOLDS, 1), rng)
        changes, _ = changes_of(unseen, items, outer, against=seen)
        beyond = (np.log(np.maximum(changes, 1e-9)) - start) / slope
        found.append(np.where(changes > least, beyond, -np.inf))
    return np.concatenate(found)


def _draws(blocks: int, window_blocks: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Windows as how often each block is in them, shape [windows, blocks]."""
    if window_blocks == 1:
        return np.eye(blocks)[rng.permutation(blocks)[:number]]
    places = np.argsort(rng.random((number, blocks)), axis=1)[:, :window_blocks]
    draws = np.zeros((number, blocks))
    np.put_along_axis(draws, places, 1.0, axis=1)
    return draws


def changes_of(
    reference: Blocks,
    items: Mapping[tuple[str, str], Threshold],
    draws: np.ndarray,
    against: Blocks | None = None,
) -> tuple[np.ndarray, int]:
    """What drawn windows show against the rest of the reference, or against other days.

    Returns:
      The change per drawn window and threshold, shape [windows, thresholds], and the median
      rows of a window.
    """
    place = {key: i for i, key in enumerate(items)}
    changes = np.zeros((len(draws), len(items)))
    base = against or reference
    for column in reference.columns:
        name = column.name
        windows = draws @ reference.counts[name]
        rest = base.counts[name].sum(axis=0) - (0.0 if against else windows)
        zeros = None
        if name in reference.nonzero:
            now = draws @ reference.nonzero[name]
            before = base.nonzero[name].sum(axis=0) - (0.0 if against else now)
            zeros = np.broadcast_to(before, now.shape), now
        found = many.changes(column, np.broadcast_to(rest, windows.shape), windows, zeros)
        for statistic, values in found.items():
            if (name, statistic) in place:
                changes[:, place[name, statistic]] = np.nan_to_num(values)
    return changes, int(np.median(draws @ reference.block_rows))


def _scale(
    items: Mapping[tuple[str, str], Threshold], drawn: tuple[int, int], wanted: tuple[int, int]
) -> np.ndarray:
    """What changes of drawn windows are multiplied with, to be those of windows as wanted.

    Chance goes with 1 / n + 1 / m, days of the window and of what it is held against: PSI in
    proportion, distances and shares with its root.

    Args:
      items: Tests, in the order of the changes.
      drawn: Days of a drawn window, and of what it was held against.
      wanted: The same of real windows.
    """
    noise = sum(1 / n for n in wanted) / sum(1 / n for n in drawn)
    return np.array([noise if statistic == "psi" else noise**0.5 for _, statistic in items])


def _fixed(
    items: dict[tuple[str, str], Threshold], options: ThresholdOptions
) -> dict[tuple[str, str], Threshold]:
    """The configured thresholds in place of the learnt ones; alone in mode `fixed`."""
    found = {} if options.mode == "fixed" else dict(items)
    for name, value in options.fixed.items():
        feature, _, statistic = name.rpartition("/")
        for key, base in items.items():
            if key[1] == statistic and feature in ("", key[0]):
                if not feature and f"{key[0]}/{statistic}" in options.fixed:
                    continue
                found[key] = Threshold(
                    *key, "fixed", reference=base.reference, critical=value, rows=base.rows
                )
    return found
