"""What the next run would reuse, and why.

The settings, code and data of a config that has not run yet are compared with those of past
runs, as the cache will. It cannot know the content of artifacts that do not exist, so where a
component will run again, those after it are said to run too.
"""

from __future__ import annotations

from typing import Any

from pipeline.config import Config
from pipeline.reuse import ALWAYS, CODE, Execution, changes

#: Component to (sections of the config it reads, components whose output it reads).
READS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "DeployedModel": (("deploy",), ()),
    "ExampleGen": (("data", "features", "task.label"), ()),
    "StatisticsGen": (("features", "task", "engine"), ("ExampleGen",)),
    "SchemaGen": (("validation.schema_path",), ("StatisticsGen",)),
    "SchemaValidator": (
        ("validation", "task", "features"),
        ("ExampleGen", "StatisticsGen", "SchemaGen", "DeployedModel"),
    ),
    "DataGate": ((), ("SchemaValidator",)),
    "Trainer": (
        ("task", "features", "preprocessing", "teacher", "seed"),
        ("ExampleGen", "StatisticsGen"),
    ),
    "Distiller": (("task", "student", "distillation", "seed"), ("ExampleGen", "Trainer")),
    "TFLiteQuantizer": (("quantizer", "seed"), ("ExampleGen", "Distiller", "Trainer")),
    "Evaluator": (
        ("evaluation", "task", "engine"),
        ("ExampleGen", "SchemaGen", "TFLiteQuantizer", "Trainer", "Distiller", "DeployedModel"),
    ),
    "Pusher": ((), ("Evaluator",)),
}


def forecast(
    config: Config,
    *,
    data: str,
    code: str,
    deployed: str,
    past: list[tuple[str, dict[str, Any], dict[str, Execution]]],
) -> list[dict[str, str]]:
    """What a run with this config would reuse.

    Args:
      config: Paths absolute.
      data: Fingerprint of its data.
      code: Fingerprint of the code.
      deployed: Version that the registry's pointer names.
      past: Earlier runs, newest first: id, config as data, executions.

    Returns:
      One row per component in order: `component`, `cache` (`hit` or `miss`), `why`.
    """
    settings = config.model_dump(mode="json")
    # Which earlier runs could still give every component its inputs unchanged.
    usable: dict[str, set[str]] = {}
    rows = []
    for name, (sections, upstream) in READS.items():
        fits, why = set(), ""
        for run_id, theirs, executions in past:
            shown = _SHOWN_AS.get(name, name)
            mine = executions.get(name) or executions.get(shown)
            if mine is None or mine.state not in ("complete", "cached"):
                continue
            reason = _against(name, sections, settings, theirs, mine, data, code, deployed)
            blocked = [u for u in upstream if run_id not in usable[u]]
            if not reason and not blocked:
                fits.add(run_id)
            elif not why:
                after = [u for u in upstream if not usable[u]]
                why = reason or (
                    f"after {', '.join(after)}" if after else f"new input from {blocked[0]}"
                )
        if name == "Pusher":
            fits, why = set(), ALWAYS
        usable[name] = fits
        if fits:
            best = max(fits)
            rows.append({"component": name, "cache": "hit", "why": f"as in run {best}"})
        else:
            after = [u for u in upstream if not usable[u]]
            fallback = f"after {', '.join(after)}" if past and after else "no earlier run of it"
            rows.append({"component": name, "cache": "miss", "why": why or fallback})
    return rows


_SHOWN_AS = {"SchemaGen": "ImportSchemaGen"}


def _against(
    name: str,
    sections: tuple[str, ...],
    settings: dict[str, Any],
    theirs: dict[str, Any],
    execution: Execution,
    data: str,
    code: str,
    deployed: str,
) -> str:
    """Why one earlier execution cannot be reused; empty when nothing of its own changed."""
    if execution.properties.get(CODE) != code:
        return "the code or a library changed"
    if name == "ExampleGen" and execution.properties.get("fingerprint") != data:
        return "the data changed"
    if name == "DeployedModel" and execution.properties.get("version", "") != deployed:
        return "another version is deployed"
    found = []
    for section in sections:
        a, b = (_at(side, section) for side in (theirs, settings))
        found += changes(a, b, section)
    return "; ".join(f"`{path}` {x} → {y}" for path, x, y in found[:3])


def _at(settings: dict[str, Any], path: str) -> Any:
    value: Any = settings
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
