"""What to do with the variants of a run, in two sentences: what ships, and what to weigh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import words

_SEARCH = "`quantizer: {search: {trials: 25}}`"


def recommendation(
    report: Mapping[str, Any], state: str, reasons: list[dict[str, Any]]
) -> list[str]:
    """Two sentences; none where nothing was chosen to ship.

    Args:
      report: `variants.json`.
      state: How the run ended.
      reasons: Of the run, blocking ones first.
    """
    variants = [v for v in report.get("variants") or [] if v.get("bytes")]
    shipped = next((v for v in variants if v.get("state") == "shipped"), None)
    if shipped is None:
        return []
    return [_first(shipped, report, state, reasons), _second(shipped, variants, report)]


def _first(
    shipped: Mapping[str, Any],
    report: Mapping[str, Any],
    state: str,
    reasons: list[dict[str, Any]],
) -> str:
    teacher = (report.get("teacher") or {}).get("bytes")
    smaller = f", 1/{teacher / shipped['bytes']:.1f} of the teacher's" if teacher else ""
    ratio = (shipped.get("latency_ratio") or {}).get("point")
    speed = f", {ratio:.2f} × the float32 student's latency here" if words.is_number(ratio) else ""
    facts = f"{shipped['bytes']:,} bytes{smaller}{speed}"
    lost = f"against the float student it {lost_words(_overall(shipped))} on eval"
    if state == "pushed":
        return f"Keep `{shipped['name']}`, which is deployed: {facts}; {lost}."
    if state == "not_blessed":
        codes = [f"`{r['code']}`" for r in reasons if r.get("severity") == "block"]
        why = f" ({', '.join(dict.fromkeys(codes))})" if codes else ""
        return (
            f"Do not deploy `{shipped['name']}` ({facts}): the Evaluator refused it on test{why}, "
            f"though {lost}."
        )
    return f"`{shipped['name']}` is the one to ship once the run has passed: {facts}; {lost}."


def _second(
    shipped: Mapping[str, Any], variants: list[Mapping[str, Any]], report: Mapping[str, Any]
) -> str:
    parts = [_alternative(shipped, variants, report)]
    slices = (shipped.get("quality") or {}).get("slices") or []
    if slices and words.is_number(slices[0].get("high")) and slices[0]["high"] > 5e-5:
        worst = slices[0]
        parts.append(
            f"watch the {worst['rows']:,} rows where `{worst['feature']}` is "
            f"{worst['value'] or 'missing'}, which may lose up to {worst['high']:.4f}"
        )
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def _alternative(
    shipped: Mapping[str, Any], variants: list[Mapping[str, Any]], report: Mapping[str, Any]
) -> str:
    """The best reason to choose another one; that there is none, where there is none."""
    picked = {name: v for v in variants for name in v.get("picks") or ()}
    compact, quality = picked.get("compact"), picked.get("quality")
    if compact and compact["bytes"] < shipped["bytes"]:
        return (
            f"where every byte counts, `quantizer: {{pick: compact}}` ships `{compact['name']}`, "
            f"{shipped['bytes'] - compact['bytes']:,} bytes less, which "
            f"{lost_words(_overall(compact))}"
        )
    if quality and quality["name"] != shipped["name"]:
        return (
            f"where no loss may be shown, `quantizer: {{pick: quality}}` ships "
            f"`{quality['name']}`, {quality['bytes'] - shipped['bytes']:,} bytes more"
        )
    if not report.get("search"):
        return f"nothing tried is smaller within the bounds; {_SEARCH} looks further"
    return "nothing that the search tried is smaller within the bounds"


def _overall(variant: Mapping[str, Any]) -> Mapping[str, Any]:
    return (variant.get("quality") or {}).get("overall") or {}


def lost_words(drop: Mapping[str, Any]) -> str:
    """`loses 0.0002 of AUC (−0.0010 to +0.0012)`; the interval is of the loss."""
    value, low, high = drop.get("drop"), drop.get("low"), drop.get("high")
    if not words.is_number(value):
        return "has a loss that is not known"
    metric = words.metric_name(str(drop.get("metric") or "quality"))
    if words.is_number(low) and words.is_number(high) and max(abs(low), abs(high)) < 5e-5:
        return f"loses no {metric}"
    text = f"{'loses' if value >= 0 else 'gains'} {abs(value):.4f} of {metric}"
    if not words.is_number(low) or not words.is_number(high):
        return text
    return f"{text} (95 % interval of the loss {words.signed(low)} to {words.signed(high)})"
