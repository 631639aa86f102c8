"""Converts a SavedModel to ONNX, quantizes it, answers and times rows. Run by path in `.venv-onnx`.

One JSON object per line on stdin, one answer per line on stdout. First what to convert
(`saved_model`, `inputs`, `output`, `folder`), then `{"time": way, "runs": n}` as often as
wanted; ends with stdin. Imports nothing of Flywheel's: it is not installed there.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time

import numpy as np

_WARM_UPS, _BATCH = 5, 1024


def main() -> None:
    request = json.loads(sys.stdin.readline())
    folder = pathlib.Path(request["folder"])
    plain, dynamic = folder / "teacher.onnx", folder / "teacher_dynamic.onnx"
    converted = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "tf2onnx.convert", "--opset", "17"),
            *("--saved-model", request["saved_model"], "--signature_def", "raw"),
            *("--tag", "serve", "--output", str(plain)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if not plain.is_file():
        said = converted.stderr.strip().splitlines() or ["no word"]
        sys.exit(f"tf2onnx: {said[-1]}")
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(plain), str(dynamic), weight_type=QuantType.QInt8)
    with np.load(request["inputs"]) as data:
        inputs = {
            name: data[name].astype(object) if data[name].dtype.kind == "U" else data[name]
            for name in data.files
        }
    files, failed, models = {}, {}, {}
    for way, path in (("plain", plain), ("dynamic", dynamic)):
        try:
            models[way] = model = Model(str(path), request["output"], inputs)
            answers = folder / f"{way}.npy"
            np.save(answers, model.answers())
            files[way] = {"path": str(path), "answers": str(answers)}
        except Exception as error:  # one of ONNX Runtime's own, of no common kind
            failed[way] = (str(error).strip().splitlines() or [type(error).__name__])[0]
    print(
        json.dumps({"files": files, "failed": failed, "onnxruntime": onnxruntime.__version__}),
        flush=True,
    )
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(models[asked["time"]].time(asked["runs"])), flush=True)


class Model:
    """One file on one thread."""

    def __init__(self, path: str, output: str, inputs: dict[str, np.ndarray]):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {one.name: inputs[one.name] for one in self._session.get_inputs()}
        self._rows = len(next(iter(inputs.values())))
        self._output = [output]
        self._place = 0

    def answers(self) -> np.ndarray:
        """To all rows."""
        return np.concatenate(
            [
                self._session.run(
                    self._output, {n: x[s : s + _BATCH] for n, x in self._inputs.items()}
                )[0]
                for s in range(0, self._rows, _BATCH)
            ]
        )

    def time(self, runs: int) -> list[float]:
        """Seconds of so many calls, a row each."""
        seconds = []
        for _ in range(_WARM_UPS + runs):
            row = {n: x[self._place % self._rows :][:1] for n, x in self._inputs.items()}
            self._place += 1
            start = time.perf_counter()
            self._session.run(self._output, row)
            seconds.append(time.perf_counter() - start)
        return seconds[_WARM_UPS:]


if __name__ == "__main__":
    main()
