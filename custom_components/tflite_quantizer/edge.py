"""ai-edge-quantizer, which lives in an environment of its own: its numpy and protobuf are not ours.

Which Python: `FLYWHEEL_EDGE_PYTHON` names it; without that, `.venv-edge` beside the virtual
environment this runs in, where `make edge` puts it. It gets a float file and a recipe of its
own, and answers with a file (`edge_worker.py`). Only dense weights go there: preprocessing stays
in float, and tables are stored in 8 bits by `slim.py`. Imports no TensorFlow.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from typing import Any

from custom_components.tflite_quantizer.recipe import Recipe

VARIABLE = "FLYWHEEL_EDGE_PYTHON"
FOLDER = ".venv-edge"
INSTALL = "make edge"
_WORKER = pathlib.Path(__file__).with_name("edge_worker.py")
_SECONDS_TO_ASK = 60


def python() -> str:
    """Where the environment's Python is, or should be."""
    named = os.environ.get(VARIABLE)
    return named or str(pathlib.Path(sys.prefix).parent / FOLDER / "bin" / "python")


def reason_to_skip(recipe: Recipe) -> str | None:
    """Why an `edge` recipe cannot be made here; None when it can, and for all other recipes."""
    if recipe.edge is None:
        return None
    where = python()
    if not os.access(where, os.X_OK):
        found = f"there is no {where}"
    elif _version(where) is None:
        found = f"{where} cannot import it"
    else:
        return None
    return (
        f"SKIPPED: {recipe.name} needs ai-edge-quantizer in an environment of its own, and "
        f"{found}. `{INSTALL}` installs it beside Flywheel's; {VARIABLE} names a Python that has "
        "it."
    )


def version() -> str | None:
    """Of ai-edge-quantizer; None where it is not installed."""
    return _version(python())


@functools.lru_cache
def _version(where: str) -> str | None:
    code = "import importlib.metadata as m; print(m.version('ai-edge-quantizer'))"
    try:
        asked = subprocess.run(
            [where, "-I", "-c", code],
            capture_output=True,
            text=True,
            timeout=_SECONDS_TO_ASK,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None if asked.returncode == 0 else None


def quantize(content: bytes, recipe: Recipe, float_layers: Collection[int | None] = ()) -> bytes:
    """The float file with its dense weights quantized.

    Args:
      content: As the converter wrote it, names included.
      recipe: With `edge`.
      float_layers: Places of the layers that stay float (`sensitivity.places`).

    Raises:
      ValueError: no layer can be quantized so; or the quantizer's own words.
    """
    entries = _entries(content, recipe, float_layers)
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "float.tflite"), pathlib.Path(folder, "made.tflite")
        source.write_bytes(content)
        request = {"source": str(source), "target": str(target), "recipe": entries}
        done = subprocess.run(
            [python(), "-I", "-W", "ignore", str(_WORKER)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or not target.is_file():
            words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ValueError(f"ai-edge-quantizer: {words[-1]}")
        return target.read_bytes()


def _entries(
    content: bytes, recipe: Recipe, float_layers: Collection[int | None]
) -> list[dict[str, Any]]:
    """The recipe in ai-edge-quantizer's own words: one entry for each dense layer."""
    from custom_components.tflite_quantizer.sensitivity import weighted_layers

    block = recipe.edge.block
    wanted = [
        (layer.name, layer.shape)
        for place, layer in enumerate(weighted_layers(content))
        if layer.dense
        and place not in float_layers
        and layer.shape[0] * layer.shape[1] >= (recipe.least_elements or 1)
    ]
    if not wanted:
        raise ValueError("there is no dense layer to quantize that has enough weights")
    in_blocks = [name for name, (_, inputs) in wanted if block and inputs % block == 0]
    if block and not in_blocks:
        widths = " and ".join(str(inputs) for _, (_, inputs) in wanted)
        raise ValueError(
            f"blocks of {block} need a dense layer whose inputs are a multiple of {block}; "
            f"those here have {widths}"
        )
    return [
        {
            "regex": f"^{re.escape(name)};?$",
            "operation": "FULLY_CONNECTED",
            "algorithm_key": "min_max_uniform_quantize",
            "op_config": {
                "weight_tensor_config": {
                    "num_bits": int(recipe.weights.removeprefix("int")),
                    "symmetric": True,
                    "granularity": f"BLOCKWISE_{block}" if name in in_blocks else "CHANNELWISE",
                    "dtype": "INT",
                },
                "compute_precision": "INTEGER" if recipe.edge.compute == "dynamic" else "FLOAT",
                "explicit_dequantize": recipe.edge.compute == "weight_only",
            },
        }
        for name, _ in wanted
    ]
