"""What a variant loses against the float student: on all eval rows and in every slice."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from models import comparison
from models.rows import Rows
from models.spec import CategoricalFeature, ModelSpec
from models.student import labels_of

#: Draws for each slice: there are many, and their intervals need no third digit.
_SLICE_RESAMPLES = 400


@dataclasses.dataclass(frozen=True)
class Slice:
    """Rows with one value of one categorical feature.

    Attributes:
      feature: Its name.
      value: As text; empty where it is missing.
      rows: Their indices, `[k]`.
    """

    feature: str
    value: str
    rows: np.ndarray


def slices_of(spec: ModelSpec, inputs: dict[str, np.ndarray], min_rows: int) -> tuple[Slice, ...]:
    """The slices that are judged.

    Args:
      spec: The model's contract.
      inputs: Feature to `[n, 1]`, as the model takes them.
      min_rows: Slices with fewer rows are left out, and so is a feature with one value.
    """
    found = []
    for feature in spec.categorical:
        groups: dict[str, list[int]] = collections.defaultdict(list)
        for row, value in enumerate(inputs[feature.name][:, 0].tolist()):
            groups[value if value == value else ""].append(row)
        if len(groups) > 1:
            found += [
                Slice(feature.name, _text(feature, value), np.array(rows))
                for value, rows in groups.items()
                if len(rows) >= min_rows
            ]
    return tuple(sorted(found, key=lambda s: (s.feature, s.value)))


def _text(feature: CategoricalFeature, value: Any) -> str:
    if feature.dtype == "string" or value == "":
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return f"{value:g}"


def compare(
    spec: ModelSpec,
    rows: Rows,
    slices: Sequence[Slice],
    reference: np.ndarray,
    candidate: np.ndarray,
) -> dict[str, Any]:
    """Drops with their intervals, as JSON holds them.

    Args:
      spec: The model's contract.
      rows: Of eval.
      slices: From `slices_of`.
      reference, candidate: Answers of the float student and of the file, `[n, units]`.

    Returns:
      `overall`, `slices` (feature, value and drop; the worst first), `agreement`, `calibration`.
    """
    labels = labels_of(spec, rows)
    found = comparison.compare(spec.task, labels, reference, candidate)
    judged = []
    for one in slices:
        drop = comparison.drop(
            spec.task,
            labels[one.rows],
            reference[one.rows],
            candidate[one.rows],
            resamples=_SLICE_RESAMPLES,
            min_rows=1,  # the few were left out
        )
        if drop.drop is not None:
            judged.append({"feature": one.feature, "value": one.value, **drop.to_dict()})
    judged.sort(key=lambda s: -(s["high"] if s["high"] is not None else s["drop"]))
    return {**found.to_dict(), "slices": judged}
