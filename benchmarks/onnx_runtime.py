"""ONNX Runtime's dynamic quantization of the teacher, as its documentation does it.

tf2onnx converts the teacher's SavedModel as it is: raw columns in, strings included (its hash
tables become `ai.onnx.ml` operators); `onnxruntime.quantization.quantize_dynamic` then stores
weights in 8 bits. Neither lives with the pipeline's locks, so both have an environment of their
own, `.venv-onnx`, which `ensure` makes with uv, and `onnx_worker.py` runs in it.

Sizes and answers compare with the TFLite files directly. Its calls are timed in its own process,
of the same rows, on one thread, when it is its turn in the rounds (benchmarks/interleaved.py).
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.interleaved import Timed
from models.predictor import SERVING_FOLDER, by_tensor
from models.rows import Rows
from models.spec import ModelSpec

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


class Converted:
    """The teacher on ONNX Runtime: answers to the rows, and calls on demand, timed there.

    Attributes:
      files: Way (value of `WAYS`) to path.
      answers: Way to answers to the rows, `[n, units]`.
      failed: Way to reason.
      interpreter: In words.
    """

    def __init__(self, teacher: str, spec: ModelSpec, rows: Rows, work: pathlib.Path):
        """Converts, quantizes, and answers the rows.

        Args:
          teacher: Folder of the teacher.
          spec: Its contract.
          rows: Of test, with their inputs.
          work: For files.

        Raises:
          Unavailable: the environment cannot be made, or the conversion failed.
        """
        python = ensure()
        inputs = work / "onnx_inputs.npz"
        # Text as fixed-width arrays: no pickles between two versions of numpy.
        np.savez(inputs, **{n: _plain(x) for n, x in by_tensor(spec, rows.inputs).items()})
        worker = pathlib.Path(__file__).with_name("onnx_worker.py")
        self._said = (work / "onnx_worker.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [python, "-I", "-W", "ignore", str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        answer = self._ask(
            {
                "saved_model": f"{teacher}/{SERVING_FOLDER}",
                "inputs": str(inputs),
                "output": spec.output,
                "folder": str(work),
            }
        )
        made = {WAYS[way]: file for way, file in answer["files"].items()}
        self.files = {name: file["path"] for name, file in made.items()}
        self.answers = {name: np.load(file["answers"]) for name, file in made.items()}
        self.failed = {WAYS[way]: reason for way, reason in answer["failed"].items()}
        self.interpreter = f"ONNX Runtime {answer['onnxruntime']}, 1 thread, its own process"

    def timed(self) -> dict[str, Timed]:
        """For `interleaved.measure`."""
        ways = {name: way for way, name in WAYS.items()}
        return {
            name: (lambda runs, way=ways[name]: self._ask({"time": way, "runs": runs}))
            for name in self.files
        }

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()
        self._said.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return json.loads(line)
        self._process.wait(timeout=60)
        self._said.seek(0)
        said = self._said.read().strip().splitlines()
        raise Unavailable(said[-1] if said else f"exit code {self._process.returncode}")


def _plain(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return values
    text = [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values[:, 0]]
    return np.array(text, dtype=str).reshape(-1, 1)
