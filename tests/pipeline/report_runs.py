"""Small runs as the pipeline leaves them: ML Metadata, artifacts, `result.json`."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import yaml
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from models.errors import Reason
from pipeline.report.page import write_report
from pipeline.runs import RunStore, end_state, summarize
from pipeline.workspace import Workspace
from tests.pipeline import report_dom
from tests.pipeline import report_files as files
from tests.pipeline.report_files import ROWS, Names
from tests.pipeline.report_statistics import make_statistics

COMPONENTS = {
    "ExampleGen": "custom_components.example_gen.component.ExampleGen",
    "StatisticsGen": "custom_components.statistics_gen.component.StatisticsGen",
    "SchemaGen": "tfx.components.schema_gen.component.SchemaGen",
    "DeployedModel": "custom_components.deployed_model.component.DeployedModel",
    "SchemaValidator": "custom_components.schema_validator.component.SchemaValidator",
    "DataGate": "custom_components.data_gate.component.DataGate",
    "Trainer": "custom_components.trainer.component.Trainer",
    "Distiller": "custom_components.distiller.component.Distiller",
    "TFLiteQuantizer": "custom_components.tflite_quantizer.component.TFLiteQuantizer",
    "Evaluator": "custom_components.evaluator.component.Evaluator",
    "Pusher": "custom_components.pusher.component.Pusher",
}
_STATES = {
    "complete": mlmd.Execution.COMPLETE,
    "cached": mlmd.Execution.CACHED,
    "failed": mlmd.Execution.FAILED,
    "running": mlmd.Execution.RUNNING,
}
STATES = ("pushed", "not_blessed", "blocked_by_data", "failed", "running")
RUN_ID = "20260301-123005-ab12"


class MadeRun:
    """A workspace with one run, written piece by piece.

    Args:
      root: Of the workspace.
      run_id: Of the run.
    """

    def __init__(self, root: pathlib.Path, run_id: str = RUN_ID):
        self.workspace = Workspace(root)
        self.folder = self.workspace.run(run_id)
        self.folder.path.mkdir(parents=True)
        connection = mlmd.ConnectionConfig()
        connection.sqlite.filename_uri = str(self.workspace.metadata)
        connection.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self._store = metadata_store.MetadataStore(connection)
        kind = self._store.put_context_type(mlmd.ContextType(name="pipeline_run"))
        [self._context] = self._store.put_contexts([mlmd.Context(type_id=kind, name=run_id)])

    def component(
        self, name: str, state: str = "complete", **outputs: tuple[dict[str, Any], dict[str, Any]]
    ) -> None:
        """Records a component.

        Args:
          name: Component id.
          state: As `pipeline.runs` calls it.
          **outputs: Output key to (file name to content, custom properties); content is
            text, bytes, or what is written as JSON.
        """
        kind = self._store.put_execution_type(mlmd.ExecutionType(name=COMPONENTS[name]))
        execution = mlmd.Execution(type_id=kind, last_known_state=_STATES[state])
        pairs = []
        for key, (contents, properties) in outputs.items():
            uri = self.workspace.artifacts / name / key / "1"
            for file, content in contents.items():
                write(uri / file, content)
            artifact_type = self._store.put_artifact_type(mlmd.ArtifactType(name=f"{name}.{key}"))
            artifact = mlmd.Artifact(type_id=artifact_type, uri=str(uri))
            for property_name, value in properties.items():
                holder = artifact.custom_properties[property_name]
                setattr(holder, "int_value" if isinstance(value, int) else "string_value", value)
            event = mlmd.Event(type=mlmd.Event.OUTPUT)
            event.path.steps.add().key = key
            event.path.steps.add().index = 0
            pairs.append((artifact, event))
        self._store.put_execution(execution, pairs, self._store.get_contexts_by_id([self._context]))

    def path(self, component: str, key: str, file: str) -> pathlib.Path:
        return self.workspace.artifacts / component / key / "1" / file

    def finish(self, state: str | None = None, reasons: tuple[Reason, ...] = ()) -> dict[str, Any]:
        """Writes `result.json` as the worker does."""
        loaded = RunStore(self.workspace).load(self.folder.id)
        result = {
            "state": state or end_state(loaded),
            **summarize(loaded),
            "report": str(self.folder.report),
            "log": str(self.folder.log),
        }
        result["seconds"]["total"] = 86.155
        known = {(r["code"], r["message"]) for r in result["reasons"]}
        result["reasons"] += [r.to_dict() for r in reasons if (r.code, r.message) not in known]
        self.folder.write_result(result)
        return result


def write(path: pathlib.Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def make_run(
    root: pathlib.Path,
    state: str = "pushed",
    *,
    task: str = "binary",
    champion: bool = False,
    names: Names | None = None,
    features: int = 0,
) -> MadeRun:
    """A whole run that ended so.

    Args:
      root: Of the workspace.
      state: `pushed`, `not_blessed`, `blocked_by_data`, `failed`, `running`.
      task: Kind of problem.
      champion: Whether a version was deployed before.
      names: What columns and values are called.
      features: How many more numeric columns.
    """
    names = names or Names()
    if task == "multiclass" and len(names.classes) < 3:
        names = dataclasses.replace(names, classes=("setosa", "versicolor", "virginica"))
    made = MadeRun(root)
    more = [f"more_{number:03}" for number in range(features)]
    settings = files.config(task, names, more)
    write(made.folder.config, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    before = {"present": int(champion), "version": files.CHAMPION if champion else ""}
    made.component("DeployedModel", model=({}, before))
    made.component(
        "ExampleGen",
        examples=(
            {},
            {
                "rows_read": sum(ROWS.values()),
                **{f"rows_{split}": n for split, n in ROWS.items()},
                "fingerprint": "e01d65995c5a70c1fb26e48d2b",
            },
        ),
    )
    made.component(
        "StatisticsGen",
        statistics=({"Split-train/FeatureStats.pb": make_statistics(task, names, more)}, {}),
    )
    made.component("SchemaGen", "cached", schema=({}, {}))
    anomalies = files.validation_verdict(names, champion, blocked=state == "blocked_by_data")
    made.component("SchemaValidator", anomalies=({"verdict.json": anomalies.to_json()}, {}))
    if state == "blocked_by_data":
        made.component("DataGate", "failed")
        made.finish(state)
        return made
    made.component("DataGate")
    made.component("Trainer", model_run=({"training.json": files.training(task, names)}, {}))
    if state == "failed":
        made.component("Distiller", "failed")
        made.finish(
            state,
            (
                Reason(
                    "COMPONENT_FAILED",
                    f"ValueError: {names.message}",
                    next="The full story is in the log.",
                    severity="block",
                ),
            ),
        )
        return made
    made.component("Distiller", model_run=({"distillation.json": files.distillation(task)}, {}))
    made.component(
        "TFLiteQuantizer", variants=({"variants.json": files.variants(task)}, {}), chosen=({}, {})
    )
    if state == "running":
        made.component("Evaluator", "running")
        return made
    verdict = files.evaluation_verdict(task, names, champion, blessed=state == "pushed")
    made.component("Evaluator", evaluation=({"verdict.json": verdict.to_json()}, {}))
    push = {
        "version": names.version,
        "path": f"/deployed/versions/{names.version}",
        "new": True,
        "previous": files.CHAMPION if champion else None,
    }
    made.component(
        "Pusher",
        pushed_model=(
            {"push.json": push} if state == "pushed" else {},
            {"pushed": int(state == "pushed")},
        ),
    )
    made.finish()
    return made


def report_of(made: MadeRun) -> report_dom.Node:
    """Writes the report where the worker does, and reads it back."""
    write_report(made.workspace, RUN_ID, made.folder.report)
    return report_dom.parse(made.folder.report.read_text("utf-8"))
