"""Which TFLite files a path means, what they are called, and the contract beside them."""

from __future__ import annotations

import gzip
import hashlib
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from models.benchmark.session import check_file
from models.errors import ConfigError
from models.predictor import SERVING_FOLDER, TFLITE_FILE
from models.registry import MODEL_FILE, POINTER, Registry
from models.spec import SPEC_FILE, ModelSpec


def find(target: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The TFLite files a path means.

    Args:
      target: A file; a deployed version, a folder of deployed versions (the current one), a
        Model artifact, or any folder of .tflite files.

    Raises:
      ConfigError: NO_SUCH_FILE, NOT_TFLITE, NO_MODELS.
    """
    path = pathlib.Path(target)
    if not path.is_dir():
        check_file(path)
        return [path]
    if (path / POINTER).is_file():
        registry = Registry(path)
        path = registry.folder(registry.resolve())
    for one in (path / MODEL_FILE, path / SERVING_FOLDER / TFLITE_FILE):
        if one.is_file():
            return [one]
    found = sorted(path.glob("*.tflite"))
    if not found:
        raise ConfigError(
            "NO_MODELS",
            f"There is no .tflite file in `{path}`.",
            next="Name a .tflite file, a deployed version's folder, or the folder of a run's "
            "variants.",
        )
    for file in found:
        check_file(file)
    return found


def names(paths: Iterable[pathlib.Path]) -> dict[str, pathlib.Path]:
    """A short name for each file, unique; a file that comes twice is kept once."""
    unique = list(dict.fromkeys(path.resolve() for path in paths))
    named = {_name(path): path for path in unique}
    if len(named) == len(unique):
        return named
    base = os.path.commonpath([path.parent for path in unique])
    return {str(path.relative_to(base).with_suffix("")): path for path in unique}


def _name(path: pathlib.Path) -> str:
    """The file's own name, or its folder's where every such file is called the same."""
    if path.name == TFLITE_FILE:
        return path.parents[1].name
    return path.parent.name if path.name == MODEL_FILE else path.stem


def contract(path: pathlib.Path) -> ModelSpec | None:
    """The `model.json` of a file of Flywheel's; None for foreign files.

    It lies beside a deployed file and above the serving folder; a run's variants share that of
    the one that was chosen, whose artifact is the neighbour of theirs.
    """
    folder = path.parent
    places = [folder, folder.parent] if folder.name == SERVING_FOLDER else [folder]
    if folder.parent.name == "variants":
        places.append(folder.parent.parent / "chosen" / folder.name)
    place = next((p for p in places if (p / SPEC_FILE).is_file()), None)
    return ModelSpec.load(place) if place else None


def size(path: pathlib.Path) -> dict[str, Any]:
    """`bytes`, `gzip_bytes` and `sha256` of a file."""
    content = path.read_bytes()
    return {
        "bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
