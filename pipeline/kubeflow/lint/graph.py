"""Whether the tasks can be put in an order, and what they refer to is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from models.text import did_you_mean
from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.parsed import Parsed, Task


def check(parsed: Parsed) -> list[Finding]:
    """Missing producers, unknown dependencies, cycles, DAGs with nothing to run."""
    return list(_check(parsed))


def _check(parsed: Parsed) -> Iterator[Finding]:
    if "dag" not in parsed.spec.get("root", {}):
        yield Finding(
            "error",
            "NO_ROOT",
            "root",
            "The pipeline has no root DAG: there is nothing to run.",
            "Compile it again.",
        )
    for name, component in parsed.dags():
        tasks = parsed.tasks_of(name)
        where = "root" if name == "root" else f"components.{name}"
        if all(task.is_exit_task for task in tasks.values()):
            yield Finding(
                "error",
                "EMPTY_DAG",
                f"{where}.dag",
                f"The DAG `{name}` has no task besides exit handlers; it would never run.",
                "Give it a task, or remove it.",
            )
        for task in tasks.values():
            yield from _sources(task, tasks)
        yield from _cycle(where, tasks)
        inputs = component.get("inputDefinitions", {})
        for kind in ("parameters", "artifacts"):
            yield from _from_parent(name, kind, inputs.get(kind, {}), tasks)


def producers(task: Task) -> Iterator[tuple[str, str, str, str]]:
    """Where a task's inputs come from: path of the input, kind, producing task, its output."""
    inputs = task.spec.get("inputs", {})
    for kind, key, output in (
        ("parameters", "taskOutputParameter", "outputParameterKey"),
        ("artifacts", "taskOutputArtifact", "outputArtifactKey"),
    ):
        for name, value in inputs.get(kind, {}).items():
            source = value.get(key)
            if source is not None:
                where = f"{task.where}.inputs.{kind}.{name}"
                yield where, kind, source.get("producerTask", ""), source.get(output, "")
    for name, value in inputs.get("parameters", {}).items():
        status = value.get("taskFinalStatus")
        if status is not None:
            yield f"{task.where}.inputs.parameters.{name}", "status", status["producerTask"], ""


def _sources(task: Task, tasks: Mapping[str, Task]) -> Iterator[Finding]:
    for where, kind, producer, output in producers(task):
        if producer not in tasks:
            hint = ""
            if producer.removesuffix("_task") in tasks:
                hint = f" TFX adds `_task` to the name of `{producer.removesuffix('_task')}`."
            yield Finding(
                "error",
                "NO_SUCH_PRODUCER",
                where,
                f"`{task.name}` takes an input from a task `{producer}`, and `{task.dag}` has no "
                f"such task.{hint or did_you_mean(producer, tasks)}",
                "Name a task of the same DAG.",
            )
            continue
        if kind == "status":
            continue
        outputs = tasks[producer].component.get("outputDefinitions", {}).get(kind, {})
        if tasks[producer].component and output not in outputs:
            yield Finding(
                "error",
                "NO_SUCH_OUTPUT",
                where,
                f"`{task.name}` takes `{output}` from `{producer}`, which has no such output."
                f"{did_you_mean(output, outputs)}",
                f"Its outputs are: {', '.join(outputs) or 'none'}.",
            )
    for dependency in task.spec.get("dependentTasks", ()):
        if dependency not in tasks:
            yield Finding(
                "error",
                "NO_SUCH_TASK",
                f"{task.where}.dependentTasks",
                f"`{task.name}` waits for a task `{dependency}`, and `{task.dag}` has no such task."
                f"{did_you_mean(dependency, tasks)}",
                "Name a task of the same DAG.",
            )


def _cycle(where: str, tasks: Mapping[str, Task]) -> Iterator[Finding]:
    waits = {
        name: {
            *task.spec.get("dependentTasks", ()),
            *(producer for _, _, producer, _ in producers(task)),
        }
        & set(tasks)
        for name, task in tasks.items()
    }
    while ready := [name for name, others in waits.items() if not others]:
        for name in ready:
            del waits[name]
        for others in waits.values():
            others.difference_update(ready)
    if waits:
        yield Finding(
            "error",
            "CYCLE",
            f"{where}.dag.tasks",
            f"These tasks wait for each other: {', '.join(sorted(waits))}.",
            "Remove one of the dependencies.",
        )


def _from_parent(
    dag: str, kind: str, known: Mapping[str, object], tasks: Mapping[str, Task]
) -> Iterator[Finding]:
    key = {"parameters": "componentInputParameter", "artifacts": "componentInputArtifact"}[kind]
    for task in tasks.values():
        for name, value in task.spec.get("inputs", {}).get(kind, {}).items():
            wanted = value.get(key)
            if wanted is not None and wanted not in known:
                yield Finding(
                    "error",
                    "NO_SUCH_PARAMETER",
                    f"{task.where}.inputs.{kind}.{name}",
                    f"`{task.name}` takes `{wanted}` from the inputs of `{dag}`, which has no such "
                    f"input.{did_you_mean(wanted, known)}",
                    "A nested DAG sees only what its own task hands down.",
                )
