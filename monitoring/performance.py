"""How good the predictions were, as far as labels have come back.

Labels join by request id whenever they come; where an id has several, the newest counts. The
metrics are those of the evaluation (`models/metrics.py`), with intervals:

  auc                   Hanley and McNeil, 1982
  accuracy              Wilson, 1927
  log_loss, mae         normal, from the standard deviation of the rows' losses
  rmse                  the same of the squared error, through the root (delta method)
  the others            none; they are shown and not judged
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from models import feeds, metrics
from models.spec import ModelSpec
from monitoring.measure import LABEL, PREDICTION, Measure
from monitoring.measures.multivariate import auc_spread
from monitoring.window_summary import flat

_EPSILON = 1e-7
#: Rows joined with labels, at most; which ones depends on their id alone.
MOST_ROWS = 500_000
#: Metrics of which more is better.
HIGHER_IS_BETTER = ("auc", "pr_auc", "accuracy", "r2")


class Labels:
    """What turned out to be true, by request id; the newest label of an id counts.

    Args:
      tables: In the log's format of labels.
    """

    def __init__(self, tables: Iterable[pa.Table]):
        parts = [table.to_pandas() for table in tables if len(table)]
        if parts:
            together = pd.concat(parts).sort_values("time", kind="stable")
            self._labels = together.groupby("request_id", sort=False)["label"].last()
        else:
            self._labels = pd.Series([], index=pd.Index([], name="request_id"), dtype=object)

    def __len__(self) -> int:
        return len(self._labels)

    @functools.cached_property
    def arrow(self) -> pa.Array:
        """The request ids."""
        return pa.array(self._labels.index.to_numpy(dtype=object), pa.string())

    def of(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Object `[n]`: the label as text, None where there is none yet."""
        found = self._labels.reindex(flat(ids).to_pandas())
        return found.where(found.notna(), None).to_numpy(dtype=object)


def scores_of(spec: ModelSpec, table: pa.Table) -> np.ndarray:
    """float32 `[n, 1]` or `[n, classes]`; NaN where the model gave no answer."""
    column = flat(table.column("score"))
    found = np.full((len(table), spec.units), np.nan, np.float32)
    valid = np.asarray(column.is_valid())
    values = column.flatten().to_numpy(zero_copy_only=False)
    if valid.any():
        found[valid] = values.reshape(int(valid.sum()), -1)
    return found


def join(spec: ModelSpec, table: pa.Table, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Labels as the model sees them and scores of the rows that have both.

    Returns:
      float32 `[k]` (class index or value) and `[k, units]`.
    """
    truth = feeds.label_index(spec, pa.array(labels.of(table.column("request_id")), pa.string()))
    scores = scores_of(spec, table)
    both = np.isfinite(truth) & np.isfinite(scores).all(axis=1)
    return truth[both], scores[both]


def measure(
    spec: ModelSpec,
    truth: np.ndarray,
    scores: np.ndarray,
    *,
    rows: int,
    min_rows: int = 50,
    reference: dict[str, float] | None = None,
    confidence: float = 0.95,
    slice: str = "",
    window_id: str = "",
) -> list[Measure]:
    """Realised metrics.

    Args:
      spec: The model's contract.
      truth, scores: Of the rows that have both, see `join`.
      rows: Of the window, labelled or not.
      min_rows: With fewer labelled ones the metrics are marked unreliable.
      reference: The same metrics of the reference or of the test split, for the words.
      confidence: Of the intervals.
      slice, window_id: Of the window.
    """
    n = len(truth)
    coverage = n / rows if rows else 0.0
    words = f"labels of {n:,} of {rows:,} rows ({coverage:.0%})"
    found = [Measure(LABEL, "coverage", coverage, rows, 0, slice, window_id, words, "performance")]
    if not n:
        return found
    few = f"only {n:,} labelled rows" if n < min_rows else ""
    values = metrics.score(spec.task, truth, scores)
    limits = intervals(spec, truth, scores, values, confidence)
    for name, value in values.items():
        low, high = limits.get(name, (None, None))
        before = (reference or {}).get(name)
        text = f"{name} {value:.4g}" if before is None else f"{name} {before:.4g} → {value:.4g}"
        if low is not None:
            text += f" ({low:.4g} to {high:.4g})"
        found.append(
            Measure(
                PREDICTION, name, value, n, 0, slice, window_id, text, "performance",
                "none" if before is None else "training", None, low, high, few,
            )
        )  # fmt: skip
    return found


def intervals(
    spec: ModelSpec,
    truth: np.ndarray,
    scores: np.ndarray,
    values: dict[str, float],
    confidence: float,
) -> dict[str, tuple[float, float]]:
    """Intervals of the metrics for which the module says how."""
    from scipy import special

    z = float(special.ndtri(0.5 + confidence / 2))
    n = len(truth)
    found = {}
    if "auc" in values and spec.task == "binary":
        positive = int(truth.sum())
        half = z * auc_spread(values["auc"], positive, n - positive)
        found["auc"] = (max(values["auc"] - half, 0.0), min(values["auc"] + half, 1.0))
    if "accuracy" in values:
        found["accuracy"] = wilson(values["accuracy"], n, confidence)
    for name, losses in row_losses(spec, truth, scores).items():
        half = z * losses.std(ddof=1) / math.sqrt(n) if n > 1 else float("inf")
        mean = losses.mean()
        found[name] = (mean - half, mean + half)
        if name == "rmse":
            found[name] = (math.sqrt(max(mean - half, 0.0)), math.sqrt(mean + half))
    return {name: (float(a), float(b)) for name, (a, b) in found.items() if name in values}


def row_losses(spec: ModelSpec, truth: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Losses by row whose mean (of `rmse`: the root of the mean) is the metric."""
    values = scores.astype(np.float64)
    if spec.task == "regression":
        error = values[:, 0] - truth
        return {"mae": np.abs(error), "rmse": error**2}
    if spec.task == "binary":
        p = np.clip(values[:, 0], _EPSILON, 1 - _EPSILON)
        return {"log_loss": -(truth * np.log(p) + (1 - truth) * np.log(1 - p))}
    p = np.clip(values[np.arange(len(truth)), truth.astype(int)], _EPSILON, 1.0)
    return {"log_loss": -np.log(p)}


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Probable Inference, JASA 1927)."""
    from scipy import special

    z2 = float(special.ndtri(0.5 + confidence / 2)) ** 2
    if not n:
        return 0.0, 1.0
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(share * (1 - share) * z2 / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    return max(centre - half, 0.0), min(centre + half, 1.0)
