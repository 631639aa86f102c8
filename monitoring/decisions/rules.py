"""Which statistic is about what, and what is judged against earlier windows or at once."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from monitoring.alerts.message import Severity
from monitoring.alerts.options import Kind
from monitoring.decisions.options import FloorOptions
from monitoring.measure import LABEL, PREDICTION, Measure

#: How bad a finding of a kind is, where the config does not say otherwise.
SEVERITIES: dict[Kind, Severity] = {
    "schema": "critical",
    "quality": "warning",
    "drift": "warning",
    "prediction": "warning",
    "performance": "critical",
    "service": "warning",
    "volume": "warning",
}

#: A property of the rows that breaks the contract with the model.
_SCHEMA = {"type_error_rate", "column_missing", "column_new", "schema_anomalies"}
_SERVICE = {"error_rate", "duplicate_rate"}
_QUALITY_SUFFIX = "_rate"
#: Shares that are nought in health: this much is a finding without any history.
ABSOLUTE = {
    "type_error_rate": 0.0,
    "column_missing": 0.0,
    "tfdv_linf": 0.0,
    "schema_anomalies": 0.0,
    "nonfinite_rate": 0.0,
    "error_rate": 0.01,
    "duplicate_rate": 0.01,
    "saturation_rate": 0.05,
    "shadow_difference": 1e-3,
    "float_flip_rate": 0.05,
}
#: Against the median of earlier windows: a multiple of it, by the floors' `latency` or `volume`.
_LATENCY, _VOLUME = "latency_", {"rows", "volume"}
#: Standard deviations beyond the usual spread of earlier windows.
SPREADS = 4.0
MIN_HISTORY = 3


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A measure that is a finding by a rule."""

    limit: float
    words: str


def kind_of(measure: Measure) -> Kind:
    """What a measure is about."""
    name = measure.statistic
    if measure.feature == LABEL:
        return "prediction"
    if measure.family == "performance":
        return "performance"
    if name in _SCHEMA:
        return "schema"
    if name in _VOLUME or name.startswith("freshness"):
        return "volume"
    if name in _SERVICE or name.startswith(_LATENCY) or measure.family == "shipped":
        return "service"
    if measure.feature in (PREDICTION, LABEL):
        return "prediction"
    if name.endswith(_QUALITY_SUFFIX) and name != "nonzero_rate":
        return "quality"
    return "drift"


def judge(
    measure: Measure,
    history: Sequence[Measure],
    floors: FloorOptions,
    limits: Mapping[str, float] | None = None,
) -> Judgement | None:
    """Whether a measure that has no threshold of its own is a finding.

    Args:
      measure: Of the present window.
      history: The same measure of earlier windows, oldest first.
      floors: What size matters.
      limits: Statistic to limit, beside `ABSOLUTE`.
    """
    value = measure.value
    if not math.isfinite(value):
        return None
    limit = {**ABSOLUTE, **(limits or {})}.get(measure.statistic)
    if limit is not None and value > limit:
        words = measure.words or f"{measure.feature}: {measure.statistic} {value:.4g}"
        return Judgement(limit, f"{words}; at most {limit:g} is usual" if limit else words)
    if measure.statistic.startswith(_LATENCY):
        return _against_median(measure, history, floors.latency, both=False)
    if measure.statistic in _VOLUME:
        return _against_median(measure, history, floors.volume, both=True)
    return None


def _against_median(
    measure: Measure, history: Sequence[Measure], factor: float, *, both: bool
) -> Judgement | None:
    """A multiple of the earlier windows' median, and beyond their own spread (by its MAD)."""
    past = [m.value for m in history if math.isfinite(m.value)]
    if len(past) < MIN_HISTORY:
        return None
    middle = statistics.median(past)
    spread = 1.4826 * statistics.median(abs(x - middle) for x in past)
    high = max(middle * factor, middle + SPREADS * spread)
    if measure.value > high:
        return Judgement(
            high, f"{measure.statistic}: {middle:.4g} (median of {len(past)}) → {measure.value:.4g}"
        )
    low = min(middle / factor, middle - SPREADS * spread)
    if both and measure.value < low:
        return Judgement(
            low, f"{measure.statistic}: {middle:.4g} (median of {len(past)}) → {measure.value:.4g}"
        )
    return None
