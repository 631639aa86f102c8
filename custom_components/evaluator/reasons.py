"""Why a candidate was refused, or what to know about the measurement, in words and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custom_components.evaluator.judge import describe
from custom_components.evaluator.results import Measured
from custom_components.evaluator.thresholds import METRICS, QUALITY
from custom_components.evaluator.verdict import CHAMPION, SHIPPED, TEACHER, Threshold, slice_name
from models.errors import Reason
from models.spec import ModelSpec

MOST_CASES = 30

_NEXT = {
    "BELOW_BOUND": "See the report's learning curves: more rows, more telling columns or longer "
    "training, or a bound that this problem can reach.",
    "ABOVE_BOUND": "See the report's learning curves: more rows, more telling columns or longer "
    "training, or a bound that this problem can reach.",
    "WORSE_THAN_TEACHER": "Give the student more units or a wider embedding, let the quantizer "
    "keep more quality, or allow a larger `max_drop_teacher`.",
    "WORSE_THAN_TEACHER_SLICE": "Look at these rows first: labels, missing cells, too few of them "
    "in train. Else give the student more units, or allow a larger `max_drop_teacher_slice`.",
    "WORSE_THAN_CHAMPION": "The deployed model stays. Compare the two runs' data and options; "
    "allow a larger `max_drop_champion` only if the world has changed.",
    "WORSE_THAN_CHAMPION_SLICE": "The deployed model stays. Look at these rows first: labels, "
    "missing cells, too few of them in train; or allow a larger `max_drop_champion_slice`.",
}


def of_thresholds(
    thresholds: Sequence[Threshold], slices: Sequence[Measured], spec: ModelSpec
) -> list[Reason]:
    """One blocking reason per kind of failure, with the failed comparisons as its table."""
    rows = {measured.name: measured.rows for measured in slices}
    judged = sum(1 for t in thresholds if t.kind == TEACHER and t.slice)
    failed: dict[str, list[Threshold]] = {}
    for threshold in thresholds:
        if not threshold.passed:
            failed.setdefault(_code(threshold, spec), []).append(threshold)
    reasons = []
    for code, items in failed.items():
        items = sorted(items, key=lambda t: t.value - t.limit if t.value is not None else 0.0)
        reasons.append(
            Reason(
                code,
                _message(items, judged, rows[""]),
                tuple(_case(t, rows) for t in items[:MOST_CASES]),
                _NEXT[code],
                "block",
            )
        )
    spared = [t for t in thresholds if t.passed and t.chance is not None]
    if spared:
        reasons.append(
            Reason(
                "WITHIN_CHANCE",
                f"{len(spared)} comparison{'s' * (len(spared) > 1)} lost more than the configured "
                "limit, and no more than chance explains on so few rows: "
                f"{describe(spared[0])}.",
                tuple(_case(t, rows) for t in spared[:MOST_CASES]),
                "Use more test rows to tell the models apart, or set `confidence` to 0 to refuse "
                "every such drop.",
                "warn",
            )
        )
    return reasons


def _code(threshold: Threshold, spec: ModelSpec) -> str:
    if threshold.kind == "bound":
        higher = METRICS[spec.task][threshold.metric].better == "higher"
        return "BELOW_BOUND" if higher else "ABOVE_BOUND"
    return f"WORSE_THAN_{threshold.kind.upper()}" + ("_SLICE" if threshold.slice else "")


def _message(items: Sequence[Threshold], judged: int, rows: int) -> str:
    first = items[0]
    if first.kind == "bound":
        return (
            f"On {rows:,} test rows the model that would ship misses "
            f"{len(items)} bound{'s' * (len(items) > 1)}: {'; '.join(map(describe, items))}."
        )
    if not first.slice:
        return f"On {rows:,} test rows {describe(first)}."
    worst = ", the worst:" if len(items) > 1 else ":"
    return (
        f"In {len(items)} of {judged} judged slices the model that would ship loses too much "
        f"against the {first.kind}{worst} {describe(first)}."
    )


def _case(threshold: Threshold, rows: Mapping[str, int]) -> dict[str, Any]:
    where = slice_name(threshold.slice)
    case: dict[str, Any] = {"metric": threshold.metric}
    if threshold.slice:
        case["slice"] = where
    case["rows"] = rows[where]
    if threshold.kind == "bound":
        return {**case, SHIPPED: _round(threshold.value), "bound": threshold.limit}
    return {
        **case,
        SHIPPED: _round(threshold.reference + threshold.value),
        threshold.kind: _round(threshold.reference),
        "change": _round(threshold.value),
        "limit": _round(threshold.limit),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def of_measurement(
    counts: Mapping[str, int],
    slices: Sequence[Measured],
    slicings: Sequence[Sequence[str]],
    spec: ModelSpec,
) -> list[Reason]:
    """What is to be known about the rows and the predictions themselves."""
    reasons = []
    quality, overall = QUALITY[spec.task], slices[0]
    if overall.metrics[SHIPPED][quality] is None:
        reasons.append(
            Reason(
                "QUALITY_UNDEFINED",
                f"{quality} is not defined on the {overall.rows:,} test rows: all of them have "
                "the same label, so nothing can be told about the model.",
                next="Use more rows, or split by hash instead of by time or key.",
                severity="block",
            )
        )
    for model in (SHIPPED, TEACHER, CHAMPION):
        rows = counts.get(f"not_finite:{model}", 0)
        if rows:
            whose = "model that would ship" if model == SHIPPED else model
            reasons.append(
                Reason(
                    "PREDICTION_NOT_FINITE",
                    f"The {whose} answers NaN or infinity on {rows:,} of {overall.rows:,} test "
                    "rows; a constant was put in their place to measure the rest.",
                    ({"model": model, "rows": rows},),
                    "Look for extreme values in the numeric columns, or choose another variant.",
                    "block" if model == SHIPPED else "warn",
                )
            )
    if spec.task == "binary" and overall.metrics[SHIPPED].get("recall") == 0:
        reasons.append(
            Reason(
                "NEVER_POSITIVE",
                f"At the threshold of 0.5 the model never answers `{spec.classes[1]}`, whatever "
                "its ranking is worth.",
                next="Use the probability with a threshold of your own, or set "
                "`task: {class_weights: balanced}` in flywheel.yaml.",
                severity="warn",
            )
        )
    if counts.get("label_missing"):
        reasons.append(
            Reason(
                "LABELS_MISSING",
                f"{counts['label_missing']:,} test rows have no `{spec.label}` and were left out.",
                severity="info",
            )
        )
    if counts.get("label_unknown"):
        reasons.append(
            Reason(
                "LABELS_UNKNOWN",
                f"{counts['label_unknown']:,} test rows have a `{spec.label}` that was not there "
                f"in train ({', '.join(spec.classes[:20])} were) and were left out.",
                next="Check the spelling of the labels, or let more rows of rare classes into "
                "train.",
                severity="warn",
            )
        )
    for columns in slicings:
        if not any(set(measured.slice) == set(columns) for measured in slices):
            reasons.append(
                Reason(
                    "SLICE_EMPTY",
                    f"No test row has a value in {' and '.join(f'`{c}`' for c in columns)}, so "
                    "that slicing judged nothing.",
                    next="Correct `evaluation.slices`.",
                    severity="warn",
                )
            )
    return reasons


NO_BASELINE = Reason(
    "NO_BASELINE",
    "Nothing is deployed yet, so there is no champion to compare with.",
    severity="info",
)


def champion_incomparable(why: str) -> Reason:
    """The champion cannot be measured on these labels."""
    return Reason(
        "CHAMPION_INCOMPARABLE",
        f"The deployed model was not compared: {why}.",
        next="Look at the candidate's own metrics before relying on it: no earlier model vouches "
        "for it.",
        severity="warn",
    )
