"""Past runs, read from ML Metadata and from what their artifacts hold.

Imports neither TensorFlow nor TFX: looking is light.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.workspace import Workspace

_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "complete",
    metadata_store_pb2.Execution.CACHED: "cached",
    metadata_store_pb2.Execution.FAILED: "failed",
    metadata_store_pb2.Execution.CANCELED: "failed",
    metadata_store_pb2.Execution.RUNNING: "running",
    metadata_store_pb2.Execution.NEW: "running",
}


@dataclasses.dataclass(frozen=True)
class Artifact:
    """An output of a component.

    Attributes:
      uri: Its folder.
      type: TFX type name.
      properties: Custom properties.
    """

    uri: str
    type: str
    properties: dict[str, Any]

    def json(self, name: str) -> dict[str, Any] | None:
        """A JSON file of the artifact; None when there is none."""
        try:
            return json.loads((pathlib.Path(self.uri) / name).read_text("utf-8"))
        except FileNotFoundError:
            return None


@dataclasses.dataclass(frozen=True)
class Component:
    """One component of one run.

    Attributes:
      name: Component id.
      state: `complete`, `cached`, `failed`, `running`.
      seconds: Between its first and last record in ML Metadata.
      outputs: Output key to artifact.
    """

    name: str
    state: str
    seconds: float
    outputs: dict[str, Artifact]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the pipeline.

    Attributes:
      id: Of the run.
      started: Seconds since the epoch.
      components: By component id, in order of execution.
    """

    id: str
    started: float
    components: dict[str, Component]

    def artifact(self, component: str, key: str) -> Artifact | None:
        """One output; None when the component did not get that far."""
        found = self.components.get(component)
        return found.outputs.get(key) if found else None

    def read(self, component: str, key: str, name: str) -> dict[str, Any]:
        """A JSON file of one output; `{}` when it is not there."""
        artifact = self.artifact(component, key)
        return (artifact.json(name) if artifact else None) or {}


class RunStore:
    """The runs of a workspace.

    Args:
      workspace: Where to look.
    """

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self._store: metadata_store.MetadataStore | None = None
        if workspace.metadata.exists():
            connection = metadata_store_pb2.ConnectionConfig()
            connection.sqlite.filename_uri = str(workspace.metadata)
            connection.sqlite.connection_mode = (
                metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
            )
            self._store = metadata_store.MetadataStore(connection)

    def load(self, run_id: str) -> Run:
        """One run; without components when ML Metadata does not know it (yet)."""
        context = (
            self._store.get_context_by_type_and_name("pipeline_run", run_id)
            if self._store
            else None
        )
        if context is None:
            return Run(run_id, 0.0, {})
        executions = sorted(self._store.get_executions_by_context(context.id), key=lambda e: e.id)
        artifacts = {a.id: a for a in self._store.get_artifacts_by_context(context.id)}
        events = self._store.get_events_by_execution_ids([e.id for e in executions])
        outputs: dict[int, dict[str, Artifact]] = {}
        for event in events:
            if event.type == metadata_store_pb2.Event.OUTPUT and event.artifact_id in artifacts:
                key = event.path.steps[0].key
                outputs.setdefault(event.execution_id, {})[key] = _artifact(
                    artifacts[event.artifact_id]
                )
        components = {}
        for execution in executions:
            name = execution.type.rsplit(".", 1)[-1]
            node = execution.name.rsplit(".", 1)[-1] if execution.name else name
            seconds = (
                execution.last_update_time_since_epoch - execution.create_time_since_epoch
            ) / 1000
            components[_node_id(execution, node)] = Component(
                _node_id(execution, node),
                _STATES.get(execution.last_known_state, "running"),
                seconds,
                outputs.get(execution.id, {}),
            )
        return Run(run_id, context.create_time_since_epoch / 1000, components)


def _node_id(execution: metadata_store_pb2.Execution, fallback: str) -> str:
    return execution.type.rsplit(".", 1)[-1] or fallback


def _artifact(artifact: metadata_store_pb2.Artifact) -> Artifact:
    return Artifact(
        artifact.uri,
        artifact.type,
        {k: getattr(v, v.WhichOneof("value")) for k, v in artifact.custom_properties.items()},
    )


def summarize(run: Run) -> dict[str, Any]:
    """What a run is about, as far as it got: the object `flywheel run --json` prints.

    `state`, `reasons`, `seconds.total` and `report` belong to whoever ran it and
    are not here.
    """
    validation = run.read("SchemaValidator", "anomalies", "verdict.json")
    evaluation = run.read("Evaluator", "evaluation", "verdict.json")
    variants = run.read("TFLiteQuantizer", "variants", "variants.json")
    push = run.read("Pusher", "pushed_model", "push.json")
    examples = run.artifact("ExampleGen", "examples")
    rows = examples.properties if examples else {}
    return {
        "run_id": run.id,
        "reasons": [
            reason for source in (validation, evaluation) for reason in source.get("reasons", [])
        ],
        "seconds": {"components": {c.name: round(c.seconds, 3) for c in run.components.values()}},
        "components": {c.name: c.state for c in run.components.values()},
        "rows": {
            split: int(rows[f"rows_{split}"])
            for split in ("train", "eval", "test")
            if f"rows_{split}" in rows
        },
        "metrics": evaluation.get("metrics", {}),
        "variants": variants.get("variants", []),
        "pushed": (
            {"version": push["version"], "path": push["path"], "new": push["new"]} if push else None
        ),
    }


def end_state(run: Run) -> str:
    """How a run ended, from its artifacts alone: `pushed`, `not_blessed`, `blocked_by_data`,
    `failed` or `running`."""
    states = {c.state for c in run.components.values()}
    if "failed" in states:
        gate = run.components.get("DataGate")
        return "blocked_by_data" if gate and gate.state == "failed" else "failed"
    pusher = run.components.get("Pusher")
    if not pusher or pusher.state not in ("complete", "cached"):
        return "running"
    pushed = run.artifact("Pusher", "pushed_model")
    return "pushed" if pushed and pushed.properties.get("pushed") == 1 else "not_blessed"


def artifact_bytes(run: Run) -> int:
    """Bytes on disk of all artifacts of the run."""
    total = 0
    for component in run.components.values():
        for artifact in component.outputs.values():
            for folder, _, files in os.walk(artifact.uri):
                total += sum(os.path.getsize(os.path.join(folder, f)) for f in files)
    return total
