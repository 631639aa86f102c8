"""ONNX Runtime's dynamic quantization of the teacher, as its documentation does it.

tf2onnx converts the teacher's SavedModel as it is: raw columns in, strings included (its hash
tables become `ai.onnx.ml` operators); `onnxruntime.quantization.quantize_dynamic` then stores
weights in 8 bits. Neither lives with the pipeline's locks, so both have an environment of their
own, `.venv-onnx`, which `ensure` makes with uv, and `onnx_worker.py` runs in it.

Sizes and answers compare with the TFLite files directly. Latency is ONNX Runtime's own, of the
same rows, on one thread, but in a process of its own: not in the interleaved rounds of the rest.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import numpy as np

from custom_components.tflite_quantizer import quality
from models import metrics
from models.predictor import SERVING_FOLDER, by_tensor
from models.rows import Rows
from models.spec import ModelSpec
from models.student import labels_of

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = (
    "tensorflow-cpu==2.15.1",
    "tf2onnx==1.16.1",
    "onnx==1.16.2",
    "onnxruntime==1.19.2",
    "numpy<2",
)
WAYS = {"plain": "teacher, ONNX Runtime", "dynamic": "teacher, ONNX Runtime dynamic"}
_PYTHONS = ((3, 10), (3, 11))  # that these packages know
_SECONDS = 900


class Unavailable(Exception):
    """ONNX Runtime cannot be compared with here; the message says why."""


def ensure(folder: pathlib.Path = ROOT / ".venv-onnx") -> str:
    """The Python of the environment, which is made first if need be.

    Raises:
      Unavailable: there is no uv, or a package cannot be installed.
    """
    python, done = folder / "bin" / "python", folder / ".installed"
    if done.is_file() and done.read_text("utf-8") == "\n".join(PACKAGES):
        return str(python)
    uv = shutil.which("uv") or str(ROOT / ".venv-uv" / "bin" / "uv")
    here = sys.version_info[:2] in _PYTHONS
    for command in (
        [uv, "venv", "-q", "--clear", "--python", sys.executable if here else "3.11", str(folder)],
        [uv, "pip", "install", "-q", "--python", str(python), *PACKAGES],
    ):
        try:
            ran = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{' '.join(command[:2])}: {error}") from None
        if ran.returncode:
            said = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
            raise Unavailable(f"{' '.join(command[:3])}: {said[-1]}")
    done.write_text("\n".join(PACKAGES), "utf-8")
    return str(python)


def compare(
    teacher: str,
    spec: ModelSpec,
    rows: Rows,
    reference: np.ndarray,
    work: pathlib.Path,
    min_slice_rows: int = 200,
) -> dict[str, dict[str, Any]]:
    """The rows of the table, as `measure.measure` answers for TFLite files.

    Args:
      teacher: Folder of the teacher.
      spec: Its contract.
      rows: Of test, with their inputs.
      reference: The float student's answers to them, `[n, units]`.
      work: For files.
      min_slice_rows: Slices with fewer rows are not judged.

    Raises:
      Unavailable: the environment cannot be made, or the conversion failed.
    """
    python = ensure()
    inputs = work / "onnx_inputs.npz"
    # Text as fixed-width arrays: no pickles between two versions of numpy.
    fed = {name: _plain(x) for name, x in by_tensor(spec, rows.inputs).items()}
    np.savez(inputs, **fed)
    request = {
        "saved_model": f"{teacher}/{SERVING_FOLDER}",
        "inputs": str(inputs),
        "output": spec.output,
        "folder": str(work),
    }
    worker = pathlib.Path(__file__).with_name("onnx_worker.py")
    ran = subprocess.run(
        [python, "-I", "-W", "ignore", str(worker)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
        raise Unavailable(said[-1])
    answer = json.loads(ran.stdout.splitlines()[-1])
    keys, labels = quality.slice_keys(spec, rows.inputs), labels_of(spec, rows)
    found = {}
    for way, file in answer["files"].items():
        content = pathlib.Path(file["path"]).read_bytes()
        predictions = np.load(file["answers"])
        found[WAYS[way]] = {
            "bytes": len(content),
            "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
            "metrics": metrics.score(spec.task, labels, predictions),
            "agreement": metrics.agreement(spec.task, reference, predictions),
            "quality": quality.compare(spec, rows, keys, reference, predictions, min_slice_rows),
            "latency_us": file["latency_us"],
            "interpreter": f"ONNX Runtime {answer['onnxruntime']}, 1 thread, a process of its own",
        }
    return found


def _plain(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return values
    text = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values[:, 0]]
    return np.array(text, dtype=str).reshape(-1, 1)
