"""How much of what flows through an int8 file is cut off at the ends of its range."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np

from models.predictor import SIGNATURE, quiet_native_stderr


@dataclasses.dataclass(frozen=True)
class Saturation:
    """Saturated int8 activations of a file.

    Attributes:
      rate: Share of all int8 activation values; None when the file has none.
      tensors: Tensor name to its own share.
    """

    rate: float | None
    tensors: dict[str, float]


def saturation(
    path: str | os.PathLike[str], feeds: Sequence[Mapping[str, np.ndarray]]
) -> Saturation:
    """Share of int8 activation values at -128 or 127 on the given rows.

    A value at the end of its range may stand for anything beyond it: the range was too narrow
    for these rows. Where an end is the zero point, it stands for an exact 0 (as after a ReLU)
    and is not counted. Constants do not count; delegates are off, since they hide what flows
    inside of them.

    Args:
      path: A file with the signature `serving_default`.
      feeds: Inputs by tensor name, `[rows, ...]` each; the file runs once for each.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet_native_stderr():
        interpreter = Interpreter(
            str(path),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        run = interpreter.get_signature_runner(SIGNATURE)
    names = tuple(run.get_input_details())
    constant = _constants(path)
    watched = [
        (d["name"], d["index"], _ends(d["quantization_parameters"]["zero_points"]))
        for d in interpreter.get_tensor_details()
        if d["dtype"] == np.int8 and d["index"] not in constant
    ]
    cut = dict.fromkeys((index for _, index, _ in watched), 0)
    seen = dict(cut)
    for feed in feeds:
        run(**{name: feed[name] for name in names})
        for _, index, ends in watched:
            values = interpreter.get_tensor(index)
            cut[index] += int(np.isin(values, ends).sum())
            seen[index] += values.size
    total = sum(seen.values())
    return Saturation(
        sum(cut.values()) / total if total else None,
        {name: cut[index] / seen[index] for name, index, _ in watched if seen[index]},
    )


def _ends(zero_points: np.ndarray) -> list[int]:
    return [end for end in (-128, 127) if end not in zero_points]


def _constants(path: str | os.PathLike[str]) -> set[int]:
    """Indices of the main graph's tensors that hold data of the file."""
    from ai_edge_litert import schema_py_generated as schema

    with open(path, "rb") as file:
        model = schema.Model.GetRootAs(file.read(), 0)
    graph = model.Subgraphs(0)
    return {
        index
        for index in range(graph.TensorsLength())
        if model.Buffers(graph.Tensors(index).Buffer()).DataLength() > 0
    }
