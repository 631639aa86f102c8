"""Skew per example: the same request, as training saw it and as serving did.

Where an id joins the two, every feature of every row can be compared (TFDV calls it feature skew).
It finds what distributions hide: a lookup that lags by a day, a unit that differs in one path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from models.spec import ModelSpec
from monitoring.log_rows import FEATURE, read_column, tabular
from monitoring.measure import Measure
from monitoring.window_summary import flat


@dataclasses.dataclass(frozen=True)
class Skew:
    """What joining found.

    Attributes:
      joined: Rows that both sides have.
      measures: Per feature `skew_rate`, the share of joined rows whose values differ.
      cases: Rows that differ, at most 20 per feature: id, feature, training, serving.
    """

    joined: int
    measures: tuple[Measure, ...]
    cases: tuple[dict[str, Any], ...]


def compare(
    spec: ModelSpec,
    training: pa.Table,
    ids: pa.Array,
    serving: Iterable[pa.Table],
    *,
    tolerance: float = 1e-6,
    window_id: str = "",
) -> Skew:
    """Compares rows that have the same id.

    Args:
      spec: The model's contract.
      training: Rows as training sees them, in any types.
      ids: Of these rows.
      serving: Tables in the log's format; an id counts once.
      tolerance: Numbers that differ by no more than this, relatively, are the same.
      window_id: Of the window that serving is.
    """
    tables = list(serving)
    index = pd.Index(flat(ids).cast(pa.string()).to_pandas())
    if not tables:
        return Skew(0, (), ())
    together = pa.concat_tables(tables)
    served = pd.Index(flat(together.column("request_id")).to_pandas())
    first = np.flatnonzero(~served.duplicated())
    where = index.get_indexer(served[first])
    here, there = first[where >= 0], where[where >= 0]
    names = served[here]
    measures, cases = [], []
    for feature in tabular(spec):
        column = training.column(feature.name) if feature.name in training.column_names else None
        if column is None or FEATURE + feature.name not in together.column_names:
            continue
        before, _ = read_column(feature, flat(column))
        now = flat(together.column(FEATURE + feature.name))
        p, q = (side.take(pa.array(rows)) for side, rows in ((before, there), (now, here)))
        differ = _differ(p, q, tolerance)
        rate = float(differ.mean()) if len(differ) else 0.0
        words = f"{feature.name}: {rate:.2%} of {len(differ):,} joined rows differ"
        measures.append(
            Measure(
                feature.name, "skew_rate", rate, len(differ), len(differ), window_id=window_id,
                words=words, family="quality", against="training",
            )
        )  # fmt: skip
        for row in np.flatnonzero(differ)[:20]:
            cases.append(
                {
                    "id": names[row],
                    "feature": feature.name,
                    "training": p[int(row)].as_py(),
                    "serving": q[int(row)].as_py(),
                }
            )
    return Skew(len(here), tuple(measures), tuple(cases))


def _differ(p: pa.Array, q: pa.Array, tolerance: float) -> np.ndarray:
    missing = np.asarray(p.is_null()) != np.asarray(q.is_null())
    if pa.types.is_floating(p.type):
        x, y = (side.to_numpy(zero_copy_only=False) for side in (p, q))
        near = np.isclose(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)
        return missing | ~near
    x, y = (np.asarray(side.cast(pa.string()).fill_null("")) for side in (p, q))
    return missing | (x != y)
