"""The model card of a deployed version: what it is, what it is good at, where it is weak.

Sections follow Mitchell et al., “Model Cards for Model Reporting” (2019), as far as a
pipeline can know: what a model is meant for is for its owner to write, and is said to be missing.
"""

from __future__ import annotations

from typing import Any

from control_center.center import Center
from models.spec import ModelSpec
from pipeline.report import words
from pipeline.report.inputs import Inputs


def card(center: Center, version: str) -> dict[str, Any]:
    """What the card says, as data."""
    folder = center.registry.folder(version)
    manifest = center.registry.manifest(version)
    spec = ModelSpec.load(folder)
    run_id = manifest.get("run_id", "")
    known = run_id in center.runs.ids()
    inputs = center.inputs(run_id) if known else None
    evaluation = inputs.files["evaluation"] if inputs else {}
    quality = inputs.quality if inputs else ""
    slices = []
    for entry in evaluation.get("slices") or []:
        value = ((entry.get("metrics") or {}).get("shipped") or {}).get(quality)
        if words.is_number(value) and entry.get("judged"):
            slices.append((words.slice_name(entry["slice"]), value, entry.get("rows")))
    lower = quality in words.LOWER_IS_BETTER
    return {
        "version": version,
        "created": manifest.get("created", ""),
        "run_id": run_id,
        "run_known": known,
        "data_fingerprint": manifest.get("data_fingerprint", ""),
        "bytes": manifest["files"]["model.tflite"]["bytes"],
        "metrics": manifest.get("metrics", {}),
        "task": spec.task,
        "label": spec.label,
        "classes": list(spec.classes),
        "numeric": [f.name for f in spec.numeric],
        "categorical": [f.name for f in spec.categorical],
        "quality": quality,
        "rows": (inputs.result.get("rows") or {}) if inputs else {},
        "data": center.shown(_path(inputs)) if inputs else "",
        "worst": sorted(slices, key=lambda s: s[1], reverse=lower)[:5],
        "reasons": [r for r in inputs.reasons if r.get("severity") == "warn"] if inputs else [],
    }


def _path(inputs: Inputs) -> str:
    data = inputs.config.get("data")
    return str(data.get("path", "")) if isinstance(data, dict) else ""


def markdown(center: Center, version: str) -> str:
    """The card as one Markdown file."""
    found = card(center, version)

    def plain(text: Any) -> str:
        return str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

    lines = [
        f"# Model card: {version}",
        "",
        "## Model",
        "",
        f"- {found['task']} model for `{plain(found['label'])}`, TensorFlow Lite, "
        f"{found['bytes']:,} bytes",
        f"- made {found['created']} by run {found['run_id']}",
        f"- classes: {plain(', '.join(found['classes']) or 'none (regression)')}",
        f"- numeric inputs: {plain(', '.join(found['numeric']) or 'none')}",
        f"- categorical inputs: {plain(', '.join(found['categorical']) or 'none')}",
        "",
        "## Data",
        "",
        f"- {plain(found['data'] or 'not known here')}, content {found['data_fingerprint']}",
    ]
    lines += [f"- {split}: {count:,} rows" for split, count in found["rows"].items()]
    lines += ["", "## Quality on test", "", "| metric | value |", "|---|---:|"]
    lines += [f"| {plain(k)} | {words.metric(v)} |" for k, v in found["metrics"].items()]
    if found["worst"]:
        lines += ["", "## Where it is weakest", ""]
        lines += [f"| slice | {found['quality']} | rows |", "|---|---:|---:|"]
        lines += [f"| {plain(n)} | {words.metric(v)} | {r:,} |" for n, v, r in found["worst"]]
    if found["reasons"]:
        lines += ["", "## Warnings when it was made", ""]
        lines += [f"- {r['code']}: {plain(r['message'])}" for r in found["reasons"]]
    lines += [
        "",
        "## Intended use",
        "",
        "Not recorded: the pipeline cannot know what the model is meant for. Its owner adds it.",
        "",
    ]
    return "\n".join(lines)
