"""Compiled pipelines as files: one or two YAML documents, or Vertex's JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any

import yaml

from models.errors import ConfigError

KUBERNETES = "kubernetes"


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and every occurrence of a list in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclasses.dataclass(frozen=True)
class Document:
    """A compiled pipeline.

    Attributes:
      pipeline: The PipelineSpec, as JSON would hold it.
      platform: The second document, `{"platforms": {"kubernetes": …}}`; None without one.
      job: Vertex's wrapper around the spec (`displayName`, `runtimeConfig`, `labels`), None for
        Kubeflow Pipelines.
    """

    pipeline: dict[str, Any]
    platform: dict[str, Any] | None = None
    job: dict[str, Any] | None = None

    @property
    def executors(self) -> dict[str, dict[str, Any]]:
        """Label to executor."""
        return self.pipeline.get("deploymentSpec", {}).get("executors", {})

    @property
    def kubernetes(self) -> dict[str, dict[str, Any]]:
        """Label of an executor to what only Kubernetes knows about it."""
        platforms = (self.platform or {}).get("platforms", {})
        return platforms.get(KUBERNETES, {}).get("deploymentSpec", {}).get("executors", {})

    def text(self) -> str:
        """The file's content; the same document is always the same text."""
        if self.job is not None:
            return json.dumps({**self.job, "pipelineSpec": self.pipeline}, indent=2, sort_keys=True)
        documents = [self.pipeline] if self.platform is None else [self.pipeline, self.platform]
        # Wide lines: folding would hide in a diff what has changed.
        return yaml.dump_all(
            documents, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=10_000
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the file in one step."""
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(self.text().rstrip("\n") + "\n", encoding="utf-8")
        temporary.replace(path)


def read(path: str | os.PathLike[str]) -> Document:
    """Reads a compiled pipeline, of this or any other compiler.

    A JSON file with a `pipelineSpec` is Vertex's form. Nothing is checked beyond that: see `lint`.

    Raises:
      ConfigError: NO_SUCH_SPEC, UNREADABLE_SPEC.
    """
    path = pathlib.Path(path)
    try:
        documents = [d for d in yaml.safe_load_all(path.read_text("utf-8")) if d is not None]
    except FileNotFoundError:
        raise ConfigError(
            "NO_SUCH_SPEC",
            f"There is no file `{path}`.",
            next=f"Compile one: `flywheel compile --target kfp -o {path}`.",
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise _unreadable(path, f"it is neither YAML nor JSON ({first})") from None
    if not documents or not all(isinstance(d, dict) for d in documents):
        raise _unreadable(path, "it does not hold an object")
    if "pipelineSpec" in documents[0]:
        job = {key: value for key, value in documents[0].items() if key != "pipelineSpec"}
        return Document(documents[0]["pipelineSpec"], job=job)
    platforms = [d for d in documents if "platforms" in d]
    pipelines = [d for d in documents if "platforms" not in d]
    if len(pipelines) != 1:
        raise _unreadable(path, f"it holds {len(pipelines)} pipeline specs instead of one")
    if len(platforms) > 1:
        raise _unreadable(path, f"it holds {len(platforms)} platform specs; one at most is read")
    return Document(pipelines[0], platforms[0] if platforms else None)


def _unreadable(path: pathlib.Path, why: str) -> ConfigError:
    return ConfigError(
        "UNREADABLE_SPEC",
        f"`{path}` is not a compiled pipeline: {why}.",
        next="Name a file that `flywheel compile` or another KFP v2 compiler has written.",
    )
