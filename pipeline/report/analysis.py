"""What a run found out, as plain data: for `flywheel report --json` and for the Markdown report."""

from __future__ import annotations

from typing import Any

from pipeline.report.inputs import Inputs
from pipeline.report.recommendation import recommendation
from pipeline.report.waterfall import waterfall

_VARIANT = (
    "name",
    "state",
    "reason",
    "picks",
    "bytes",
    "gzip_bytes",
    "metrics",
    "quality",
    "saturation",
    "latency_us",
    "latency_ratio",
    "rows_per_s",
    "verdict",
)


def analysis(inputs: Inputs, intervals: dict[str, Any] | None = None) -> dict[str, Any]:
    """Verdict, variants, what bought what, evaluation by slice, and what to do.

    Args:
      inputs: Of a run, however far it got; what it did not reach is empty.
      intervals: From `pipeline.intervals`: the shipped file against the champion on test.
    """
    report, verdict = inputs.files["variants"], inputs.files["evaluation"]
    trials = inputs.files["trials"]
    return {
        "run_id": inputs.run.id,
        "state": inputs.state,
        "reasons": inputs.reasons,
        "metric": inputs.quality,
        "recommendation": recommendation(report, inputs.state, inputs.reasons),
        "limits": report.get("limits") or {},
        "pick": report.get("pick"),
        "variants": [
            {key: variant.get(key) for key in _VARIANT} for variant in report.get("variants") or []
        ],
        "teacher": {
            key: (report.get("teacher") or {}).get(key)
            for key in ("bytes", "gzip_bytes", "metrics", "latency_us")
        }
        if report.get("teacher")
        else {},
        "waterfall": waterfall(report).to_dict(),
        "layers": report.get("layers") or [],
        "search": {
            **(report.get("search") or {}),
            "trials_made": len(trials.get("trials") or []),
        }
        if report.get("search")
        else {},
        "evaluation": {
            "blessed": verdict.get("blessed"),
            "metrics": verdict.get("metrics") or {},
            "slices": verdict.get("slices") or [],
            "thresholds": verdict.get("thresholds") or [],
            "rows": verdict.get("rows") or {},
        }
        if verdict
        else {},
        "champion": intervals or {},
    }
