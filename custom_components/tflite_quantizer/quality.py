"""What a variant loses against the float student: on all eval rows and in every slice."""

from __future__ import annotations

from typing import Any

import numpy as np

from models import comparison
from models.rows import Rows
from models.spec import CategoricalFeature, ModelSpec
from models.student import labels_of

#: Draws for each slice: there are many, and their intervals need no third digit.
_SLICE_RESAMPLES = 400


def slice_keys(spec: ModelSpec, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Feature to the group of each row, `[n]`, as text: each value of each category is a slice.

    Args:
      spec: The model's contract.
      inputs: Feature to `[n, 1]`, as the model takes them.
    """
    keys = {}
    for feature in spec.categorical:
        values = inputs[feature.name][:, 0]
        keys[feature.name] = np.array([_text(feature, value) for value in values.tolist()])
    return keys


def _text(feature: CategoricalFeature, value: Any) -> str:
    if feature.dtype == "string":
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return "" if value != value else f"{value:g}"


def compare(
    spec: ModelSpec,
    rows: Rows,
    keys: dict[str, np.ndarray],
    reference: np.ndarray,
    candidate: np.ndarray,
    min_rows: int,
) -> dict[str, Any]:
    """Drops with their intervals, as JSON holds them.

    Args:
      spec: The model's contract.
      rows: Of eval.
      keys: From `slice_keys`.
      reference, candidate: Answers of the float student and of the file, `[n, units]`.
      min_rows: Slices with fewer rows are not judged and not listed.

    Returns:
      `overall`, `slices` (feature, value and drop; the worst first), `agreement`, `calibration`.
    """
    labels = labels_of(spec, rows)
    found = comparison.compare(spec.task, labels, reference, candidate)
    slices = []
    for feature, groups in keys.items():
        values, counts = np.unique(groups, return_counts=True)
        kept = np.isin(groups, values[counts >= min_rows])
        if not kept.any() or kept.all() and len(values) == 1:
            continue
        drops = comparison.drop_by_slice(
            spec.task,
            labels[kept],
            reference[kept],
            candidate[kept],
            groups[kept],
            min_rows=min_rows,
            resamples=_SLICE_RESAMPLES,
        )
        slices += [
            {"feature": feature, "value": value, **drop.to_dict()}
            for value, drop in drops.items()
            if drop.drop is not None
        ]
    slices.sort(key=lambda s: -(s["high"] if s["high"] is not None else s["drop"]))
    return {**found.to_dict(), "slices": slices}
