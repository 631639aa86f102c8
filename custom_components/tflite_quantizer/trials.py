"""Trials of a search, and the file that keeps them, so that nothing is made twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from custom_components.tflite_quantizer import recipes
from custom_components.tflite_quantizer.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the making of one trial may take.

    Attributes:
      epochs: Passes of every fine-tuning.
      seconds: Time bound.
    """

    epochs: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Trial:
    """One recipe, made with a budget and measured. `picks.violations` judges it as a variant.

    Attributes:
      recipe: How.
      epochs: Passes of every fine-tuning; 0 for a recipe without.
      full: With all the passes there are; others only show which recipes deserve them.
      state: `made`, `failed` (tried, and no file came out) or `skipped` (never tried).
      reason: Of failing and skipping, in one sentence.
      bytes, gzip_bytes: Size.
      quality: As `quality.compare` answers.
      latency_us: `p50` of one row; empty where it was not measured.
      seconds: It took.
      elapsed: Seconds of search when it was done.
    """

    recipe: Recipe
    epochs: int
    full: bool = True
    state: Literal["made", "failed", "skipped"] = "made"
    reason: str = ""
    bytes: int | None = None
    gzip_bytes: int | None = None
    quality: dict[str, Any] = dataclasses.field(default_factory=dict)
    latency_us: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    elapsed: float = 0.0

    @property
    def name(self) -> str:
        return self.recipe.name

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `from_dict` reads it back."""
        return {**dataclasses.asdict(self), "recipe": self.recipe.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Trial:
        return cls(**{**fields, "recipe": recipes.from_dict(fields["recipe"])})


def key(recipe: Recipe) -> str:
    """What a recipe does, whatever it is called: equal for recipes that mean the same."""
    fields = recipe.to_dict()
    del fields["name"], fields["summary"]
    return json.dumps(fields, sort_keys=True)


def fingerprint(**parts: Any) -> str:
    """One hash for everything that decides how a trial comes out.

    Args:
      **parts: Arrays, bytes, paths of files (their content counts), anything that goes to
        JSON, and dicts and lists of these.

    Returns:
      Hexadecimal, 64 digits.
    """
    digest = hashlib.sha256()
    _feed(digest, parts)
    return digest.hexdigest()


def _feed(digest: Any, part: Any) -> None:
    if isinstance(part, Mapping):
        digest.update(b"{%d" % len(part))
        for name in sorted(part):
            _feed(digest, name)
            _feed(digest, part[name])
    elif isinstance(part, list | tuple):
        digest.update(b"[%d" % len(part))
        for one in part:
            _feed(digest, one)
    elif isinstance(part, np.ndarray):
        digest.update(f"array {part.dtype} {part.shape}".encode())
        if part.dtype.hasobject:
            digest.update(repr(part.tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(part).tobytes())
    elif isinstance(part, os.PathLike):
        with open(part, "rb") as file:
            _feed(digest, file.read())
    elif isinstance(part, bytes):
        digest.update(b"bytes %d " % len(part))
        digest.update(part)
    else:
        _feed(digest, json.dumps(part, sort_keys=True).encode())


class Journal:
    """Finished trials in a file of JSON lines, one after the other.

    A line that cannot be read is passed over: the last one is torn when the process was
    killed while it wrote. Lines of other inputs are left alone.

    Args:
      path: Of the file; None keeps the trials in memory only.
      fingerprint: Of the inputs; trials of others do not count.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, fingerprint: str = ""):
        self._path = path
        self._fingerprint = fingerprint
        self._known: dict[tuple[str, int], Trial] = {}
        #: Seconds of search that the trials on file took together with those beside them.
        self.elapsed = 0.0
        if path is not None and os.path.exists(path):
            self._read(path)

    def _read(self, path: str | os.PathLike[str]) -> None:
        with open(path, "rb") as file:
            content = file.read()
        for number, line in enumerate(content.splitlines(), 1):
            try:
                fields = json.loads(line)
                if fields.pop("fingerprint") == self._fingerprint:
                    self._keep(Trial.from_dict(fields))
            except Exception as error:  # a torn line may be anything, valid JSON included
                logging.getLogger(__name__).info("%s, line %d: %s", path, number, error)
        if content and not content.endswith(b"\n"):
            with open(path, "ab") as file:  # what is torn must not swallow the next line
                file.write(b"\n")

    def _keep(self, trial: Trial) -> None:
        self._known[key(trial.recipe), trial.epochs] = trial
        self.elapsed = max(self.elapsed, trial.elapsed)

    def get(self, recipe: Recipe, epochs: int) -> Trial | None:
        """The trial of a recipe that means the same, with as many passes."""
        return self._known.get((key(recipe), epochs))

    def add(self, trial: Trial) -> None:
        """Keeps a trial, on disk before this returns."""
        self._keep(trial)
        if self._path is None:
            return
        line = json.dumps({"fingerprint": self._fingerprint, **trial.to_dict()}) + "\n"
        with open(self._path, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
