"""Regression metrics that TFMA lacks, as TFMA metrics: RMSE and R².

TFMA's `SquaredPearsonCorrelation` is not R²: it forgives a wrong scale or offset.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma

_Key = tfma.metrics.MetricKey


class RootMeanSquaredError(tfma.metrics.Metric):
    """Square root of TFMA's mean squared error, in the label's unit."""

    def __init__(self, name: str = "rmse"):
        super().__init__(tfma.metrics.merge_per_key_computations(_rmse), name=name)


class RSquared(tfma.metrics.Metric):
    """Coefficient of determination: 1 - sum((y - p)²) / sum((y - mean(y))²).

    NaN where all labels are equal. (Draper & Smith, Applied Regression Analysis, 1.3.)
    """

    def __init__(self, name: str = "r2"):
        super().__init__(tfma.metrics.merge_per_key_computations(_r_squared), name=name)


def _mean_squared_error(**where: Any) -> tfma.metrics.MetricComputations:
    model, output, sub_key = where["model_name"], where["output_name"], where["sub_key"]
    return tfma.metrics.MeanSquaredError(name="_mean_squared_error").computations(
        eval_config=where["eval_config"],
        model_names=[model],
        output_names=[output],
        sub_keys=[sub_key],
        example_weighted=where["example_weighted"],
    )


def _rmse(
    name: str = "rmse",
    eval_config: tfma.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    sub_key: tfma.metrics.SubKey | None = None,
    example_weighted: bool = False,
) -> tfma.metrics.MetricComputations:
    where = dict(
        model_name=model_name,
        output_name=output_name,
        sub_key=sub_key,
        example_weighted=example_weighted,
    )
    key = _Key(name=name, **where)
    computations = _mean_squared_error(eval_config=eval_config, **where)
    squared_error = computations[-1].keys[-1]

    def result(metrics: dict[_Key, Any]) -> dict[_Key, Any]:
        return {key: math.sqrt(metrics[squared_error])}

    return [*computations, tfma.metrics.DerivedMetricComputation(keys=[key], result=result)]


def _r_squared(
    name: str = "r2",
    eval_config: tfma.EvalConfig | None = None,
    model_name: str = "",
    output_name: str = "",
    sub_key: tfma.metrics.SubKey | None = None,
    example_weighted: bool = False,
) -> tfma.metrics.MetricComputations:
    where = dict(
        model_name=model_name,
        output_name=output_name,
        sub_key=sub_key,
        example_weighted=example_weighted,
    )
    key = _Key(name=name, **where)
    moments = _Key(name="_label_moments", **where)
    computations = _mean_squared_error(eval_config=eval_config, **where)
    squared_error = computations[-1].keys[-1]
    computations = [
        *computations,
        tfma.metrics.MetricComputation(
            keys=[moments],
            preprocessors=None,
            combiner=LabelMomentsCombiner(moments, eval_config, example_weighted),
        ),
    ]

    def result(metrics: dict[_Key, Any]) -> dict[_Key, Any]:
        labels = metrics[moments]
        variance = labels.squares / labels.rows if labels.rows else 0.0
        return {key: 1.0 - metrics[squared_error] / variance if variance > 0.0 else math.nan}

    return [*computations, tfma.metrics.DerivedMetricComputation(keys=[key], result=result)]


@dataclasses.dataclass
class LabelMoments:
    """Count, mean and sum of squared deviations of the labels.

    Kept apart from the mean (Chan, Golub & LeVeque 1979), so that labels with a
    large mean lose no digits.
    """

    rows: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def merge(self, other: LabelMoments) -> None:
        rows = self.rows + other.rows
        if not rows:
            return
        delta = other.mean - self.mean
        self.squares += other.squares + delta * delta * self.rows * other.rows / rows
        self.mean += delta * other.rows / rows
        self.rows = rows


class LabelMomentsCombiner(beam.CombineFn):
    """The label's moments per slice, on Beam."""

    def __init__(self, key: _Key, eval_config: tfma.EvalConfig | None, example_weighted: bool):
        self.key = key
        self.example_weighted = example_weighted
        self._eval_config = eval_config

    def create_accumulator(self) -> LabelMoments:
        return LabelMoments()

    def add_input(
        self, accumulator: LabelMoments, element: tfma.metrics.StandardMetricInputs
    ) -> LabelMoments:
        for label, _, weight in tfma.metrics.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self.key.model_name,
            output_name=self.key.output_name,
            example_weighted=self.example_weighted,
        ):
            accumulator.merge(LabelMoments(weight.item(), label.item(), 0.0))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[LabelMoments]) -> LabelMoments:
        merged = LabelMoments()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: LabelMoments) -> dict[_Key, LabelMoments]:
        return {self.key: accumulator}
