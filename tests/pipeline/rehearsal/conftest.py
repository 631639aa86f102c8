"""Small pipelines, compiled by KFP's own compiler, and a way to rehearse them."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.rehearsal import compiled, isolation
from pipeline.rehearsal.launcher import Options
from pipeline.rehearsal.rehearse import rehearse
from tests.pipeline.rehearsal.engine import engine  # noqa: F401 (a fixture)

ROOT = "minio://mlpipeline/v2/artifacts"


class Backend:
    """A rehearsal's folder, and pipelines run in it.

    Args:
      folder: Empty.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.events: list[dict[str, Any]] = []

    def compile(self, pipeline: Any, name: str = "pipeline.yaml") -> pathlib.Path:
        """The file that KFP's compiler makes of it."""
        from kfp import compiler

        path = self.folder / name
        compiler.Compiler().compile(pipeline, str(path))
        return path

    def run(self, pipeline: Any, *, fresh: bool = False, **choices: Any) -> dict[str, Any]:
        """Rehearses a pipeline function or a file; returns the result."""
        path = pipeline if isinstance(pipeline, pathlib.Path) else self.compile(pipeline)
        self.events.clear()
        return rehearse(
            compiled.load(path, **choices),
            self.folder / "rehearsal",
            Options(code=self.folder),
            fresh=fresh,
            emit=self.events.append,
        )

    def attempt(self, result: dict[str, Any], task: str, number: int = 1) -> pathlib.Path:
        """The folder of one attempt of a task."""
        return pathlib.Path(result["folder"]) / "tasks" / task / f"attempt-{number}"

    def log(self, result: dict[str, Any], task: str, number: int = 1) -> str:
        """What a task said."""
        return (self.attempt(result, task, number) / "log.txt").read_text("utf-8")

    def said(self, result: dict[str, Any], task: str, number: int = 1) -> Any:
        """What a task printed as JSON in its last line."""
        return json.loads(self.log(result, task, number).splitlines()[-1])


def states(result: dict[str, Any]) -> dict[str, str]:
    """Task to how it ended."""
    return {task["task"]: task["state"] for task in result["tasks"]}


def codes(result: dict[str, Any]) -> list[str]:
    """Reason codes of a result."""
    return [reason["code"] for reason in result["reasons"]]


@pytest.fixture
def backend(tmp_path: pathlib.Path) -> Backend:
    """An empty backend; skipped where tasks cannot be kept apart."""
    if isolation.namespaces() is None:
        pytest.skip("this machine lets no task have a file system of its own (namespaces)")
    return Backend(tmp_path)


@pytest.fixture
def python() -> Callable[..., Any]:
    """Makes the container of a task from Python source."""
    from kfp import dsl

    def container(source: str, *arguments: Any) -> Any:
        return dsl.ContainerSpec(
            image="python:3.10-slim", command=["python3", "-c", source], args=list(arguments)
        )

    return container
