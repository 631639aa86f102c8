"""The small summary of a window: all that is kept of its rows."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import datasketches
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from models.spec import CategoricalFeature, ModelSpec
from monitoring.counting import (
    CategoryCells,
    Cells,
    Counts,
    NumericCells,
    Values,
    as_text,
    counts_from_dict,
    empty,
    from_text,
)
from monitoring.log_rows import FEATURE, tabular
from monitoring.measure import PREDICTION

_ID_SAMPLE = 2048


@dataclasses.dataclass(frozen=True)
class Layout:
    """How rows of one model are counted: the cells of every feature, and of the prediction.

    Attributes:
      spec: The model's contract.
      cells: Feature, `(prediction)` or `(label)` to its cells.
    """

    spec: ModelSpec
    cells: Mapping[str, Cells]

    @property
    def key(self) -> str:
        """Differs where counts would not add up."""
        content = {name: dataclasses.asdict(cells) for name, cells in sorted(self.cells.items())}
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        return {
            "spec": self.spec.to_dict(),
            "cells": {name: dataclasses.asdict(cells) for name, cells in self.cells.items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Layout:
        cells = {
            name: NumericCells(tuple(c["edges"]), tuple(c["coarse"]), c["single"])
            if "edges" in c
            else CategoryCells(tuple(c["names"]), c["complete"])
            for name, c in data["cells"].items()
        }
        return cls(ModelSpec.from_dict(data["spec"]), cells)


class Repeats:
    """How many rows have an id that came before, from a bounded sample of the ids.

    Ids whose hash ends in `level` zero bits are kept with their count; when more than 2,048
    are, the level rises (Gibbons, Distinct Sampling, 2001). Up to 2,048 ids the answer is exact,
    and without repeated ids it is always exactly 0.
    """

    def __init__(self) -> None:
        self.level = 0
        self.counts: dict[int, int] = {}

    def add(self, ids: pa.Array) -> None:
        text = ids.to_numpy(zero_copy_only=False).astype(object)
        hashes, counts = np.unique(pd.util.hash_array(text), return_counts=True)
        self._take(hashes, counts)

    def merge(self, other: Repeats) -> None:
        self.level = max(self.level, other.level)
        mine, self.counts = self.counts, {}
        for counts in (mine, other.counts):
            self._take(
                np.fromiter(counts, np.uint64, len(counts)),
                np.fromiter(counts.values(), np.int64, len(counts)),
            )

    @property
    def rate(self) -> float:
        """Share of rows that repeat an id."""
        rows = sum(self.counts.values())
        return (rows - len(self.counts)) / rows if rows else 0.0

    def _take(self, hashes: np.ndarray, counts: np.ndarray) -> None:
        kept = (hashes & np.uint64((1 << self.level) - 1)) == 0
        for key, count in zip(hashes[kept].tolist(), counts[kept].tolist(), strict=True):
            self.counts[key] = self.counts.get(key, 0) + count
        while len(self.counts) > _ID_SAMPLE:
            self.level += 1
            mask = (1 << self.level) - 1
            self.counts = {k: c for k, c in self.counts.items() if not k & mask}


class WindowSummary:
    """Counts of a window's rows, or of one slice of them.

    Attributes:
      layout: How they are counted.
      features: Counts by feature, and of `(prediction)`.
      rows: All rows.
      outcomes: Rows by outcome.
      nonfinite: Rows that were answered with NaN or infinity.
      last: Time of the latest row.
    """

    def __init__(self, layout: Layout):
        self.layout = layout
        self.features: dict[str, Counts] = {n: empty(c) for n, c in layout.cells.items()}
        self.rows = self.nonfinite = 0
        self.outcomes: dict[str, int] = {}
        self.repeats = Repeats()
        self.latency = datasketches.kll_doubles_sketch(200)
        self.last: datetime.datetime | None = None

    def add(self, table: pa.Table) -> WindowSummary:
        """Counts rows in the log's format."""
        table = table.combine_chunks()
        n = table.num_rows
        if not n:
            return self
        self.rows += n
        spec, names = self.layout.spec, set(table.column_names)
        unreadable = _unreadable(table) if "unreadable" in names else {}
        for feature in tabular(spec):
            name = FEATURE + feature.name
            if feature.name not in self.features:
                continue
            column = flat(table.column(name)) if name in names else pa.nulls(n, pa.float64())
            if isinstance(self.features[feature.name], Values):
                column = column if name in names else pa.nulls(n, pa.string())
            self.features[feature.name].add(column, unreadable.get(feature.name, 0))
        if PREDICTION in self.features:
            self._add_predictions(table)
        tally = pc.value_counts(table.column("outcome")).to_pylist()
        for item in tally:
            key = item["values"] or "unknown"
            self.outcomes[key] = self.outcomes.get(key, 0) + item["counts"]
        self.repeats.add(flat(table.column("request_id")))
        taken = flat(table.column("latency_us")).drop_null().to_numpy(zero_copy_only=False)
        if len(taken):
            self.latency.update(taken.astype(np.float64))
        last = pc.max(table.column("time")).as_py()
        self.last = last if self.last is None else max(self.last, last)
        return self

    def _add_predictions(self, table: pa.Table) -> None:
        counts = self.features[PREDICTION]
        answered = table.filter(table.column("score").is_valid())
        values = flat(answered.column("score").combine_chunks()).flatten()
        values = values.to_numpy(zero_copy_only=False)
        if len(values):
            rows = values.reshape(answered.num_rows, -1)
            self.nonfinite += int((~np.isfinite(rows)).any(axis=1).sum())
        if isinstance(counts, Values):
            counts.add(flat(answered.column("prediction")))
        elif len(values):
            counts.add(values.reshape(answered.num_rows, -1)[:, 0])

    def merge(self, other: WindowSummary) -> WindowSummary:
        """Adds another's rows; of the same layout."""
        for name, counts in self.features.items():
            counts.merge(other.features[name])
        self.rows += other.rows
        self.nonfinite += other.nonfinite
        for name, rows in other.outcomes.items():
            self.outcomes[name] = self.outcomes.get(name, 0) + rows
        self.repeats.merge(other.repeats)
        self.latency.merge(other.latency)
        times = [t for t in (self.last, other.last) if t is not None]
        self.last = max(times, default=None)
        return self

    def latency_ms(self, share: float) -> float | None:
        """Quantile of the latency; None when it was not measured."""
        return None if self.latency.is_empty() else self.latency.get_quantile(share) / 1e3

    def to_bytes(self) -> bytes:
        """Compressed JSON: some kilobytes."""
        content = {
            "layout": self.layout.key,
            "features": {name: counts.to_dict() for name, counts in self.features.items()},
            "rows": self.rows,
            "nonfinite": self.nonfinite,
            "outcomes": self.outcomes,
            "level": self.repeats.level,
            "ids": _packed(self.repeats.counts),
            "latency": as_text(self.latency.serialize()),
            "last": None if self.last is None else self.last.isoformat(),
        }
        return zlib.compress(json.dumps(content).encode("utf-8"), 1)

    @classmethod
    def from_bytes(cls, layout: Layout, raw: bytes) -> WindowSummary:
        """Reads it back.

        Raises:
          ValueError: It was counted by another layout.
        """
        content = json.loads(zlib.decompress(raw))
        if content["layout"] != layout.key:
            raise ValueError("the summary was counted against another reference")
        made = cls(layout)
        made.features = {
            name: counts_from_dict(layout.cells[name], data)
            for name, data in content["features"].items()
        }
        made.rows, made.nonfinite = content["rows"], content["nonfinite"]
        made.outcomes = content["outcomes"]
        made.repeats.level = content["level"]
        made.repeats.counts = _unpacked(content["ids"])
        made.latency = datasketches.kll_doubles_sketch.deserialize(from_text(content["latency"]))
        last = content["last"]
        made.last = None if last is None else datetime.datetime.fromisoformat(last)
        return made


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array, whatever version of Arrow says `combine_chunks` returns."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return column.chunk(0)
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def kind_of(spec: ModelSpec, name: str) -> str:
    """`numeric` or `categorical`, of a feature, the prediction or the label."""
    for feature in tabular(spec):
        if feature.name == name:
            return "categorical" if isinstance(feature, CategoricalFeature) else "numeric"
    if name == PREDICTION:
        return "categorical" if spec.task == "multiclass" else "numeric"
    return "numeric" if spec.task == "regression" else "categorical"


def _unreadable(table: pa.Table) -> dict[str, int]:
    names = flat(flat(table.column("unreadable")).flatten())
    return {item["values"]: item["counts"] for item in pc.value_counts(names).to_pylist()}


def _packed(counts: Mapping[int, int]) -> list[str]:
    keys = np.fromiter(counts, np.uint64, len(counts))
    values = np.fromiter(counts.values(), np.uint32, len(counts))
    return [as_text(keys.tobytes()), as_text(values.tobytes())]


def _unpacked(packed: list[str]) -> dict[int, int]:
    keys = np.frombuffer(from_text(packed[0]), np.uint64).tolist()
    return dict(zip(keys, np.frombuffer(from_text(packed[1]), np.uint32).tolist(), strict=True))
