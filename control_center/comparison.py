"""Runs side by side: config, data, quality by slice with intervals, variants."""

from __future__ import annotations

import math
from typing import Any

from control_center.center import Center
from monitoring import drift
from pipeline.report import words
from pipeline.report.inputs import Inputs
from pipeline.reuse import changes

_Z95 = 1.959964
#: What a component counted or timed is not a difference between two runs' settings.
_LEFT_OUT = ("root",)


def compare(center: Center, ids: list[str]) -> dict[str, Any]:
    """Everything in which runs differ.

    Args:
      center: Whose runs.
      ids: Two to five full ids; the first is what the others are compared with.

    Returns:
      `runs`, `config`, `data`, `metrics`, `slices`, `variants`; each row has `values`, one per run.
    """
    inputs = [center.inputs(run_id) for run_id in ids]
    return {
        "runs": [center.runs.row(run_id).to_dict() for run_id in ids],
        "config": _config([i.config for i in inputs]),
        "data": _data(inputs),
        "quality": inputs[0].quality,
        "metrics": _metrics(inputs),
        "slices": _slices(inputs),
        "variants": _variants(inputs),
    }


def _config(configs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys: dict[str, None] = {}
    for other in configs[1:]:
        for path, _, _ in changes(configs[0], other):
            keys.setdefault(path)
    return [
        {"key": key, "values": [_at(c, key) for c in configs]}
        for key in keys
        if key not in _LEFT_OUT
    ]


def _data(inputs: list[Inputs]) -> list[dict[str, Any]]:
    rows = []
    prints = [_property(i, "fingerprint") for i in inputs]
    rows.append({"key": "content", "values": prints, "same": len(set(prints)) == 1})
    for split in ("train", "eval", "test"):
        values = [(i.result.get("rows") or {}).get(split) for i in inputs]
        rows.append({"key": f"rows in {split}", "values": values, "same": len(set(values)) == 1})
    facts = [_facts(i) for i in inputs]
    columns = [_columns(i) for i in inputs]
    for name in dict.fromkeys(name for f in facts for name in f):
        values = [f.get(name) for f in facts]
        if len(set(values)) > 1:
            apart = [_psi(name, columns[0], other) for other in columns]
            shown = [
                value if value is None or psi is None else f"{value}; PSI {words.fixed(psi)}"
                for value, psi in zip(values, [None, *apart[1:]], strict=True)
            ]
            rows.append({"key": name, "values": shown, "same": False})
    return rows


def _columns(inputs: Inputs) -> dict[str, Any]:
    found = inputs.statistics.features if inputs.statistics else ()
    return {feature.name or "/".join(feature.path.step): feature for feature in found}


def _psi(name: str, first: dict[str, Any], other: dict[str, Any]) -> float | None:
    """How far a feature is from the first run's; None where the two cannot be compared."""
    if name not in first or name not in other:
        return None
    found = drift.compare_statistics(name, first[name], other[name])
    return found.psi if found else None


def _facts(inputs: Inputs) -> dict[str, str]:
    """Mean or distinct values of every feature of train, as text: enough to see a change."""
    found = {}
    for name, feature in _columns(inputs).items():
        kind = feature.WhichOneof("stats")
        if kind == "num_stats":
            stats = feature.num_stats
            missing = stats.common_stats.num_missing
            found[name] = f"mean {words.number(stats.mean)}, ±{words.number(stats.std_dev)}"
        elif kind == "string_stats":
            missing = feature.string_stats.common_stats.num_missing
            found[name] = f"{feature.string_stats.unique:,} values"
        else:
            continue
        found[name] += f", {missing:,} missing" if missing else ""
    return found


def _property(inputs: Inputs, name: str) -> str | None:
    examples = inputs.artifact("ExampleGen", "examples")
    return examples.properties.get(name) if examples else None


def _metrics(inputs: list[Inputs]) -> list[dict[str, Any]]:
    tables = [(i.files["evaluation"].get("metrics") or {}).get("shipped") or {} for i in inputs]
    rows = []
    for name in dict.fromkeys(n for t in tables for n in t):
        values = [t.get(name) for t in tables]
        if name == "example_count":  # among the data already
            continue
        rows.append(
            {
                "key": name,
                "values": values,
                "change": [
                    difference(name, tables[0], t) if place else None
                    for place, t in enumerate(tables)
                ],
            }
        )
    return rows


def _slices(inputs: list[Inputs]) -> list[dict[str, Any]]:
    quality = inputs[0].quality
    tables: list[dict[str, dict[str, Any]]] = []
    for each in inputs:
        found = each.files["evaluation"].get("slices") or []
        tables.append(
            {
                words.slice_name(s["slice"]): {
                    **((s.get("metrics") or {}).get("shipped") or {}),
                    "example_count": s.get("rows"),
                }
                for s in found
            }
        )
    rows = []
    for name in dict.fromkeys(n for t in tables for n in t):
        sides = [t.get(name, {}) for t in tables]
        if not any(words.is_number(s.get(quality)) for s in sides):
            continue
        rows.append(
            {
                "key": name,
                "rows": [s.get("example_count") for s in sides],
                "values": [s.get(quality) for s in sides],
                "change": [
                    difference(quality, sides[0], s) if place else None
                    for place, s in enumerate(sides)
                ],
            }
        )
    return rows


def _variants(inputs: list[Inputs]) -> list[dict[str, Any]]:
    quality = inputs[0].quality
    tables = []
    for each in inputs:
        found = each.files["variants"].get("variants") or []
        tables.append({v["name"]: v for v in found})
    return [
        {
            "key": name,
            "values": [
                {
                    "state": v.get("state"),
                    "bytes": v.get("bytes"),
                    "quality": (v.get("metrics") or {}).get(quality),
                    "p50": (v.get("latency_us") or {}).get("p50"),
                }
                if (v := table.get(name))
                else None
                for table in tables
            ],
        }
        for name in dict.fromkeys(n for t in tables for n in t)
    ]


def difference(metric: str, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any] | None:
    """How much a metric changed, with a 95 % interval where one can be had from counts.

    The runs are taken to be tested on different rows. On the same rows the errors go together
    and the true interval is narrower, so an interval without zero is a difference either way.
    """
    if not (words.is_number(a.get(metric)) and words.is_number(b.get(metric))):
        return None
    change = b[metric] - a[metric]
    errors = [standard_error(metric, side) for side in (a, b)]
    if None in errors:
        return {"change": change, "low": None, "high": None}
    half = _Z95 * math.hypot(*errors)
    return {"change": change, "low": change - half, "high": change + half}


def standard_error(metric: str, values: dict[str, Any]) -> float | None:
    """Of accuracy (binomial) and AUC (Hanley and McNeil 1982); None for other metrics."""
    value, rows = values.get(metric), values.get("example_count")
    if not words.is_number(value) or not words.is_number(rows) or rows < 2:
        return None
    if metric == "accuracy":
        return math.sqrt(max(value * (1 - value), 1 / rows / 4) / rows)
    share = values.get("mean_label")
    if metric != "auc" or not words.is_number(share):
        return None
    positive, negative = rows * share, rows * (1 - share)
    if positive < 1 or negative < 1 or not 0 <= value <= 1:
        return None
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    variance = (
        value * (1 - value) + (positive - 1) * (q1 - value**2) + (negative - 1) * (q2 - value**2)
    ) / (positive * negative)
    return math.sqrt(max(variance, 0.0))


def _at(settings: dict[str, Any], path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
