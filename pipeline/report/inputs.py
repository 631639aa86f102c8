"""What a report is made from, read once: how the run ended and what its components left.

Anything may be missing (a blocked run has no model, a killed one no result) or
unreadable; neither is an error here.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import pathlib
import re
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.runs import Artifact, Run, RunStore, end_state, summarize
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

#: Component and output that hold each JSON file.
_FILES = {
    "validation": ("SchemaValidator", "anomalies", "verdict.json"),
    "training": ("Trainer", "model_run", "training.json"),
    "distillation": ("Distiller", "model_run", "distillation.json"),
    "variants": ("TFLiteQuantizer", "variants", "variants.json"),
    "trials": ("TFLiteQuantizer", "variants", "trials.json"),
    "evaluation": ("Evaluator", "evaluation", "verdict.json"),
    "pictures": ("Evaluator", "evaluation", "pictures.json"),
    "push": ("Pusher", "pushed_model", "push.json"),
}
#: Written only when something was pushed, or searched for, or when there are images.
_OPTIONAL = ("push.json", "trials.json", "pictures.json")
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Everything about one run.

    Attributes:
      result: The run's `result.json`, or what ML Metadata knows when there is none.
      run: Components and artifacts.
      config_text: The config as it was; empty when it is gone.
      problems: Files that should be there and cannot be read, in words.
    """

    result: dict[str, Any]
    run: Run
    config_text: str
    problems: list[str]

    @classmethod
    def read(cls, workspace: Workspace, run_id: str) -> Inputs:
        folder = workspace.run(run_id)
        run = RunStore(workspace).load(run_id)
        problems: list[str] = []
        try:
            result = folder.read_result()
        except (OSError, ValueError) as error:
            problems.append(f"result.json cannot be read ({error})")
            result = None
        if result is None:
            result = {"state": end_state(run), "run_id": run_id}
            try:
                result.update(summarize(run))
            except (OSError, ValueError, KeyError, TypeError):
                pass  # the unreadable file is named when its section is made
        try:
            config_text = folder.config.read_text("utf-8")
        except (OSError, ValueError):
            config_text = ""
        return cls(result, run, config_text, problems)

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The config as plain data; `{}` when it is gone."""
        try:
            data = yaml.safe_load(self.config_text)
        except yaml.YAMLError:
            return {}
        return data if isinstance(data, dict) else {}

    @functools.cached_property
    def files(self) -> dict[str, dict[str, Any]]:
        """`validation`, `training`, `distillation`, `variants`, `trials`, `evaluation`, `push`:
        what each component wrote; `{}` where it did not get that far."""
        return {name: self._json(*where) for name, where in _FILES.items()}

    @functools.cached_property
    def statistics(self) -> statistics_pb2.DatasetFeatureStatistics | None:
        """Of the train split; None when there are none."""
        from google.protobuf.message import DecodeError
        from tensorflow_metadata.proto.v0 import statistics_pb2

        artifact = self.artifact("StatisticsGen", "statistics")
        if artifact is None:
            return None
        path = pathlib.Path(artifact.uri, "Split-train", "FeatureStats.pb")
        try:
            found = statistics_pb2.DatasetFeatureStatisticsList.FromString(path.read_bytes())
        except (OSError, DecodeError) as error:
            self.problems.append(f"{path} cannot be read ({error})")
            return None
        return found.datasets[0] if found.datasets else None

    @property
    def state(self) -> str:
        return str(self.result.get("state", "failed"))

    @property
    def reasons(self) -> list[dict[str, Any]]:
        """Of the whole run, blocking ones first."""
        order = ("block", "warn", "info")
        reasons = [
            {"code": "", "message": "", "next": "", "cases": [], **r}
            for r in self.result.get("reasons") or []
            if isinstance(r, dict)
        ]
        return sorted(reasons, key=lambda r: order.index(severity_of(r)))

    @property
    def label(self) -> str:
        """The label column; empty when unknown."""
        task = self.config.get("task")
        return str(task.get("label", "")) if isinstance(task, dict) else ""

    @property
    def quality(self) -> str:
        """The metric that decides, by the task."""
        found = self.files["evaluation"].get("quality") or self.files["variants"].get(
            "primary_metric"
        )
        task = self.config.get("task")
        kind = task.get("type") if isinstance(task, dict) else None
        return found or {"multiclass": "accuracy", "regression": "r2"}.get(kind, "auc")

    @property
    def started(self) -> float | None:
        """Seconds since the epoch: as the id says, else as ML Metadata does."""
        stamp = _STAMP.match(self.run.id)
        if not stamp:
            return self.run.started or None
        year, month, day, hour, minute, second = (int(part) for part in stamp.groups())
        try:
            when = datetime.datetime(
                year, month, day, hour, minute, second, tzinfo=datetime.timezone.utc
            )
        except ValueError:
            return self.run.started or None
        return when.timestamp()

    def artifact(self, component: str, key: str) -> Artifact | None:
        return self.run.artifact(component, key)

    def why_missing(self, component: str) -> str:
        """Why there is nothing of a component to show."""
        found = self.run.components.get(component)
        if found is None:
            failed = [c.name for c in self.run.components.values() if c.state == "failed"]
            if failed:
                return f"Not reached: the run ended in {failed[0]}, before {component}."
            return f"Not reached: {component} did not run."
        if found.state == "failed":
            return f"{component} failed, so there is nothing to show; the reason is at the top."
        if found.state == "running":
            return f"{component} had not ended when this was written."
        return f"{component} ended, and what it wrote is not where it was or cannot be read."

    def _json(self, component: str, key: str, name: str) -> dict[str, Any]:
        artifact = self.artifact(component, key)
        if artifact is None:
            return {}
        path = pathlib.Path(artifact.uri, name)
        try:
            data = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            if name not in _OPTIONAL:
                self.problems.append(f"{path} is gone")
            return {}
        except (OSError, ValueError) as error:
            self.problems.append(f"{path} cannot be read ({error})")
            return {}
        return data if isinstance(data, dict) else {}


def severity_of(reason: dict[str, Any]) -> str:
    """`block`, `warn` or `info`."""
    found = reason.get("severity")
    return found if found in ("block", "warn") else "info"


def cases_table(reason: dict[str, Any]) -> dict[str, Any]:
    """A reason's cases as columns and rows."""
    cases = [c for c in reason.get("cases") or [] if isinstance(c, dict)]
    names = list(dict.fromkeys(name for case in cases for name in case))
    return {"names": names, "rows": [[case.get(name) for name in names] for case in cases]}
