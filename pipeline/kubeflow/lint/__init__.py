"""Says in plain words what a backend would refuse in a compiled pipeline, before it is asked.

The rules are those of open-source Kubeflow Pipelines v2: its API server (does the file parse?), its
compiler to Argo (can it be a workflow?), its driver (can every input be resolved?) and what its
launcher does to a task's files. For Vertex the rules that hold only there, or do not, are left out.
"""

from __future__ import annotations

from typing import Literal

from pipeline.kubeflow.document import Document
from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint import (
    caches,
    executors,
    graph,
    inputs,
    kubernetes,
    names,
    stores,
    types,
)
from pipeline.kubeflow.lint.form import form
from pipeline.kubeflow.lint.parsed import parse

#: Vertex runs these, or does so differently.
_NOT_ON_VERTEX = {
    "WRAPPED",
    "SCHEMA_VERSION",
    "RESOLVER",
    "CUSTOM_JOB",
    "LIFECYCLE",
    "STOCK_ENTRYPOINT",
    "NO_INPUT_TYPES",
    "BAD_NAME",
    "NO_PIPELINE_ROOT",
}
_RULES = (
    graph.check,
    executors.check,
    inputs.check,
    names.check,
    types.check,
    caches.check,
    stores.check,
    kubernetes.check,
)


def lint(document: Document, target: Literal["kfp", "vertex"] = "kfp") -> list[Finding]:
    """Checks a compiled pipeline.

    Args:
      document: As read; of any compiler.
      target: Who shall run it.

    Returns:
      Errors first. Empty when nothing is wrong.
    """
    findings = form(document, target)
    parsed, problems = parse(document)
    findings += problems
    if parsed is not None:
        for rule in _RULES:
            findings += rule(parsed)
    if target == "vertex":
        findings = [f for f in findings if f.code not in _NOT_ON_VERTEX]
    return sorted(set(findings), key=lambda f: (f.severity, f.code, f.where))
