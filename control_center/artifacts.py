"""Files of a run by id: never by path, and never outside the folders runs write to."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator

from control_center.center import Center
from models.errors import ConfigError
from pipeline.runs import RunStore

_MOST_FILES = 5_000


@dataclasses.dataclass(frozen=True)
class File:
    """One file that can be fetched.

    Attributes:
      id: What names it in a URL.
      component, output: Who wrote it; `run` for the run's own files.
      name: Within the output.
      bytes: Its size.
      path: Where it is, resolved; stays on the server.
    """

    id: str
    component: str
    output: str
    name: str
    bytes: int
    path: pathlib.Path


def files(center: Center, run_id: str) -> list[File]:
    """Every file a run left, as far as it is inside the workspace or the registry.

    ML Metadata is a file like others: a URI in it may name any place, and a link may lead there.
    So what counts is where a path ends, not how it begins.
    """
    return list(_walk(center, run_id))[:_MOST_FILES]


def find(center: Center, run_id: str, file_id: str) -> File:
    """One file of one run.

    Raises:
      ConfigError: UNKNOWN_ARTIFACT: not a file of this run.
    """
    for file in _walk(center, run_id):
        if file.id == file_id:
            return file
    raise ConfigError("UNKNOWN_ARTIFACT", "This run has no such file.", next="See its files.")


def _walk(center: Center, run_id: str) -> Iterator[File]:
    roots = [center.workspace.artifacts.resolve(), center.registry.root.resolve()]
    run_folder = center.workspace.run(run_id).path
    yield from _of(run_id, "run", "", run_folder, [run_folder.resolve()])
    for component in RunStore(center.workspace).load(run_id).components.values():
        for key, artifact in component.outputs.items():
            if "://" not in artifact.uri:
                yield from _of(run_id, component.name, key, pathlib.Path(artifact.uri), roots)


def _of(
    run_id: str, component: str, output: str, folder: pathlib.Path, roots: list[pathlib.Path]
) -> Iterator[File]:
    if not _inside(folder.resolve(), roots):
        return
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = pathlib.Path(parent, name)
            real = path.resolve()
            if not _inside(real, roots) or not real.is_file():
                continue
            inner = path.relative_to(folder).as_posix()
            key = "\0".join((run_id, component, output, inner))
            yield File(
                hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:20],
                component,
                output,
                inner,
                real.stat().st_size,
                real,
            )


def _inside(path: pathlib.Path, roots: list[pathlib.Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)
