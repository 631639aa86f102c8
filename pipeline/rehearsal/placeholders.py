"""Command lines of tasks: every `{{$…}}` replaced as the backend replaces it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.rehearsal.backends import local_path
from pipeline.rehearsal.values import TaskError, to_json, to_text

_WHOLE = "{{$}}"
_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['(.+?)'\]\}\}")
_CONDITION = '{"IfPresent":'


def command_line(
    container: Mapping[str, Any],
    executor_input: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> list[str]:
    """The command and its arguments as they are started.

    First the driver's part (conditions on inputs that may be missing, input parameters), then the
    launcher's (the whole executor input, artifacts, outputs, and defaults of the component).

    Args:
      container: The executor's container: `command`, `args`.
      executor_input: As the driver made it.
      defaults: Default values of the component's input parameters.

    Raises:
      TaskError: NO_COMMAND, UNKNOWN_PARAMETER.
    """
    parameters = executor_input.get("inputs", {}).get("parameterValues", {})
    known = {**(defaults or {}), **parameters}
    words: list[str] = []
    for template in (*container.get("command", ()), *container.get("args", ())):
        words += _by_driver(template, known, parameters)
    if not words:
        raise TaskError(
            "NO_COMMAND",
            "The task's container has neither `command` nor `args`. The backend replaces the "
            "image's entry point by its launcher, and the launcher has nothing to start.",
            next="Write the command into the component.",
        )
    completed = with_defaults(executor_input, defaults)
    table = {_WHOLE: to_json(completed), **_launcher_table(completed)}
    return [_replaced(word, table) for word in words]


def with_defaults(
    executor_input: Mapping[str, Any], defaults: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The executor input as the task sees it: inputs without a value have their default."""
    inputs = dict(executor_input.get("inputs", {}))
    values = {**(defaults or {}), **inputs.get("parameterValues", {})}
    if values:
        inputs["parameterValues"] = values
    return {**executor_input, "inputs": inputs}


def _by_driver(template: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    if "$.outputs" in template:
        return [template]
    if not template.strip().startswith(_CONDITION):
        return [_with_parameters(template, known)]
    condition = json.loads(template)["IfPresent"]
    present = given.get(condition["InputName"]) is not None
    branch = condition.get("Then") if present else condition.get("Else")
    branch = [] if branch is None else [branch] if isinstance(branch, str) else branch
    return [_with_parameters(word, known) for word in branch]


def _with_parameters(template: str, known: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise TaskError(
                "UNKNOWN_PARAMETER",
                f"The command line asks for the input parameter `{match[1]}`, and the task gets "
                "none of that name.",
                next="Give the parameter a value or a default.",
            )
        return to_text(known[match[1]])

    return _PARAMETER.sub(value, template)


def _launcher_table(executor_input: Mapping[str, Any]) -> dict[str, str]:
    """Placeholder to what it stands for."""
    table = {}
    for side in ("inputs", "outputs"):
        for name, found in executor_input.get(side, {}).get("artifacts", {}).items():
            if not found["artifacts"]:
                continue
            artifact = found["artifacts"][0]
            table[f"{{{{$.{side}.artifacts['{name}'].uri}}}}"] = artifact["uri"]
            path = artifact.get("customPath") or local_path(artifact["uri"])
            if path:
                table[f"{{{{$.{side}.artifacts['{name}'].path}}}}"] = path
    for name, value in executor_input.get("inputs", {}).get("parameterValues", {}).items():
        table[f"{{{{$.inputs.parameters['{name}']}}}}"] = to_text(value)
    for name, output in executor_input.get("outputs", {}).get("parameters", {}).items():
        table[f"{{{{$.outputs.parameters['{name}'].output_file}}}}"] = output["outputFile"]
    return table


def _replaced(word: str, table: Mapping[str, str]) -> str:
    if "{{$" not in word:
        return word
    pattern = "|".join(re.escape(key) for key in sorted(table, key=len, reverse=True))
    return re.sub(pattern, lambda match: table[match[0]], word)


def defaults_of(component: Mapping[str, Any]) -> dict[str, Any]:
    """Default values of a component's input parameters."""
    declared = component.get("inputDefinitions", {}).get("parameters", {})
    return {
        name: spec["defaultValue"]
        for name, spec in declared.items()
        if spec.get("defaultValue") is not None
    }


def first_word(words: Sequence[str], python: str) -> list[str]:
    """The same command with `python…`, wherever the image has it, as this Python."""
    name = words[0].rsplit("/", 1)[-1]
    if re.fullmatch(r"python3?(\.\d+)?", name):
        return [python, *words[1:]]
    return list(words)
