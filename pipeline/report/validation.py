"""Anomalies and drift: what the SchemaValidator found, and how far the data has moved."""

from __future__ import annotations

from typing import Any

from pipeline.report import charts, words
from pipeline.report.inputs import Inputs, severity_of

OVERLAYS = 16
MEASURES = {"psi": "PSI", "jsd": "JSD", "linf": "L∞"}


def section(inputs: Inputs) -> dict[str, Any]:
    """What the template needs; `{}` when the data was not validated."""
    verdict = inputs.files["validation"]
    if not verdict:
        return {}
    if verdict["format"] != 1:
        raise ValueError("the verdict was written by a newer Flywheel")
    drift, reasons = verdict["drift"], verdict["reasons"]
    return {
        "state": verdict["state"],
        "baseline": verdict["baseline"],
        "no_baseline": next((r for r in reasons if r.get("code") == "NO_BASELINE"), None),
        "reasons": [r for r in reasons if r.get("code") != "NO_BASELINE"],
        "counts": {
            level: sum(1 for r in reasons if severity_of(r) == level) for level in ("block", "warn")
        },
        "drift": [_measured(entry) for entry in drift],
        "drifted": sum(1 for entry in drift if entry.get("drifted")),
        "overlays": [_overlay(entry) for entry in drift if entry.get("drifted")][:OVERLAYS],
        "overlays_left": max(sum(1 for e in drift if e.get("drifted")) - OVERLAYS, 0),
    }


def _measured(entry: dict[str, Any]) -> dict[str, Any]:
    """One row of the table of measures: only those that the kind of feature is judged by."""
    judged = ("psi", "jsd") if entry["kind"] == "numeric" else ("psi", "linf")
    limits = entry.get("thresholds") or {}
    return {
        "feature": entry["feature"],
        "kind": entry["kind"],
        "drifted": entry["drifted"],
        "measures": {
            name: {
                "value": entry[name],
                "limit": limits.get(name),
                "judged": name in judged,
                "exceeded": name in entry["exceeded"],
            }
            for name in MEASURES
        },
        "noise": entry.get("noise"),
        "change": str(entry["words"]).removeprefix(f"{entry['feature']}: "),
    }


def _overlay(entry: dict[str, Any]) -> dict[str, Any]:
    name = str(entry["feature"])
    sides = ("deployed model's data", "this run's data")
    return {
        "feature": name,
        "change": _measured(entry)["change"],
        "rows": (entry["rows_reference"], entry["rows_current"]),
        "picture": charts.overlay(
            [str(label) for label in entry["labels"]],
            entry["reference"],
            entry["current"],
            f"{words.short(name)}: shares in the deployed model's training data and now",
            sides=sides,
        ),
    }
