"""Columns that are missing under one name and new under another."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import NamedTuple

from tensorflow_metadata.proto.v0 import schema_pb2

from custom_components.schema_validator import columns as reading
from custom_components.schema_validator.baseline import Source
from custom_components.schema_validator.columns import Column, SplitStatistics
from monitoring.drift import compare_statistics

SAME_NAME = 0.8
RELATED_NAME = 0.5
SAME_VALUES = 0.8
#: Bits; random halves of one column stay far below, different columns far above.
SAME_SHAPE = 0.02
#: Two yes/no columns are alike by chance; with this many cells that is unlikely.
TELLING_CELLS = 5


class Rename(NamedTuple):
    """A column and the name it seems to have now, with what speaks for it."""

    before: str
    now: str
    evidence: str
    score: float


def find(
    lost: list[str],
    new: list[str],
    source: Source,
    columns: Mapping[str, Column],
    deployed: SplitStatistics | None,
) -> list[Rename]:
    """Pairs missing with new columns that look alike, best matches first.

    Both must be numbers or both text. Then a similar name is enough, and so are values alike
    (a small Jensen-Shannon divergence from the deployed model's statistics, or a domain that
    holds most of the values) where that could hardly be chance.

    Args:
      lost: Columns that are missing.
      new: Columns that are new.
      source: The schema that knows the missing ones.
      columns: Statistics of the new ones.
      deployed: Statistics of the deployed model, which may know the missing ones' values.
    """
    candidates = []
    for before in lost:
        feature = source.features.get(before)
        known = deployed.columns.get(before) if deployed else None
        if feature is None or feature.type not in reading.SCHEMA_TYPE_WORDS:
            continue
        for now in new:
            if (feature.type != schema_pb2.BYTES) != reading.is_number(columns[now]):
                continue
            name = _likeness(before, now)
            values, words, telling = _values_alike(source, feature, known, columns[now])
            if name >= SAME_NAME or (values and (telling or name >= RELATED_NAME)):
                evidence = [words] if values else []
                evidence += ["similar names"] if name >= RELATED_NAME else []
                candidates.append(Rename(before, now, ", ".join(evidence), name + values))
    pairs: list[Rename] = []
    for pair in sorted(candidates, key=lambda pair: -pair.score):
        if all(pair.before != p.before and pair.now != p.now for p in pairs):
            pairs.append(pair)
    return pairs


def _likeness(one: str, other: str) -> float:
    """0 .. 1; case, blanks and punctuation do not count."""
    one, other = (re.sub(r"[\W_]+", "", name.casefold()) for name in (one, other))
    return difflib.SequenceMatcher(None, one, other).ratio()


def _values_alike(
    source: Source, feature: schema_pb2.Feature, known: Column | None, now: Column
) -> tuple[float, str, bool]:
    """How alike (0 when not), in words, and whether chance would hardly do it."""
    if known is not None and not reading.is_empty(known) and not reading.is_empty(now):
        drift = compare_statistics(feature.name, known, now)
        if drift is None or drift.jsd > SAME_SHAPE:
            return 0.0, "", False
        cells = sum(share > 0.01 for share in drift.reference)
        words = f"the same distribution: Jensen-Shannon divergence {drift.jsd:.3f} bit"
        return 1 - drift.jsd, words, cells >= TELLING_CELLS
    allowed = set(reading.domain(source.schema, feature))
    counts = reading.values(now)
    if not allowed or not counts:
        return 0.0, "", False
    inside = sum(rows for value, rows in counts.items() if value in allowed)
    share = inside / sum(counts.values())
    if share < SAME_VALUES:
        return 0.0, "", False
    words = f"{reading.percent(share)} of its values are in the domain of the missing one"
    return share, words, len(allowed & counts.keys()) >= 2
