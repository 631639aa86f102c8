"""Why is this model serving? From the data to the pointer, every step with its evidence."""

from __future__ import annotations

import dataclasses
from typing import Any

from control_center import automating, rooms
from control_center.center import Center
from control_center.look import epoch
from pipeline.report import words
from pipeline.report.inputs import Inputs


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the trail.

    Attributes:
      title: What happened.
      time: When; None when it is not recorded.
      tone: `good`, `warn`, `bad` or `none`.
      facts: Name to value, in words.
      link: Where the evidence is.
      why: The reason that led to the next step.
    """

    title: str
    time: float | None
    tone: str
    facts: dict[str, str]
    link: str
    why: str = ""


def trail(center: Center, version: str | None = None) -> dict[str, Any]:
    """The trail of a version, the deployed one by default.

    Raises:
      ConfigError: NOTHING_DEPLOYED.
    """
    name = center.registry.resolve(version)
    manifest = center.registry.manifest(name)
    run_id = manifest.get("run_id", "")
    state = automating.state(center)
    steps: list[Step] = []
    if run_id in center.runs.ids():
        asked = rooms.asked_for(state, run_id)
        steps += [Step(**asked)] if asked else []
        steps += _from_run(center, run_id, "automation" if asked else "the command line")
    else:
        steps.append(
            Step("Run", None, "none", {"run": run_id or "unknown"}, "/runs",
                 "The run that made it is not in this workspace any more."))  # fmt: skip
    moves = _pointer(center, name, manifest)
    times = {move.title: move.time for move in moves if move.time}
    since = times.get("Deployed", 0.0)
    until = times.get("Replaced")
    if until is not None and until < since:  # it was deployed again
        until = None
    after = [*moves, *(Step(**s) for s in rooms.trail_steps(center, state, name, since, until))]
    steps += sorted(after, key=lambda step: step.time or 0.0)
    return {
        "version": name,
        "deployed": center.registry.current() == name,
        "steps": [dataclasses.asdict(s) for s in steps],
    }


def _from_run(center: Center, run_id: str, starter: str) -> list[Step]:
    row = center.runs.row(run_id)
    inputs = center.inputs(run_id)
    page = f"/runs/{run_id}"
    validation, evaluation = inputs.files["validation"], inputs.files["evaluation"]
    variants, distillation = inputs.files["variants"], inputs.files["distillation"]
    rows = inputs.result.get("rows") or {}
    warned = [r["code"] for r in validation.get("reasons") or [] if r.get("severity") != "info"]
    steps = [
        Step(
            "Data",
            None,
            "warn" if warned else "good",
            {
                "from": center.shown(row.data),
                "rows": ", ".join(f"{k} {v:,}" for k, v in rows.items()),
                "content": str(_fingerprint(inputs)),
            },
            f"{page}/data",
            f"Validated with warnings: {', '.join(warned)}." if warned else "Validated, clean.",
        ),
        Step(
            "Run",
            row.started,
            "good",
            {
                "run": run_id,
                "started by": str(row.origin.get("user") or starter),
                "took": words.seconds(row.seconds),
            },
            page,
            _distilled(distillation),
        ),
    ]
    shipped = next((v for v in variants.get("variants") or [] if v.get("state") == "shipped"), None)
    if shipped:
        others = len(variants["variants"]) - 1
        steps.append(
            Step(
                "Variants",
                None,
                "good",
                {
                    "shipped": str(shipped["name"]),
                    "size": words.size(shipped.get("bytes")),
                    "p50": words.microseconds((shipped.get("latency_us") or {}).get("p50")),
                    "others": str(others),
                },
                f"{page}/variants",
                str(shipped.get("reason", "")),
            )
        )
    if evaluation:
        passed = [t.get("passed") for t in evaluation.get("thresholds") or []]
        metrics = (evaluation.get("metrics") or {}).get("shipped") or {}
        champion = (evaluation.get("metrics") or {}).get("champion") or {}
        quality = inputs.quality
        facts = {words.metric_name(quality): words.metric(metrics.get(quality))}
        if champion:
            facts["champion then"] = words.metric(champion.get(quality))
        facts["thresholds"] = f"{sum(p is True for p in passed)} of {len(passed)} passed"
        steps.append(
            Step(
                "Blessing",
                None,
                "good" if evaluation.get("blessed") else "bad",
                facts,
                f"{page}/evaluation",
                "Blessed: " + _reasons(evaluation)
                if evaluation.get("blessed")
                else "Not blessed: " + _reasons(evaluation),
            )
        )
    return steps


def _pointer(center: Center, name: str, manifest: dict[str, Any]) -> list[Step]:
    steps = []
    for entry in center.registry.history():
        if name in (entry["to"], entry["from"]):
            came = entry["to"] == name
            steps.append(
                Step(
                    "Deployed" if came else "Replaced",
                    epoch(entry["time"]),
                    "good" if came else "none",
                    {
                        "version": entry["to"],
                        "before": entry["from"] or "nothing",
                        "bytes": f"{manifest['files']['model.tflite']['bytes']:,}",
                    },
                    f"/models/{entry['to']}",
                    str(entry["why"]),
                )
            )
    return steps


def _distilled(found: dict[str, Any]) -> str:
    chosen = found.get("chosen")
    if not chosen:
        return ""
    return {
        "distilled": "The student that learnt from the teacher went on.",
        "control": "The student trained on the labels went on: distillation did not help.",
    }.get(chosen, f"{chosen} went on.")


def _reasons(evaluation: dict[str, Any]) -> str:
    found = [r["message"] for r in evaluation.get("reasons") or []]
    return found[0] if found else "every threshold was met."


def _fingerprint(inputs: Inputs) -> Any:
    examples = inputs.artifact("ExampleGen", "examples")
    return examples.properties.get("fingerprint", "unknown") if examples else "unknown"
