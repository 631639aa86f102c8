"""What a task gets: the part of the backend that runs before the task's container does."""

from __future__ import annotations

import dataclasses
import json
import posixpath
import uuid
from typing import Any

from pipeline.rehearsal.artifacts import handed_over
from pipeline.rehearsal.backends import Backend, local_path
from pipeline.rehearsal.executions import FAILED, Dag, Execution
from pipeline.rehearsal.values import TaskError, checked, to_json

_NULL = object()


@dataclasses.dataclass(frozen=True)
class Job:
    """What every task of a run has in common.

    Attributes:
      backend: Whose rules hold.
      name: Of the pipeline.
      run_id: Of the run.
      root: Pipeline root.
      created: When the run began, RFC 3339.
    """

    backend: Backend
    name: str
    run_id: str
    root: str
    created: str

    @property
    def task_root(self) -> str:
        """Under which every task of the run has a folder."""
        return f"{self.root}/{self.name}/{self.run_id}"


@dataclasses.dataclass
class Inputs:
    """A task's inputs.

    Attributes:
      parameters: By name.
      artifacts: By name, as recorded.
      through_dag: Artifacts that came in through the enclosing DAG.
    """

    parameters: dict[str, Any]
    artifacts: dict[str, list[dict[str, Any]]]
    through_dag: set[str]

    def for_executor(self, backend: Backend) -> dict[str, Any]:
        """The inputs of an ExecutorInput."""
        result: dict[str, Any] = {}
        if self.parameters:
            result["parameterValues"] = self.parameters
        if self.artifacts:
            result["artifacts"] = {
                name: {
                    "artifacts": [
                        handed_over(item, backend, through_dag=name in self.through_dag)
                        for item in found
                    ]
                }
                for name, found in self.artifacts.items()
            }
        return result


def resolve(
    task_name: str, task: dict[str, Any], component: dict[str, Any], dag: Dag, job: Job
) -> Inputs:
    """Looks up everything a task asks for.

    Args:
      task_name: Its key in the DAG.
      task: Its PipelineTaskSpec.
      component: What it runs.
      dag: The DAG it is part of, as far as that has run.
      job: The run.

    Raises:
      TaskError: whatever the driver would fail with: PRODUCER_NOT_RUN, NO_OUTPUT,
        UNKNOWN_INPUT, PARAMETER_TYPE, NO_VALUE and the like.
    """
    declared = component.get("inputDefinitions", {}).get("parameters", {})
    parameters: dict[str, Any] = {}
    nulls: set[str] = set()
    if "dag" in component:
        for name, spec in declared.items():
            if name not in task.get("inputs", {}).get("parameters", {}) and spec.get("isOptional"):
                parameters[name] = spec.get("defaultValue")
                if parameters[name] is None:
                    nulls.add(name)
    for name, spec in task.get("inputs", {}).get("parameters", {}).items():
        value = _parameter(task_name, name, spec, task, dag, job)
        if value is _NULL:
            if not declared.get(name, {}).get("isOptional"):
                raise TaskError(
                    "NO_VALUE",
                    f"The pipeline's input for `{name}` of task `{task_name}` has no value, and "
                    "the task needs one.",
                    next="Give the parameter a value or a default.",
                )
            continue
        selector = spec.get("parameterExpressionSelector")
        parameters[name] = _selected(value, selector) if selector else value
    artifacts, through = {}, set()
    for name, spec in task.get("inputs", {}).get("artifacts", {}).items():
        if "componentInputArtifact" in spec:
            through.add(name)
        artifacts[name] = _artifacts(task_name, name, spec, dag)
    _check_types(task_name, task, declared, parameters, nulls)
    return Inputs(parameters, artifacts, through)


def _check_types(
    task_name: str,
    task: dict[str, Any],
    declared: dict[str, dict[str, Any]],
    parameters: dict[str, Any],
    nulls: set[str],
) -> None:
    """In place: strings become text; everything else must be what is declared."""
    iterator = task.get("parameterIterator", {})
    for name, spec in declared.items():
        if name == iterator.get("itemInput"):
            continue
        if name in parameters:
            if parameters[name] is None and name in nulls:
                continue
            parameters[name] = checked(name, parameters[name], spec.get("parameterType", ""))
        elif not spec.get("isOptional") and spec.get("defaultValue") is None:
            raise TaskError(
                "NO_VALUE",
                f"Task `{task_name}` gets no value for its parameter `{name}`, which is neither "
                "optional nor has a default.",
                next="Hand it over, or declare a default.",
            )


def _parameter(
    task_name: str, name: str, spec: dict[str, Any], task: dict[str, Any], dag: Dag, job: Job
) -> Any:
    if "componentInputParameter" in spec:
        source = spec["componentInputParameter"]
        if source not in dag.inputs:
            raise TaskError(
                "UNKNOWN_INPUT",
                f"Task `{task_name}` reads the input parameter `{source}` of `{dag.name}`, which "
                "has none of that name.",
            )
        return _NULL if dag.inputs[source] is None else dag.inputs[source]
    if "taskOutputParameter" in spec:
        source = spec["taskOutputParameter"]
        producer = _producer(task_name, source.get("producerTask", ""), dag)
        return producer.parameter(source["outputParameterKey"])
    if "runtimeValue" in spec:
        return _constant(task_name, name, spec["runtimeValue"], job)
    if "taskFinalStatus" in spec:
        return _final_status(task_name, task, dag, job)
    raise TaskError(
        "UNSUPPORTED_INPUT",
        f"The input `{name}` of task `{task_name}` comes from {next(iter(spec), 'nowhere')}, which "
        "the driver does not know.",
    )


def _constant(task_name: str, name: str, value: dict[str, Any], job: Job) -> Any:
    if "constant" not in value:
        raise TaskError(
            "UNSUPPORTED_INPUT",
            f"The input `{name}` of task `{task_name}` is a {next(iter(value), 'nothing')}; the "
            "driver knows constants only.",
            next="Compile with schema 2.1.0.",
        )
    constant = value["constant"]
    words = {
        "{{$.pipeline_job_name}}": job.name,
        "{{$.pipeline_job_resource_name}}": job.run_id,
        "{{$.pipeline_job_uuid}}": job.run_id,
        "{{$.pipeline_task_name}}": task_name,
        "{{$.pipeline_task_uuid}}": str(uuid.uuid5(uuid.NAMESPACE_OID, job.run_id + task_name)),
        "{{$.pipeline_job_create_time_utc}}": job.created,
        "{{$.pipeline_job_schedule_time_utc}}": job.created,
    }
    return words.get(constant, constant) if isinstance(constant, str) else constant


def _final_status(task_name: str, task: dict[str, Any], dag: Dag, job: Job) -> dict[str, Any]:
    """How the task ended that an exit handler waits for."""
    upstream = task.get("dependentTasks", ())
    if not upstream:
        raise TaskError(
            "NO_UPSTREAM", f"Task `{task_name}` wants a final status and depends on no task."
        )
    producer = _producer(task_name, upstream[0], dag)
    state = job.backend.succeeded
    if producer.state == FAILED:
        state = "FAILED" if producer.told else job.backend.untold
    return {
        "state": state,
        "pipelineJobResourceName": job.run_id,
        "pipelineTaskName": producer.name,
        "error": {},
    }


def _artifacts(task_name: str, name: str, spec: dict[str, Any], dag: Dag) -> list[dict[str, Any]]:
    if "componentInputArtifact" in spec:
        source = spec["componentInputArtifact"]
        if source not in dag.input_artifacts:
            raise TaskError(
                "UNKNOWN_INPUT",
                f"Task `{task_name}` reads the input artifact `{source}` of `{dag.name}`, which "
                "has none of that name.",
            )
        return dag.input_artifacts[source]
    if "taskOutputArtifact" in spec:
        source = spec["taskOutputArtifact"]
        producer = _producer(task_name, source.get("producerTask", ""), dag)
        return producer.artifact(source["outputArtifactKey"])
    raise TaskError(
        "UNSUPPORTED_INPUT",
        f"The input artifact `{name}` of task `{task_name}` comes from "
        f"{next(iter(spec), 'nowhere')}, which the driver does not know.",
    )


def _producer(task_name: str, producer: str, dag: Dag) -> Execution:
    if producer not in dag.tasks:
        exists = producer in dag.component.get("dag", {}).get("tasks", {})
        raise TaskError(
            "PRODUCER_NOT_RUN",
            f"Task `{task_name}` reads an output of `{producer}`, "
            + (
                "which has not run by then."
                if exists
                else f"and there is no such task in `{dag.name}`."
            ),
            next=f"Add `{producer}` to the task's `dependentTasks`." if exists else "",
        )
    return dag.tasks[producer]


def _selected(value: Any, selector: str) -> Any:
    """`parseJson(string_value)["key"]`, the selector that compilers write for struct fields."""
    head, _, rest = selector.partition("[")
    if head != "parseJson(string_value)" or not rest.endswith("]"):
        raise TaskError(
            "UNSUPPORTED_SELECTOR",
            f"The selector `{selector}` uses more of CEL than a rehearsal knows.",
        )
    found = json.loads(value) if isinstance(value, str) else value
    try:
        for key in rest[:-1].split("]["):
            found = found[json.loads(key.replace("'", '"'))]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise TaskError(
            "UNSUPPORTED_SELECTOR", f"The selector `{selector}` finds nothing: {error}."
        ) from None
    return found


def iteration_items(task: dict[str, Any], inputs: Inputs) -> list[Any]:
    """The items a task iterates over.

    Raises:
      TaskError: NOT_A_LIST.
    """
    spec = task["parameterIterator"]["items"]
    value = spec["raw"] if "raw" in spec else inputs.parameters.get(spec.get("inputParameter"))
    try:
        items = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        items = None
    if not isinstance(items, list):
        raise TaskError("NOT_A_LIST", f"{to_json(value)[:80]} cannot be iterated over.")
    return items


def provision(task_name: str, component: dict[str, Any], job: Job) -> dict[str, Any]:
    """Where a task puts its outputs: the outputs of an ExecutorInput.

    Every execution has a folder of its own, so what another one left is never in the way.
    """
    declared = component.get("outputDefinitions", {})
    folder = f"{job.task_root}/{task_name}/{uuid.uuid4()}"
    outputs: dict[str, Any] = {}
    for name, spec in declared.get("artifacts", {}).items():
        artifact = {"name": name, "uri": f"{folder}/{name}", "type": spec.get("artifactType", {})}
        if spec.get("metadata"):
            artifact["metadata"] = spec["metadata"]
        outputs.setdefault("artifacts", {})[name] = {"artifacts": [artifact]}
    for name in declared.get("parameters", {}):
        file = {"outputFile": f"/tmp/kfp/outputs/{name}"}
        outputs.setdefault("parameters", {})[name] = file
    local = local_path(folder)
    assert local is not None  # the root was checked on loading
    outputs["outputFile"] = posixpath.join(local, "output_metadata.json")
    return outputs
