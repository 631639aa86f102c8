"""Thresholds from the reference, so that false alarms are as rare as asked for.

Independent rows: half of the rate goes to the label and the prediction, half to the features, in
equal shares to their tests (weighted Bonferroni), and their laws of chance (`laws.py`) do the
rest. Bonferroni is cautious where features go together.

Timestamped rows: rows of one day are alike, so a window of whole days differs from the
reference by far more than those laws say. Windows of as many days as the real ones are drawn
from the reference and held against the days that are left. Middle and spread of the logarithm of
what they show is "usual", test by test. By how many spreads the largest test of a window goes
beyond that is then seen on days which "usual" was not made from (the reference is halved, ten
times over), and the factor that only the wanted share of those windows exceeds is every test's.
One factor for the largest of all tests is Westfall and Young's max-T (Resampling-Based Multiple
Testing, 1993): features that move together cost one false alarm, not many. Taking it from
held-out days by the conformal order statistic (Vovk, Gammerman and Shafer, Algorithmic Learning
in a Random World, 2005) pays for what a quantile of some hundred days does not know.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from monitoring.decisions import statistics
from monitoring.decisions.blocks import Blocks, Column
from monitoring.decisions.options import FloorOptions, ThresholdOptions
from monitoring.decisions.thresholds import Threshold, Thresholds
from monitoring.measure import LABEL, PREDICTION

#: Times that the reference is halved to see its thresholds on days they were not made from.
_FOLDS = 10
_LEAST_SPREAD = 0.25
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
    if blocks and reference.blocks < max(options.min_blocks, 2 * window_blocks):
        blocks = False
        notes = (
            f"The reference has {reference.blocks} days, too few for windows of {window_blocks}: "
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
    draws = _draws(reference.blocks, window_blocks, options.resamples, rng)
    changes, rows = changes_of(reference, items, draws)
    least = _least(items, rows)
    middle, spread = _usual(changes, least)
    ratios = _held_out(reference, items, window_blocks, options.resamples, rng)
    place = math.ceil((1.0 - options.false_alarms) * (len(ratios) + 1))
    factor = max(float(ratios[min(place, len(ratios)) - 1]), 0.0)
    limits = np.maximum(np.exp(middle + factor * spread), least)
    return {
        key: dataclasses.replace(item, law="days", critical=float(limit), window_rows=rows)
        for (key, item), limit in zip(items.items(), limits, strict=True)
    }


def _least(items: Mapping[tuple[str, str], Threshold], rows: int) -> np.ndarray:
    """Changes up to these are never a finding: too small, or within the chance of rows alone."""
    return np.array([item.limit(rows) for item in items.values()])


def _usual(changes: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle and upper spread of the logarithm of each test's changes.

    Some features have days that are ten times as far out as others, some have none: on the
    logarithm both have spreads that one factor fits. A test that hardly ever moves is given the
    least change that matters as its middle.
    """
    logs = np.log(np.maximum(changes, 1e-9))
    middle, high = np.quantile(logs, (0.5, 0.95), axis=0)
    spread = (high - middle) / 1.645
    still = high < np.log(1e-6)
    return np.where(still, np.log(least), middle), np.where(
        still, _LEAST_SPREAD, np.maximum(spread, 0.05)
    )


def _held_out(
    reference: Blocks,
    items: Mapping[tuple[str, str], Threshold],
    window_blocks: int,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """By how much windows exceed what is usual on days that it was not made from, ascending.

    Per window, the largest of all tests.
    """
    half, found = reference.blocks // 2, []
    for _ in range(_FOLDS):
        order = rng.permutation(reference.blocks)
        seen, unseen = reference.take(order[:half]), reference.take(order[half:])
        length = min(window_blocks, half // 2)
        inner = _draws(half, length, resamples // 2, rng)
        changes, rows = changes_of(seen, items, inner)
        least = _least(items, rows)
        middle, spread = _usual(changes, least)
        outer = _draws(unseen.blocks, length, max(resamples // _FOLDS, 1), rng)
        changes, _ = changes_of(unseen, items, outer, against=seen)
        beyond = (np.log(np.maximum(changes, 1e-9)) - middle) / spread
        found.append(np.where(changes > least, beyond, -np.inf).max(axis=1))
    return np.sort(np.concatenate(found))


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
        rest = np.broadcast_to(rest, windows.shape)
        zeros = zeros_rest = None
        if name in reference.nonzero:
            zeros = draws @ reference.nonzero[name]
            zeros_rest = base.nonzero[name].sum(axis=0) - (0.0 if against else zeros)
            zeros_rest = np.broadcast_to(zeros_rest, zeros.shape)
        for number, (p, q) in enumerate(zip(rest, windows, strict=True)):
            nonzero = None if zeros is None else (zeros_rest[number], zeros[number])
            for found in statistics.measure(column, p, q, nonzero, p_values=False):
                change = found.value
                if found.statistic not in ("psi", "ks"):
                    before = statistics.reference_value(
                        column, found.statistic, p, nonzero and nonzero[0]
                    )
                    change = abs(change - before)
                changes[number, place[name, found.statistic]] = np.nan_to_num(change)
    return changes, int(np.median(draws @ reference.block_rows))


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
