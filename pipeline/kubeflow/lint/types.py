"""Artifact types that the backend knows, and metadata that it can store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.parsed import Parsed

#: `namespace.Title`.
_TITLE = re.compile(r"[a-z][a-z0-9-_]{2,20}[.][A-Z][a-zA-Z0-9-_]{2,49}")


def check(parsed: Parsed) -> list[Finding]:
    """Every artifact of every component, and what importers write."""
    return list(_check(parsed))


def _check(parsed: Parsed) -> Iterator[Finding]:
    for name, component in parsed.components.items():
        for side in ("inputDefinitions", "outputDefinitions"):
            for key, definition in component.get(side, {}).get("artifacts", {}).items():
                where = f"components.{name}.{side}.artifacts.{key}"
                yield from _type(where, f"`{key}` of `{name}`", definition.get("artifactType", {}))
                yield from _metadata(where, f"`{key}` of `{name}`", definition.get("metadata", {}))
    for label, executor in parsed.executors.items():
        if "importer" in executor:
            where = f"deploymentSpec.executors.{label}.importer"
            importer = executor["importer"]
            yield from _type(where, f"What `{label}` imports", importer.get("typeSchema", {}))
            yield from _metadata(where, f"What `{label}` imports", importer.get("metadata", {}))


def _type(where: str, what: str, schema: dict[str, Any]) -> Iterator[Finding]:
    title = schema.get("schemaTitle", "")
    if "instanceSchema" in schema:
        try:
            title = (yaml.safe_load(schema["instanceSchema"]) or {}).get("title", "")
        except (yaml.YAMLError, AttributeError):
            title = ""
    if "schemaUri" in schema:
        return
    if not _TITLE.fullmatch(str(title)):
        yield Finding(
            "error",
            "BAD_ARTIFACT_TYPE",
            where,
            f"{what} is of type `{title or 'none'}`; a type is called `namespace.Title`, as "
            "tfx.Model is.",
            "Set TYPE_NAME of the artifact class accordingly; the class must be importable in the "
            "image under that name.",
        )


def _metadata(where: str, what: str, metadata: dict[str, Any]) -> Iterator[Finding]:
    for key, value in metadata.items():
        if value is None:
            yield Finding(
                "error",
                "NULL_METADATA",
                f"{where}.metadata.{key}",
                f"{what} has `{key}: null` in its metadata, which the backend cannot store.",
                "Leave the key out.",
            )
