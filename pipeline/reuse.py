"""What a run reused and why, from ML Metadata.

The settings, code and inputs that every execution was recorded with are what the cache compares.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.workspace import Workspace

CODE = "flywheel_code"
ALWAYS = "looks at or changes something outside the pipeline: never from cache"


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
      Component to `inputs` (key and component that made it), `cache` (`hit` or `miss`), `why`, and
      `changed`: of a miss what is other than it was, where there was something to reuse.
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


def _cached(name: str, execution: Execution, others: list[tuple[str, Any]]) -> dict[str, Any]:
    if execution.state == "cached":
        source = _made_by(name, execution, others)
        where = f" as in run {source}" if source else " as in an earlier run"
        return {"cache": "hit", "why": f"same inputs, settings and code{where}", "changed": []}
    if name == "Pusher":
        return {"cache": "miss", "why": ALWAYS, "changed": []}
    other, theirs = _nearest(name, others)
    if theirs is None:
        known = any(name in e for _, e in others)
        why = "no earlier run got through it" if known else "no earlier run to reuse from"
        return {"cache": "miss", "why": why, "changed": []}
    changed = _changed(execution, theirs)
    new = [key for key, ids in execution.inputs.items() if ids != theirs.inputs.get(key)]
    inputs = [f"new {', '.join(f'`{key}`' for key in sorted(new))}"] if new else []
    what = "; ".join(changed + inputs) or "what it had made was gone"
    return {
        "cache": "miss",
        "why": f"{what} (against run {other})",
        "changed": changed or (["new inputs"] if new else ["what it had made was gone"]),
    }


def _made_by(name: str, execution: Execution, others: list[tuple[str, Any]]) -> str:
    same = [
        other
        for other, theirs in others
        if name in theirs
        and theirs[name].state == "complete"
        and set(theirs[name].outputs) & set(execution.outputs)
    ]
    return same[0] if same else ""


def _nearest(name: str, others: list[tuple[str, Any]]) -> tuple[str, Execution | None]:
    """The last run that got through a component, and how."""
    for run, executions in others:
        if name in executions and executions[name].state in ("complete", "cached"):
            return run, executions[name]
    return "", None


def _changed(mine: Execution, theirs: Execution) -> list[str]:
    """What of its own is other than it was: code, data, settings."""
    found = []
    if mine.properties.get(CODE) != theirs.properties.get(CODE):
        found.append("the code or a library changed")
    if mine.properties.get("fingerprint") != theirs.properties.get("fingerprint"):
        found.append("the data changed")
    for key in sorted(set(mine.properties) | set(theirs.properties)):
        a, b = theirs.properties.get(key), mine.properties.get(key)
        if key not in (CODE, "fingerprint") and a != b:
            found += [f"`{path}` {x} → {y}" for path, x, y in changes(a, b, key)][:3]
    return found


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
