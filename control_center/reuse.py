"""What a run reused and why; what the next one would.

The past is read from ML Metadata: the settings, code and inputs that every
execution was recorded with are what the cache compares. The forecast asks the
same of a config that has not run yet; it cannot know the content of artifacts
that do not exist, so where a component will run again, those after it are said
to run too.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.config import Config
from pipeline.workspace import Workspace

_CODE = "flywheel_code"
_ALWAYS = "looks at or changes something outside the pipeline: never from cache"
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


@dataclasses.dataclass(frozen=True)
class Execution:
    """One component of one run, as the cache sees it.

    Attributes:
      state: `complete`, `cached`, `failed` or `running`.
      properties: Settings it ran with; JSON ones as data.
      inputs: Input key to artifact ids.
      outputs: Artifact ids.
    """

    state: str
    properties: dict[str, Any]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[int, ...]


class Memory:
    """Executions of past runs.

    Args:
      workspace: Whose ML Metadata to read.
    """

    def __init__(self, workspace: Workspace):
        self._store: metadata_store.MetadataStore | None = None
        if workspace.metadata.exists():
            connection = mlmd.ConnectionConfig()
            connection.sqlite.filename_uri = str(workspace.metadata)
            connection.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE
            self._store = metadata_store.MetadataStore(connection)

    def executions(self, run_id: str) -> dict[str, Execution]:
        """By component; empty when ML Metadata does not know the run."""
        if self._store is None:
            return {}
        context = self._store.get_context_by_type_and_name("pipeline_run", run_id)
        if context is None:
            return {}
        executions = self._store.get_executions_by_context(context.id)
        inputs: dict[int, dict[str, list[int]]] = {}
        outputs: dict[int, list[int]] = {}
        for event in self._store.get_events_by_execution_ids([e.id for e in executions]):
            key = event.path.steps[0].key if event.path.steps else ""
            if event.type == mlmd.Event.INPUT:
                inputs.setdefault(event.execution_id, {}).setdefault(key, []).append(
                    event.artifact_id
                )
            elif event.type == mlmd.Event.OUTPUT:
                outputs.setdefault(event.execution_id, []).append(event.artifact_id)
        return {
            e.type.rsplit(".", 1)[-1]: Execution(
                _state(e),
                {k: _value(v) for k, v in e.custom_properties.items()},
                {k: tuple(sorted(v)) for k, v in inputs.get(e.id, {}).items()},
                tuple(sorted(outputs.get(e.id, []))),
            )
            for e in executions
        }


def explain(memory: Memory, run_id: str, earlier: list[str]) -> dict[str, dict[str, Any]]:
    """What each component of a run read, and why it was reused or not.

    Args:
      memory: Of the workspace.
      run_id: The run.
      earlier: Runs before it, newest first.

    Returns:
      Component to `inputs` (key and component that made it), `cache` (`hit` or `miss`) and `why`.
    """
    mine = memory.executions(run_id)
    makers = {made: name for name, execution in mine.items() for made in execution.outputs}
    others = [(other, memory.executions(other)) for other in earlier[:20]]
    answer: dict[str, dict[str, Any]] = {}
    for name, execution in mine.items():
        inputs = [
            (key, next((makers[i] for i in ids if i in makers), ""))
            for key, ids in sorted(execution.inputs.items())
        ]
        answer[name] = {"inputs": inputs, **_cached(name, execution, others)}
    return answer


def _cached(name: str, execution: Execution, others: list[tuple[str, Any]]) -> dict[str, str]:
    if execution.state == "cached":
        source = _made_by(name, execution, others)
        where = f" as in run {source}" if source else " as in an earlier run"
        return {"cache": "hit", "why": f"same inputs, settings and code{where}"}
    if name == "Pusher":
        return {"cache": "miss", "why": _ALWAYS}
    return {"cache": "miss", "why": _why_not(name, execution, others)}


def _made_by(name: str, execution: Execution, others: list[tuple[str, Any]]) -> str:
    same = [
        other
        for other, theirs in others
        if name in theirs
        and theirs[name].state == "complete"
        and set(theirs[name].outputs) & set(execution.outputs)
    ]
    return same[0] if same else ""


def _why_not(name: str, mine: Execution, others: list[tuple[str, Any]]) -> str:
    other, theirs = next(
        (
            (run, e[name])
            for run, e in others
            if name in e and e[name].state in ("complete", "cached")
        ),
        ("", None),
    )
    if theirs is None:
        if any(name in e for _, e in others):
            return "no earlier run got through it"
        return "no earlier run to reuse from"
    reasons = []
    if mine.properties.get(_CODE) != theirs.properties.get(_CODE):
        reasons.append("the code or a library changed")
    if mine.properties.get("fingerprint") != theirs.properties.get("fingerprint"):
        reasons.append("the data changed")
    for key in sorted(set(mine.properties) | set(theirs.properties)):
        a, b = theirs.properties.get(key), mine.properties.get(key)
        if key not in (_CODE, "fingerprint") and a != b:
            reasons += [f"`{path}` {x} → {y}" for path, x, y in changes(a, b, key)][:3]
    new = [key for key, ids in mine.inputs.items() if ids != theirs.inputs.get(key)]
    if new:
        reasons.append(f"new {', '.join(f'`{key}`' for key in sorted(new))}")
    what = "; ".join(reasons) or "what it had made was gone"
    return f"{what} (against run {other})"


def changes(a: Any, b: Any, prefix: str = "") -> list[tuple[str, str, str]]:
    """Where two settings differ: path, then, now."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in dict.fromkeys([*a, *b]):
            found += changes(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if a == b else [(prefix, _short(a), _short(b))]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 40 else text[:39] + "…"


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
            fits, why = set(), _ALWAYS
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
    if execution.properties.get(_CODE) != code:
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


def _state(execution: mlmd.Execution) -> str:
    if execution.last_known_state == mlmd.Execution.CACHED:
        return "cached"
    if execution.last_known_state == mlmd.Execution.COMPLETE:
        return "complete"
    if execution.last_known_state in (mlmd.Execution.FAILED, mlmd.Execution.CANCELED):
        return "failed"
    return "running"


def _value(value: mlmd.Value) -> Any:
    found = getattr(value, value.WhichOneof("value"))
    if isinstance(found, str) and found[:1] in "{[":
        try:
            return json.loads(found)
        except ValueError:
            return found
    return found
