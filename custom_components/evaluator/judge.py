"""From measured numbers to thresholds, reasons and TFMA's ValidationResult."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer

from custom_components.evaluator import config as configs
from custom_components.evaluator.options import EvaluationOptions
from custom_components.evaluator.results import Measured
from custom_components.evaluator.thresholds import METRICS, QUALITY, bounds
from custom_components.evaluator.verdict import CHAMPION, SHIPPED, TEACHER, Threshold, slice_name
from models.spec import ModelSpec

#: Differences of equal models are not always exactly 0.
TOLERANCE = 1e-9


def is_judged(measured: Measured, options: EvaluationOptions, spec: ModelSpec) -> bool:
    """Whether thresholds apply: enough rows, and quality is defined on them."""
    quality = measured.metrics[SHIPPED][QUALITY[spec.task]]
    return quality is not None and (not measured.slice or measured.rows >= options.min_slice_rows)


def compare(
    slices: Sequence[Measured], options: EvaluationOptions, spec: ModelSpec
) -> list[Threshold]:
    """Every comparison that decides.

    Args:
      slices: All rows first.
      options: The limits.
      spec: The shipped model's contract.
    """
    overall, quality = slices[0], QUALITY[spec.task]
    confusion = overall.plots.get(SHIPPED, {}).get("confusion")
    counts = tuple(sum(row) for row in confusion["matrix"]) if confusion else ()
    thresholds = []
    for name, bound in bounds(options, spec.task, counts).items():
        value = overall.metrics[SHIPPED][name]
        higher = METRICS[spec.task][name].better == "higher"
        passed = value is not None and (value >= bound if higher else value <= bound)
        thresholds.append(Threshold(name, "bound", {}, bound, value, passed))
    drops = {
        TEACHER: (options.max_drop_teacher, options.max_drop_teacher_slice),
        CHAMPION: (options.max_drop_champion, options.max_drop_champion_slice),
    }
    for kind, (drop, slice_drop) in drops.items():
        for measured in slices:
            if kind not in measured.metrics or not is_judged(measured, options, spec):
                continue
            shipped = measured.metrics[SHIPPED][quality]
            reference = measured.metrics[kind][quality]
            limit = -(slice_drop if measured.slice else drop) - TOLERANCE
            value = shipped - reference
            thresholds.append(
                Threshold(quality, kind, measured.slice, limit, value, value >= limit, reference)
            )
    return thresholds


def allow_for_chance(
    thresholds: Sequence[Threshold], margins: Sequence[float | None]
) -> list[Threshold]:
    """Widens the limits of comparisons to what chance explains on so few rows.

    Args:
      thresholds: Every comparison.
      margins: Per comparison the largest difference that is no evidence, or None.
    """
    allowed = []
    for threshold, margin in zip(thresholds, margins, strict=True):
        if margin is not None:
            limit = min(threshold.limit, -margin - TOLERANCE)
            passed = threshold.value >= limit
            threshold = dataclasses.replace(threshold, limit=limit, passed=passed, chance=margin)
        allowed.append(threshold)
    return allowed


def final_config(
    spec: ModelSpec,
    models: Sequence[str],
    slices: Sequence[Sequence[str]],
    thresholds: Sequence[Threshold],
) -> tfma.EvalConfig:
    """TFMA's config with every threshold that TFMA has a word for: bounds and the baseline's."""
    limits: dict[str, list[dict[str, Any]]] = {}
    for threshold in thresholds:
        if threshold.kind == TEACHER or not _tfma_finds(threshold.slice):
            continue
        limits.setdefault(threshold.metric, []).append(
            {"slice": threshold.slice, **_limit(threshold, spec)}
        )
    return configs.eval_config(spec, models, slices, limits)


def _limit(threshold: Threshold, spec: ModelSpec) -> dict[str, Any]:
    """The limit as TFMA's MetricThreshold."""
    if threshold.kind == "bound":
        better = METRICS[spec.task][threshold.metric].better
        side = "lower_bound" if better == "higher" else "upper_bound"
        return {"value_threshold": {side: {"value": threshold.limit}}}
    return {
        "change_threshold": {
            "absolute": {"value": threshold.limit},
            "direction": tfma.MetricDirection.HIGHER_IS_BETTER,
        }
    }


def _tfma_finds(values: dict[str, Any]) -> bool:
    """Whether TFMA recognises the slice from its values as text: not 1e+22, for one."""
    spec = tfma.SlicingSpec(feature_values={name: str(value) for name, value in values.items()})
    return tfma.slicer.SingleSliceSpec(spec=spec).is_slice_applicable(tuple(sorted(values.items())))


def validate(
    slices: Sequence[Measured],
    config: tfma.EvalConfig,
    thresholds: Sequence[Threshold],
    spec: ModelSpec,
) -> Any:
    """TFMA's ValidationResult, with the comparisons that TFMA cannot make added to it.

    TFMA knows one baseline, the champion. What else failed is added as a failure
    of the same kind, with a message that says against what.

    Args:
      slices: All slices.
      config: The final one.
      thresholds: Every comparison.
      spec: The shipped model's contract.
    """
    # Not a rubber stamp: without a champion there are no change thresholds to ignore.
    combine = metrics_plots_and_validations_writer.CombineValidations(config)
    merged = combine.create_accumulator()
    compared = [t.slice for t in thresholds if t.kind != TEACHER]
    for measured in (m for m in slices if m.slice in compared):
        result = metrics_validator.validate_metrics((measured.key, measured.values), config)
        merged = combine.add_input(merged, result)
    merged = combine.extract_output(merged)
    by_slice = {
        slicer_lib.deserialize_slice_key(item.slice_key): item
        for item in merged.metric_validations_per_slice
    }
    failed = [threshold for threshold in thresholds if not threshold.passed]
    for threshold in sorted(failed, key=lambda threshold: threshold.kind == TEACHER):
        measured = next(m for m in slices if m.slice == threshold.slice)
        if measured.key not in by_slice:
            by_slice[measured.key] = merged.metric_validations_per_slice.add(
                slice_key=slicer_lib.serialize_slice_key(measured.key)
            )
        failures = by_slice[measured.key].failures
        failure = _of_tfma(failures, threshold)
        if failure is None:
            failure = failures.add(
                metric_key=_metric_key(measured, threshold),
                metric_threshold=_limit(threshold, spec),
            )
            if threshold.value is not None:
                failure.metric_value.double_value.value = threshold.value
        failure.message = describe(threshold)
        merged.validation_ok = False
    return merged


def _of_tfma(failures: Any, threshold: Threshold) -> Any:
    """The failure that TFMA itself recorded for the threshold."""
    if threshold.kind == TEACHER:
        return None
    for failure in failures:
        is_change = failure.metric_threshold.HasField("change_threshold")
        if failure.metric_key.name == threshold.metric and is_change == (
            threshold.kind == CHAMPION
        ):
            return failure
    return None


def _metric_key(measured: Measured, threshold: Threshold) -> Any:
    keys = (k for k in measured.values if (k.name, k.model_name) == (threshold.metric, SHIPPED))
    key = next(keys)
    return (key if threshold.kind == "bound" else key.make_diff_key()).to_proto()


def describe(threshold: Threshold) -> str:
    """One threshold in words: `auc 0.8123 is 0.1277 below the teacher's 0.9400 …`."""
    where = f" where {slice_name(threshold.slice)}" if threshold.slice else ""
    if threshold.kind == "bound":
        if threshold.value is None:
            return f"{threshold.metric} is not defined here; the bound is {threshold.limit:.4g}"
        return f"{threshold.metric} is {threshold.value:.4f}, the bound {threshold.limit:.4g}"
    shipped = threshold.reference + threshold.value
    widened = threshold.chance is not None and -threshold.limit <= threshold.chance + TOLERANCE
    return (
        f"{threshold.metric}{where} is {shipped:.4f}, {-threshold.value:.4f} below the "
        f"{threshold.kind}'s {threshold.reference:.4f}; at most {-threshold.limit:.4g} may be lost"
        + ", which is what chance explains on so few rows"
        * widened
    )
