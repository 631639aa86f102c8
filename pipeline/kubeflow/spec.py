"""What TFX's compiler leaves to be done on a PipelineSpec, edit by edit.

A spec here is a dict, as JSON would hold it. Each function takes care of one thing that
open-source Kubeflow Pipelines v2 refuses or silently does otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.kubeflow.options import ComponentOptions, gigabytes

Spec = dict[str, Any]

#: The argument in which every task gets the types of its inputs.
INPUTS_ARGUMENT = "--json_serialized_inputs_spec_args"
#: Input of tasks that always run: the run's id. The entrypoint keeps it from the component.
RUN_ID = "run_id"
#: What the backend replaces by the run's id, in a constant that is nothing else.
RUN_ID_PLACEHOLDER = "{{$.pipeline_job_uuid}}"
#: TFX's suffix of tasks that exec properties come from; the task has no such name.
_TASK_SUFFIX = "_task"


def executor_label(component: str) -> str:
    """TFX's name for how a component is run."""
    return f"{component}_executor"


def dags(spec: Spec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and component of every DAG: the root and what is nested."""
    yield "root", spec["root"]
    for name, component in spec.get("components", {}).items():
        if "dag" in component:
            yield name, component


def tasks(spec: Spec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and task, of every DAG."""
    for _, component in dags(spec):
        yield from component["dag"].get("tasks", {}).items()


def containers(spec: Spec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Label and container of every executor that is one."""
    for label, executor in spec["deploymentSpec"]["executors"].items():
        if "container" in executor:
            yield label, executor["container"]


def drop_lifecycle(spec: Spec) -> None:
    """The hook with ExampleGen's driver never runs; the entrypoint runs the driver instead."""
    for _, container in containers(spec):
        container.pop("lifecycle", None)


def mend_producers(spec: Spec) -> None:
    """Exec properties from other tasks name them with a suffix that they do not have."""
    known = {name for name, _ in tasks(spec)}
    for _, task in tasks(spec):
        for value in task.get("inputs", {}).get("parameters", {}).values():
            source = value.get("taskOutputParameter")
            if source and source["producerTask"] not in known:
                source["producerTask"] = source["producerTask"].removesuffix(_TASK_SUFFIX)


def set_defaults(spec: Spec, defaults: Mapping[str, str]) -> None:
    """Runtime parameters get their defaults, which TFX does not write."""
    parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in defaults.items():
        parameters[name]["defaultValue"] = value


def add_run_id(spec: Spec, component: str) -> None:
    """Tells a component its run.

    For components that are never cached: the id would be part of the cache's key.
    """
    inputs = spec["components"][component].setdefault("inputDefinitions", {})
    inputs.setdefault("parameters", {})[RUN_ID] = {"parameterType": "STRING"}
    for _, task in tasks(spec):
        if task["componentRef"]["name"] == component:
            task.setdefault("inputs", {}).setdefault("parameters", {})[RUN_ID] = {
                "runtimeValue": {"constant": RUN_ID_PLACEHOLDER}
            }


def add_entrypoint_flags(spec: Spec, *, lean: bool) -> None:
    """Tells every task its own name, for what it says when it fails.

    Args:
      spec: Is changed.
      lean: Whether tasks may leave out what only Beam needs of TFX's imports.
    """
    for name, component in spec["components"].items():
        executor = spec["deploymentSpec"]["executors"].get(component.get("executorLabel"), {})
        arguments = executor.get("container", {}).get("args", [])
        if INPUTS_ARGUMENT in arguments:
            place = arguments.index(INPUTS_ARGUMENT)
            arguments[place:place] = ["--component", name, *(["--lean"] if lean else [])]


def write_inputs_arguments(spec: Spec) -> None:
    """Brings the argument with the types of the inputs up to date."""
    for component in spec["components"].values():
        container = (
            spec["deploymentSpec"]["executors"]
            .get(component.get("executorLabel"), {})
            .get("container", {})
        )
        arguments = container.get("args", [])
        if INPUTS_ARGUMENT in arguments:
            place = arguments.index(INPUTS_ARGUMENT) + 1
            arguments[place] = json.dumps(component.get("inputDefinitions", {}), sort_keys=True)


def set_caching(task: dict[str, Any], caching: bool) -> None:
    """Says it in so many words: what is not said can be overridden when a run is started."""
    task["cachingOptions"] = {"enableCache": caching}


def set_retries(task: dict[str, Any], options: ComponentOptions) -> None:
    """How often, and with which waits, a failed task is tried again."""
    retries = options.retries
    if retries.count:
        task["retryPolicy"] = {
            "maxRetryCount": retries.count,
            "backoffDuration": f"{retries.wait_seconds}s",
            "backoffFactor": retries.factor,
            "backoffMaxDuration": f"{retries.most_seconds}s",
        }


def set_container(container: dict[str, Any], options: ComponentOptions) -> None:
    """Image, resources and environment, for any component (TFX takes them for some)."""
    if options.image:
        container["image"] = options.image
    resources: dict[str, Any] = container.get("resources", {})
    for key, cores in (("cpuLimit", options.cpu), ("cpuRequest", options.cpu_request)):
        if cores is not None:
            resources[key] = cores
    for key, amount in (
        ("memoryLimit", options.memory),
        ("memoryRequest", options.memory_request),
    ):
        if amount is not None:
            resources[key] = gigabytes(amount)
    if options.accelerator:
        # A 64-bit integer is a string in protobuf's JSON.
        resources["accelerator"] = {
            "type": options.accelerator.type,
            "count": str(options.accelerator.count),
        }
    if resources:
        container["resources"] = resources
    if options.env:
        container["env"] = [
            {"name": name, "value": value} for name, value in sorted(options.env.items())
        ]
