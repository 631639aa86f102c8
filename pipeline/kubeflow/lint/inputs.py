"""Whether every parameter of every task gets a value of its type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from models.text import did_you_mean
from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.parsed import Parsed, Task

_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['(.+?)'\]\}\}")
_TYPES: dict[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}
STATUS = "TASK_FINAL_STATUS"


def check(parsed: Parsed) -> list[Finding]:
    """Missing values, wrong types, final statuses where there are none."""
    return list(_check(parsed))


def _check(parsed: Parsed) -> Iterator[Finding]:
    root = parsed.spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    for name, definition in root.items():
        yield from _root(name, definition)
    for task in parsed.tasks():
        if task.component:
            yield from _task(task)


def _root(name: str, definition: dict[str, Any]) -> Iterator[Finding]:
    where, kind = f"root.inputDefinitions.parameters.{name}", definition.get("parameterType")
    if kind == STATUS:
        yield Finding(
            "error",
            "STATUS_AT_ROOT",
            where,
            f"The pipeline itself takes `{name}`, the final status of a task: nobody could pass "
            "it.",
            "Only an exit handler takes one.",
        )
    if kind is None:
        yield _untyped(where, name)
    if "defaultValue" in definition and not _fits(definition["defaultValue"], kind):
        yield _mismatch(where, name, kind, definition["defaultValue"])


def _task(task: Task) -> Iterator[Finding]:
    definitions = task.component.get("inputDefinitions", {}).get("parameters", {})
    given = task.spec.get("inputs", {}).get("parameters", {})
    iterator = task.spec.get("parameterIterator", {})
    items = {iterator.get("itemInput"), iterator.get("items", {}).get("inputParameter")}
    for name, definition in definitions.items():
        where, kind = f"{task.where}.inputs.parameters.{name}", definition.get("parameterType")
        if kind is None and "type" not in definition:
            yield _untyped(where, name)
        if name not in given:
            optional = definition.get("isOptional") or "defaultValue" in definition
            if not optional and name not in items:
                yield Finding(
                    "error",
                    "NO_VALUE",
                    where,
                    f"`{task.name}` gets no value for `{name}`, which has no default either.",
                    "Pass one, or give the parameter a default.",
                )
            continue
        value = given[name]
        if "taskFinalStatus" in value:
            if not task.is_exit_task or not task.spec.get("dependentTasks"):
                yield Finding(
                    "error",
                    "STATUS_OF_NOTHING",
                    where,
                    f"`{task.name}` asks how a task ended and is no exit handler: it would run "
                    "only after a success.",
                    "Set `triggerPolicy.strategy: ALL_UPSTREAM_TASKS_COMPLETED` and "
                    "`dependentTasks`.",
                )
        if "runtimeParameter" in value.get("runtimeValue", {}):
            yield Finding(
                "error",
                "OLD_PARAMETER",
                where,
                f"`{task.name}` takes `{name}` as a `runtimeParameter`, which Kubeflow Pipelines "
                "does not resolve.",
                "Use `componentInputParameter`; TFX does with `use_pipeline_spec_2_1=True`.",
            )
        if "constantValue" in value.get("runtimeValue", {}):
            yield Finding(
                "error",
                "OLD_CONSTANT",
                f"{task.where}.inputs.parameters",
                f"`{task.name}` writes its constants as `constantValue`, which Kubeflow Pipelines "
                "does not read.",
                "Use `constant`; TFX does with `use_pipeline_spec_2_1=True`.",
            )
        elif "constant" in value.get("runtimeValue", {}):
            constant = value["runtimeValue"]["constant"]
            if not _fits(constant, kind):
                yield _mismatch(where, name, kind, constant)
    yield from _command_line(task, set(definitions))


def _command_line(task: Task, known: set[str]) -> Iterator[Finding]:
    for word in (*task.container.get("command", ()), *task.container.get("args", ())):
        for name in _PLACEHOLDER.findall(word):
            if name not in known:
                yield Finding(
                    "error",
                    "NO_SUCH_INPUT",
                    f"{task.where}.componentRef",
                    f"The command line of `{task.name}` names an input `{name}`, which its "
                    f"component does not have.{did_you_mean(name, known)}",
                    "Declare it in `inputDefinitions.parameters`.",
                )


def _fits(value: Any, kind: str | None) -> bool:
    if value is None:
        return False
    if kind in _TYPES:
        if isinstance(value, bool):
            return kind == "BOOLEAN"
        return isinstance(value, _TYPES[kind])
    return True  # everything can be read as a string


def _mismatch(where: str, name: str, kind: str | None, value: Any) -> Finding:
    return Finding(
        "error",
        "WRONG_TYPE",
        where,
        f"`{name}` is of type {kind} and gets {json.dumps(value)[:60]}.",
        "Pass a value of that type; the backend converts to strings only.",
    )


def _untyped(where: str, name: str) -> Finding:
    return Finding(
        "error",
        "UNTYPED_PARAMETER",
        where,
        f"The parameter `{name}` has no type.",
        "Set `parameterType`.",
    )
