"""How a rehearsal ended: the same summary as that of a run on this machine."""

from __future__ import annotations

import pathlib
from typing import Any

from models.errors import FlywheelError
from pipeline.rehearsal.backends import local_path
from pipeline.rehearsal.executions import CACHED, FAILED, GOOD, SUCCEEDED, Dag, Execution
from pipeline.rehearsal.store import ObjectStore
from pipeline.runs import Artifact, Component, Run, end_state, summarize

_STATES = {SUCCEEDED: "complete", CACHED: "cached", FAILED: "failed"}
#: The tasks whose artifacts tell the verdict of one of Flywheel's pipelines.
_OURS = {"SchemaValidator", "Evaluator", "Pusher"}


def outcome(
    run_id: str,
    root: Dag,
    tasks: dict[str, Execution],
    problems: list[FlywheelError],
    store: ObjectStore,
    seconds: float,
) -> dict[str, Any]:
    """The object that `flywheel rehearse --json` ends with.

    `state` is that of `flywheel run` where the tasks are those of its pipeline, else `succeeded`
    or `failed`.

    Args:
      run_id: Of the run.
      root: The root DAG, done.
      tasks: Path to execution of every task that started.
      problems: Why tasks failed.
      store: Where their artifacts are.
      seconds: All in all.
    """
    run = Run(run_id, 0.0, {e.name: _component(e, store) for e in tasks.values()})
    summary = summarize(run)
    reasons = summary["reasons"]
    known = {(reason["code"], reason["message"]) for reason in reasons}
    for problem in problems:
        own = getattr(problem, "reasons", (problem.reason,))
        reasons += [r.to_dict() for r in own if (r.code, r.message) not in known]
    return {
        **summary,
        "state": _state(run, root, problems),
        "seconds": {"total": round(seconds, 3), **summary["seconds"]},
        "report": None,
        "tasks": [
            {
                "task": path,
                "state": execution.state,
                "seconds": execution.seconds,
                "attempts": execution.attempts,
            }
            for path, execution in tasks.items()
        ],
    }


def _state(run: Run, root: Dag, problems: list[FlywheelError]) -> str:
    ours = _OURS <= set(run.components)
    if root.state in GOOD:
        return end_state(run) if ours else "succeeded"
    return next((p.state for p in problems if p.state != "failed"), "failed")


def _component(execution: Execution, store: ObjectStore) -> Component:
    outputs = {}
    for name, artifact in execution.artifacts.items():
        known = local_path(artifact["uri"]) is not None
        place = store.path(artifact["uri"]) if known else pathlib.Path("/nowhere")
        outputs[name] = Artifact(str(place), "", artifact["metadata"])
    return Component(
        execution.name,
        _STATES.get(execution.state, "running"),
        execution.seconds,
        outputs,
    )
