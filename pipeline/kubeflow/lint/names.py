"""Names that Kubernetes and Argo do not take."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.parsed import Parsed

_MOST = 128
_ARGO = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_PIPELINE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def check(parsed: Parsed) -> list[Finding]:
    """Pipeline, components and tasks."""
    return list(_check(parsed))


def _check(parsed: Parsed) -> Iterator[Finding]:
    name = parsed.spec.get("pipelineInfo", {}).get("name", "")
    if not _PIPELINE.fullmatch(name):
        yield Finding(
            "error",
            "BAD_PIPELINE_NAME",
            "pipelineInfo.name",
            f"The pipeline is called `{name}`; its name must be lower-case letters, digits, `-` "
            "and `.`, with a letter or digit first and last.",
            "Change `name` in the config.",
        )
    named = [(f"components.{c}", "component", c) for c in parsed.components]
    named += [(task.where, "task", task.name) for task in parsed.tasks()]
    for where, kind, name in named:
        if not _ARGO.fullmatch(name):
            why = "its name must be letters, digits and `-`, the first one no `-`"
        elif len(name) > _MOST:
            why = f"its name has {len(name)} characters, {_MOST} at most are taken"
        else:
            continue
        yield Finding(
            "error",
            "BAD_NAME",
            where,
            f"The {kind} `{name}` cannot be part of an Argo workflow: {why}.",
            "In TFX: `component.with_id('…')`.",
        )
