"""Which measures of a window are findings."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from monitoring.alerts.message import Severity
from monitoring.alerts.options import Kind
from monitoring.decisions import rules
from monitoring.decisions.finding import Finding
from monitoring.decisions.options import ThresholdOptions
from monitoring.decisions.thresholds import Thresholds
from monitoring.measure import Measure

#: A finding and by how many times it exceeds its limit.
_Ranked = tuple[float, Finding]


def decide(
    measures: Sequence[Measure],
    thresholds: Thresholds,
    history: Sequence[Sequence[Measure]] = (),
    options: ThresholdOptions | None = None,
    severities: Mapping[Kind, Severity] | None = None,
    limits: Mapping[str, float] | None = None,
) -> list[Finding]:
    """The findings of one window, the most important features first.

    A measure with a threshold is judged by it; one without by the rules for what is wrong at any
    time (a type error) or unlike earlier windows (latency, volume); every other is only shown.

    Args:
      measures: Of the window.
      thresholds: From `learn`, with the performance thresholds where there are labels.
      history: The measures of earlier windows, oldest first.
      options: Floors and persistence.
      severities: Kind to severity, where it differs from `rules.SEVERITIES`.
      limits: Statistic to limit where it has no threshold, e.g. `freshness_s`.

    Returns:
      One finding per feature, kind and slice: several statistics of one feature tell one story.
    """
    options = options or ThresholdOptions()
    severities = {**rules.SEVERITIES, **(severities or {})}
    past: dict[str, list[Measure]] = defaultdict(list)
    for window in history:
        for measure in window:
            past[measure.key].append(measure)
    grouped: dict[str, list[_Ranked]] = defaultdict(list)
    for measure in measures:
        ranked = _judge(measure, thresholds, past[measure.key], options, severities, limits)
        if ranked is not None:
            grouped[ranked[1].key].append(ranked)
    findings = [_together(group) for group in grouped.values()]
    return sorted(findings, key=lambda f: (-(f.importance or 0.0), f.key))


def _judge(
    measure: Measure,
    thresholds: Thresholds,
    past: Sequence[Measure],
    options: ThresholdOptions,
    severities: Mapping[Kind, Severity],
    limits: Mapping[str, float] | None,
) -> _Ranked | None:
    if measure.slice and measure.family == "distance":
        return None  # another look at the same rows: shown
    threshold = thresholds.of(measure)
    kind = rules.kind_of(measure)
    words = measure.words or f"{measure.feature}: {measure.statistic} {measure.value:.4g}"
    # A slice has fewer rows and is one of many: laws of chance know that, resampled days do not.
    # And a model is better in some slices than in others: the reference's metric is not theirs.
    if threshold is not None and not (measure.slice and threshold.law in ("days", "metric")):
        if not threshold.exceeded(measure):
            return None
        recent = (
            past[len(past) - options.persistence_of + 1 :] if options.persistence_of > 1 else ()
        )
        if 1 + sum(threshold.exceeded(m) for m in recent) < options.persistence:
            return None
        limit = threshold.limit(measure.n, measure.reference_n or None)
        size = threshold.change(measure) / limit if limit > 0 else math.inf
    else:
        judged = rules.judge(measure, past, options.floors, limits)
        if judged is None:
            return None
        limit, words = judged.limit, judged.words
        size = measure.value / limit if limit > 0 else math.inf
    importance = thresholds.importance.get(measure.feature)
    severity = severities[kind]
    if importance is not None and importance < options.min_importance and kind == "drift":
        severity = "info"
        words += f" (the model hardly uses it: {importance:.1%} of its importance)"
    finding = Finding(
        kind,
        measure.feature,
        measure.statistic,
        measure.value,
        limit,
        measure.n,
        severity,
        words,
        measure.slice,
        measure.window_id,
        importance=importance,
    )
    return size, finding


def _together(group: Sequence[_Ranked]) -> Finding:
    """The one that exceeds its limit by most, naming the others."""
    _, strongest = max(group, key=lambda ranked: ranked[0])
    others = tuple(sorted({f.statistic for _, f in group if f.statistic != strongest.statistic}))
    return dataclasses.replace(strongest, also=others)
