"""The compiled pipeline that is rehearsed, checked as the backend checks it on submission."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from models.errors import ConfigError
from models.text import did_you_mean
from pipeline.kubeflow import document
from pipeline.rehearsal.backends import BACKENDS, KFP, VERTEX, Backend
from pipeline.rehearsal.values import TaskError, checked, from_text, to_json

_SCHEMA = "2.1.0"
#: Executors no rehearsal runs, and why.
_REFUSED = {
    "resolver": "a resolver. Kubeflow Pipelines has none: it refuses the pipeline when it is "
    "submitted",
    "customJob": "a custom job, which only Google Cloud runs",
}
#: Findings of the linter that keep a run from starting. Of what would only fail on the way, the
#: rehearsal shows how it does.
_AT_SUBMISSION = {
    "BAD_NAME",
    "BAD_PIPELINE_NAME",
    "CONDITIONAL_IMPORTER",
    "CYCLE",
    "EMPTY_DAG",
    "NO_IMAGE",
    "NO_ROOT",
    "NO_SUCH_TASK",
    "TOO_LARGE",
    "UNPARSEABLE",
}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """One pipeline to rehearse.

    Attributes:
      name: Of the pipeline.
      backend: Whose rules hold.
      spec: The PipelineSpec, as JSON holds it.
      kubernetes: Executor's label to its platform spec.
      root: Where artifacts go: `minio://bucket/folder`.
      parameters: Of the root DAG, with defaults; null where an optional one has no value.
    """

    name: str
    backend: Backend
    spec: dict[str, Any]
    kubernetes: dict[str, dict[str, Any]]
    root: str
    parameters: dict[str, Any]

    @property
    def key(self) -> str:
        """The same for the same pipeline with the same inputs."""
        content = to_json(
            [self.backend.name, self.spec, self.kubernetes, self.root, self.parameters]
        )
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def component(self, name: str) -> dict[str, Any]:
        """A component's spec."""
        return self.spec["components"][name]

    def executor(self, label: str) -> dict[str, Any]:
        """An executor's spec."""
        return self.spec["deploymentSpec"]["executors"][label]

    def images(self) -> set[str]:
        """Images of all tasks."""
        executors = self.spec.get("deploymentSpec", {}).get("executors", {}).values()
        return {e["container"]["image"] for e in executors if "container" in e}


def load(
    path: pathlib.Path,
    *,
    backend: str | None = None,
    root: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Compiled:
    """Reads a compiled pipeline and what it is to be run with.

    Args:
      path: PipelineSpec in YAML (a second document with platforms may follow), or a PipelineJob.
      backend: `kfp` or `vertex`. Default: Vertex for a PipelineJob.
      root: Pipeline root instead of the file's.
      parameters: Name to text, parsed by the type that the pipeline declares.

    Raises:
      ConfigError: for everything a backend would refuse before the first task.
    """
    found = document.read(path)
    rules = BACKENDS[backend] if backend else VERTEX if found.job is not None else KFP
    spec, where = found.pipeline, f"`{path}`"
    _check_parses(spec, where)
    _check_version(spec, where, rules)
    _check_tasks(spec, where)
    _check_submission(found, where, rules)
    runtime = (found.job or {}).get("runtimeConfig", {})
    chosen = root or runtime.get("gcsOutputDirectory") or spec.get("defaultPipelineRoot", "")
    if not chosen.startswith(rules.schemes):
        raise ConfigError(
            "PIPELINE_ROOT",
            f"The pipeline root {chosen!r} is not one that {rules.name} can use."
            if chosen
            else f"{where} names no pipeline root.",
            next=f"Name one with `--root`: {', '.join(rules.schemes)}…",
        )
    return Compiled(
        name=spec["pipelineInfo"]["name"],
        backend=rules,
        spec=spec,
        kubernetes=found.kubernetes,
        root=chosen.rstrip("/"),
        parameters=_parameters(spec, runtime.get("parameterValues", {}), parameters or {}, where),
    )


def _check_parses(spec: dict[str, Any], where: str) -> None:
    """Against the real messages, in which nothing unknown is allowed."""
    from pipeline.kubeflow.lint import protos

    try:
        protos.strict("pipeline_spec", spec)
        protos.strict("deployment", spec.get("deploymentSpec", {}))
    except protos.ParseError as error:
        raise _refused("UNPARSEABLE", f"{where} is no PipelineSpec: {error}") from None
    if not spec.get("pipelineInfo", {}).get("name"):
        raise _refused("NO_NAME", f"{where} has no `pipelineInfo.name`.")


def _check_version(spec: Mapping[str, Any], where: str, backend: Backend) -> None:
    if backend is KFP and spec.get("schemaVersion") != _SCHEMA:
        raise _refused(
            "SCHEMA_VERSION",
            f"{where} is of schema version {spec.get('schemaVersion')!r}; Kubeflow Pipelines reads "
            f"{_SCHEMA}.",
        )


def _check_tasks(spec: Mapping[str, Any], where: str) -> None:
    """That every task has a component, and every component something that runs."""
    components = spec.get("components", {})
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    for owner, component in {"root": spec.get("root", {}), **components}.items():
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            used = task.get("componentRef", {}).get("name", "")
            if used not in components:
                raise _refused(
                    "NO_COMPONENT",
                    f"In {where}, task `{name}` uses component `{used}`, which is "
                    f"not there.{did_you_mean(used, components)}",
                )
            if "artifactIterator" in task:
                raise _refused(
                    "ARTIFACT_ITERATOR",
                    f"In {where}, task `{name}` iterates over "
                    "artifacts, which no open-source backend does.",
                )
        if "dag" not in component:
            label = component.get("executorLabel", "")
            if label not in executors:
                raise _refused(
                    "NO_EXECUTOR",
                    f"In {where}, component `{owner}` names the executor "
                    f"{label!r}, which is not there.{did_you_mean(label, executors)}",
                )
            for kind, what in _REFUSED.items():
                if kind in executors[label]:
                    raise _refused(
                        "UNSUPPORTED_EXECUTOR", f"In {where}, the executor of `{owner}` is {what}."
                    )


def _check_submission(found: document.Document, where: str, backend: Backend) -> None:
    """What else the backend says no to when the file is submitted, by the linter's rules."""
    from pipeline.kubeflow.lint import lint

    target = "vertex" if backend is VERTEX else "kfp"
    findings = [f for f in lint(found, target) if f.code in _AT_SUBMISSION]
    if findings:
        raise ConfigError(
            findings[0].code,
            f"The backend would refuse {where}: " + " ".join(f.message for f in findings),
            next=findings[0].next,
            cases=[f.to_dict() for f in findings],
        )


def _parameters(
    spec: Mapping[str, Any],
    runtime: Mapping[str, Any],
    given: Mapping[str, str],
    where: str,
) -> dict[str, Any]:
    declared = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    for name in (*runtime, *given):
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise ConfigError(
                "UNKNOWN_PARAMETER",
                f"{where} has no parameter `{name}`.{did_you_mean(name, declared)}",
                next=f"It has: {known}.",
            )
    values: dict[str, Any] = {}
    for name, spec_ in declared.items():
        kind = spec_.get("parameterType", "STRING")
        try:
            if name in given:
                values[name] = from_text(given[name], kind)
            elif name in runtime:
                values[name] = checked(name, runtime[name], kind)
            elif spec_.get("defaultValue") is not None:
                values[name] = spec_["defaultValue"]
            elif spec_.get("isOptional"):
                values[name] = None
            else:
                raise ConfigError(
                    "NO_PARAMETER",
                    f"The parameter `{name}` of {where} has neither a value nor a default.",
                    next=f"Give it one: `--parameter {name}=…`.",
                )
        except (ValueError, TaskError) as error:
            raise ConfigError(
                "WRONG_PARAMETER", f"The parameter `{name}` of {where} is a {kind}: {error}"
            ) from None
    return values


def _refused(code: str, message: str) -> ConfigError:
    return ConfigError(
        code, message, next="`flywheel compile --lint FILE` names everything a backend refuses."
    )


def parse_parameters(pairs: list[str]) -> dict[str, str]:
    """`["n=3"]` as `{"n": "3"}`.

    Raises:
      ConfigError: WRONG_PARAMETER.
    """
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError(
                "WRONG_PARAMETER",
                f"`--parameter {pair}` is not of the form NAME=VALUE.",
                next="Lists and structs are written as JSON.",
            )
        values[name] = text
    return values


def describe(compiled: Compiled) -> str:
    """What decides the run, for its folder."""
    return json.dumps(
        {
            "pipeline": compiled.name,
            "backend": compiled.backend.name,
            "root": compiled.root,
            "parameters": compiled.parameters,
            "key": compiled.key,
        },
        indent=1,
    )
