"""The verdict, the figures that matter, and what to do next."""

from __future__ import annotations

import shlex
from typing import Any

from markupsafe import Markup

from pipeline.report import words
from pipeline.report.inputs import Inputs, severity_of

HEADLINES = {
    "pushed": "Pushed",
    "not_blessed": "Not blessed",
    "blocked_by_data": "Blocked by data",
    "failed": "Failed",
    "running": "No verdict",
}
#: A change of quality that is not worth a remedy.
_LITTLE = 0.001
_ICONS = {"pushed": "✓", "not_blessed": "✗", "blocked_by_data": "✗", "failed": "✗"}


def banner(inputs: Inputs) -> dict[str, Any]:
    """State, one sentence about it, and the reasons that led to it."""
    state = inputs.state if inputs.state in HEADLINES else "failed"
    data = inputs.config.get("data")
    return {
        "state": state,
        "icon": _ICONS.get(state, "…"),
        "headline": HEADLINES[state],
        "sentence": _sentence(inputs, state),
        "blocking": [r for r in inputs.reasons if severity_of(r) == "block"],
        "warnings": [r for r in inputs.reasons if severity_of(r) == "warn"],
        "name": inputs.config.get("name") or "",
        "data": data.get("path", "") if isinstance(data, dict) else "",
        "task": inputs.config.get("task") if isinstance(inputs.config.get("task"), dict) else {},
        "when": words.moment(inputs.started) if inputs.started else "",
        "seconds": (inputs.result.get("seconds") or {}).get("total"),
    }


def _sentence(inputs: Inputs, state: str) -> str:
    deployed = _deployed(inputs)
    if state == "pushed":
        pushed = inputs.result.get("pushed") or {}
        if pushed.get("new", True):
            return f"Version `{pushed.get('version', '')}` is blessed, checked and deployed."
        return (
            f"Version `{pushed.get('version', '')}` is deployed; the same content had been pushed "
            "before, so no new version was made."
        )
    if state == "not_blessed":
        return f"The model that would ship is not good enough. {deployed}"
    if state == "blocked_by_data":
        return f"The data was refused, so nothing was trained on it. {deployed}"
    if state == "running":
        return "The run has not ended, or was killed before it could say how."
    failed = [c.name for c in inputs.run.components.values() if c.state == "failed"]
    where = f"The run failed in {failed[0]}." if failed else "The run failed."
    if "Pusher" not in inputs.run.components:
        where += " Nothing that is deployed was touched."
    return where


def _deployed(inputs: Inputs) -> str:
    """What is deployed when nothing was pushed."""
    artifact = inputs.artifact("DeployedModel", "model")
    if artifact is None:
        return "What is deployed stays as it was."
    version = artifact.properties.get("version")
    return f"Version `{version}` stays deployed." if version else "Nothing is deployed yet."


def glance(inputs: Inputs) -> list[dict[str, Any]]:
    """The figures to decide by; only those that the run got to."""
    tiles = [
        _rows(inputs),
        _quality(inputs),
        *_file(inputs),
        _distillation(inputs),
        _data_quality(inputs),
    ]
    return [tile for tile in tiles if tile]


def _tile(name: str, value: Markup | str, *notes: Markup | str, tone: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "notes": [n for n in notes if n], "tone": tone}


def _rows(inputs: Inputs) -> dict[str, Any] | None:
    rows = inputs.result.get("rows") or {}
    if not rows:
        return None
    parts = ", ".join(f"{split} {words.count(n)}" for split, n in rows.items())
    total = sum(rows.values())
    return _tile("rows", words.figure(total, words.count(total)), parts)


def _quality(inputs: Inputs) -> dict[str, Any] | None:
    name = inputs.quality
    metrics = inputs.files["evaluation"].get("metrics") or {}
    value = (metrics.get("shipped") or {}).get(name)
    if not metrics:
        return None
    notes = []
    for model in ("teacher", "champion"):
        other = (metrics.get(model) or {}).get(name)
        if words.is_number(other):
            change = words.signed(value - other) if words.is_number(value) else words.NOTHING
            notes.append(f"{change} against the {model}’s {words.metric(other)}")
    if "champion" not in metrics:
        notes.append("no champion to compare with")
    return _tile(
        f"{words.metric_name(name)} on test",
        words.figure(value, words.metric(value)),
        *notes,
        tone="" if inputs.files["evaluation"].get("blessed") else "bad",
    )


def _file(inputs: Inputs) -> list[dict[str, Any]]:
    """Size and speed of the file that ships."""
    report = inputs.files["variants"]
    found = report.get("variants") or inputs.result.get("variants") or []
    shipped = next((v for v in found if v.get("state") == "shipped"), None)
    if not shipped:
        return []
    teacher = report.get("teacher") or {}
    size, full = shipped.get("bytes"), teacher.get("bytes")
    notes = [str(shipped.get("name", ""))]
    if words.is_number(size) and words.is_number(full) and size:
        notes.append(f"1/{full / size:.1f} of the teacher’s float32 TFLite ({words.size(full)})")
    tiles = [_tile("file", words.figure(size, words.size(size)), *notes)]
    latency = (shipped.get("latency_us") or {}).get("p50")
    if words.is_number(latency):
        other = (teacher.get("latency_us") or {}).get("p50")
        speed = shipped.get("rows_per_s")
        tiles.append(
            _tile(
                "latency p50",
                words.figure(latency, words.microseconds(latency)),
                "one row, one thread"
                + (f"; teacher {words.microseconds(other)}" if words.is_number(other) else ""),
                f"{words.count(speed)} rows/s in batches" if words.is_number(speed) else "",
            )
        )
    return tiles


def _distillation(inputs: Inputs) -> dict[str, Any] | None:
    networks = inputs.files["distillation"].get("networks") or {}
    name = inputs.quality
    sides = [
        ((networks.get(key) or {}).get("metrics") or {}).get(name)
        for key in ("distilled", "control")
    ]
    if not all(words.is_number(side) for side in sides):
        return None
    gain = sides[0] - sides[1]
    chosen = inputs.files["distillation"].get("chosen")
    return _tile(
        "distillation",
        words.figure(gain, words.signed(gain)),
        f"{words.metric_name(name)} on eval, against the same student on the labels",
        "" if chosen == "distilled" else "the student trained on the labels goes on",
    )


def _data_quality(inputs: Inputs) -> dict[str, Any] | None:
    verdict = inputs.files["validation"]
    if "state" not in verdict:
        return None
    levels = [severity_of(r) for r in verdict.get("reasons") or []]
    blocking, warned = levels.count("block"), levels.count("warn")
    drift = verdict.get("drift") or []
    drifted = sum(1 for d in drift if d.get("drifted"))
    about = (
        f"{drifted:,} of {len(drift):,} features drifted"
        if verdict.get("baseline")
        else "drift not judged: no baseline yet"
    )
    parts = [f"{blocking} blocking"] * bool(blocking)
    parts += [f"{warned} warning{'s' * (warned != 1)}"] * bool(warned)
    return _tile("data", ", ".join(parts) or "clean", about, tone="bad" if blocking else "")


def next_steps(inputs: Inputs) -> list[dict[str, str]]:
    """What to do, most urgent first: `text`, and `command` where there is one to type."""
    steps = []
    if inputs.state == "pushed":
        steps += _after_push(inputs)
    advice = [
        (severity_of(r), {"text": r["next"], "code": r["code"], "command": ""})
        for r in inputs.reasons
        if r["next"]
    ]
    steps += [step for level, step in advice if level == "block"]
    where = _where_quality_goes(inputs) if inputs.state == "not_blessed" else ""
    if where:
        steps.append({"text": where, "code": "", "command": ""})
    steps += [step for level, step in advice if level == "warn"]
    if inputs.state in ("not_blessed", "blocked_by_data", "failed", "running"):
        steps.append(
            {
                "text": "Then run again; components whose inputs did not change are reused.",
                "code": "",
                "command": "flywheel run",
            }
        )
    known = set()
    return [s for s in steps if not (s["text"] in known or known.add(s["text"]))]


def _after_push(inputs: Inputs) -> list[dict[str, str]]:
    steps = [
        {
            "text": "Predict the rows of a table with the deployed model.",
            "code": "",
            "command": "flywheel predict FILE --output predictions.csv",
        },
        {
            "text": "Check that every deployed file is what was pushed, and that the golden "
            "requests still get the recorded answers.",
            "code": "",
            "command": "flywheel models verify",
        },
    ]
    previous = inputs.files["push"].get("previous")
    version = (inputs.result.get("pushed") or {}).get("version")
    if previous and previous != version:
        steps.append(
            {
                "text": "If it does worse than expected, go back to the version before.",
                "code": "",
                "command": f"flywheel models rollback {shlex.quote(str(previous))}",
            }
        )
    return steps


def _where_quality_goes(inputs: Inputs) -> str:
    """Which step from teacher to file costs the most, in words; empty when unknown."""
    name = inputs.quality
    metrics = inputs.files["evaluation"].get("metrics") or {}
    values = [(metrics.get(m) or {}).get(name) for m in ("teacher", "student", "shipped")]
    if not all(words.is_number(v) for v in values):
        return ""
    teacher, student, shipped = values
    lost, quantized = student - teacher, shipped - student
    text = (
        f"On test, {words.metric_name(name)} changes by {words.signed(lost)} from the teacher "
        f"({words.metric(teacher)}) to the float student and by {words.signed(quantized)} from "
        "there to the quantized file."
    )
    if min(lost, quantized) > -_LITTLE:
        return (
            f"{text} Neither costs much: the teacher itself is what to improve, with more rows or "
            "more telling columns."
        )
    if lost <= quantized:
        return (
            f"{text} The student is the first thing to enlarge: "
            "`student: {hidden: ..., embedding: ...}` in flywheel.yaml."
        )
    return (
        f"{text} Quantization is the first thing to tighten: `quantizer: {{max_drop: ...}}` in "
        "flywheel.yaml."
    )
