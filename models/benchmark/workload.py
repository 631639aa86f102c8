"""What a file is fed with while it is measured: real rows, or made ones that look like them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from models.benchmark.session import InputTensor, Session
from models.errors import FlywheelError
from models.spec import CategoricalFeature, ImageFeature, ModelSpec

#: Different rows that the single-row calls go through in turn.
SINGLE_ROWS = 40
#: Fed where a string is wanted and nothing is known about it.
_WORDS = np.array([b"a", b"bc", b"def", b"gh12", b""], dtype=object)


@dataclasses.dataclass(frozen=True)
class Workload:
    """A file and its inputs.

    Attributes:
      path: The file.
      single: Feeds of one row; calls take them in turn.
      block: One feed of `batch` rows; None when the file takes one shape only.
      batch: Rows of `block`.
      rows: Where the rows come from, in words.
      note: Why `block` is None, or what else a reader must know.
    """

    path: str
    single: tuple[dict[str, np.ndarray], ...]
    block: dict[str, np.ndarray] | None
    batch: int
    rows: str = ""
    note: str = ""

    def without_block(self, note: str) -> Workload:
        """The same, measured with single rows only."""
        return dataclasses.replace(self, block=None, note=note)


def from_rows(
    path: str | os.PathLike[str],
    inputs: Mapping[str, np.ndarray],
    batch: int,
    *,
    rows: str = "given rows",
) -> Workload:
    """A workload of given rows, repeated where there are too few.

    Args:
      path: The file.
      inputs: Tensor name to `[rows, ...]`, at least one row.
      batch: Rows per call of the second measurement.
      rows: Where they come from.
    """
    count = len(next(iter(inputs.values())))
    if not count:
        raise FlywheelError(
            "NO_ROWS", "There are no rows to measure with.", next="Give a table with rows."
        )
    picked = np.arange(batch) % count
    return Workload(
        str(path),
        tuple(
            {name: x[i % count : i % count + 1] for name, x in inputs.items()}
            for i in range(SINGLE_ROWS)
        ),
        {name: x[picked] for name, x in inputs.items()},
        batch,
        rows,
    )


def from_spec(path: str | os.PathLike[str], spec: ModelSpec, batch: int, seed: int) -> Workload:
    """A workload of rows drawn from a Flywheel model's contract.

    Numbers lie in the range seen in training, categories are known ones, and about one cell
    in twenty is missing. Pictures are noise.
    """
    rng = np.random.default_rng(seed)
    size = max(batch, SINGLE_ROWS)
    inputs: dict[str, np.ndarray] = {}
    for feature in spec.features:
        if isinstance(feature, ImageFeature):
            pixels = rng.integers(0, 256, (size, *feature.shape), np.uint8)
            inputs[spec.tensors[feature.name]] = pixels
            continue
        missing = rng.random(size) < 0.05
        if isinstance(feature, CategoricalFeature):
            words = feature.vocabulary or ("0" if feature.dtype == "integer" else "",)
            drawn = rng.integers(0, len(words), size)
            if feature.dtype == "string":
                known = np.array([word.encode() for word in words], dtype=object)
                values = np.where(missing, b"", known[drawn])
            else:
                known = np.array([float(word) for word in words], np.float32)
                values = np.where(missing, np.float32(np.nan), known[drawn])
        else:
            drawn = rng.uniform(feature.low, feature.high, size).astype(np.float32)
            if feature.column_type == "integer":
                drawn = np.round(drawn)
            values = np.where(missing, np.float32(np.nan), drawn)
        inputs[spec.tensors[feature.name]] = values.reshape(-1, 1)
    return from_rows(path, inputs, batch, rows="made from the model's contract (model.json)")


def from_tensors(path: str | os.PathLike[str], batch: int, seed: int) -> Workload:
    """A workload for any file, from the shapes and types of its inputs alone.

    Floats are uniform in [0, 1), 8-bit integers take their whole range, wider integers are 0
    or 1 (valid indices nearly everywhere), strings are short. The first dimension, where it is
    dynamic, is the batch; other dynamic dimensions keep the size the file starts with.

    Raises:
      FlywheelError: as `Session` does; UNSUPPORTED_INPUT for types NumPy does not know here.
    """
    session = Session(path)
    inputs = session.inputs
    rng = np.random.default_rng(seed)
    single = tuple({i.name: _draw(path, i, 1, rng) for i in inputs} for _ in range(SINGLE_ROWS))
    rows = "made from the file's input tensors"
    if len(session.signatures) > 1:
        rows += f", for its signature `{session.signature}` of {', '.join(session.signatures)}"
    if not any(i.dynamic and i.dynamic[0] for i in inputs):
        shapes = ", ".join(f"{i.name} {list(i.shape)}" for i in inputs)
        return Workload(
            str(path), single, None, batch, rows, f"takes one shape only ({shapes}): no batches"
        )
    block = {i.name: _draw(path, i, batch, rng) for i in inputs}
    return Workload(str(path), single, block, batch, rows)


def _draw(
    path: str | os.PathLike[str], tensor: InputTensor, batch: int, rng: np.random.Generator
) -> np.ndarray:
    shape = tuple(
        batch if axis == 0 and dynamic else size
        for axis, (size, dynamic) in enumerate(zip(tensor.shape, tensor.dynamic, strict=True))
    )
    kind = tensor.dtype.kind
    if kind in "SO":
        return np.array(_WORDS[rng.integers(0, len(_WORDS), shape)], dtype=object)
    if kind == "f":
        return np.asarray(rng.random(shape), tensor.dtype)
    if kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if kind in "iu":
        limits = np.iinfo(tensor.dtype)
        low, high = (limits.min, limits.max) if limits.bits == 8 else (0, 1)
        drawn = rng.integers(low, high, shape, dtype=tensor.dtype, endpoint=True)
        return np.asarray(drawn)
    raise FlywheelError(
        "UNSUPPORTED_INPUT",
        f"Input `{tensor.name}` of `{path}` is of type {tensor.dtype}, which cannot be made up.",
        next="Give real rows with `--data`, or leave this file out.",
    )
