"""Converts a SavedModel to ONNX, quantizes it, answers and times rows. Run by path in `.venv-onnx`.

Reads a JSON object from stdin (`saved_model`, `inputs`, `output`, `folder`), answers with one on
the last line of stdout. Imports nothing of Flywheel's: it is not installed there.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time

import numpy as np

_WARM_UPS, _CALLS, _BATCH = 50, 2000, 1024


def main() -> None:
    request = json.load(sys.stdin)
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
    files = {}
    for way, path in (("plain", plain), ("dynamic", dynamic)):
        answers = folder / f"{way}.npy"
        files[way] = {"path": str(path), "answers": str(answers)}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        names = [one.name for one in session.get_inputs()]
        rows = len(inputs[names[0]])
        np.save(
            answers,
            np.concatenate(
                [
                    session.run([request["output"]], {n: inputs[n][s : s + _BATCH] for n in names})[
                        0
                    ]
                    for s in range(0, rows, _BATCH)
                ]
            ),
        )
        files[way]["latency_us"] = latency(session, request["output"], names, inputs, rows)
    print(json.dumps({"files": files, "onnxruntime": onnxruntime.__version__}))


def latency(session, output: str, names: list[str], inputs: dict, rows: int) -> dict[str, float]:
    """Microseconds of one row at a time."""
    seconds = []
    for call in range(_WARM_UPS + _CALLS):
        row = {name: inputs[name][call % rows :][:1] for name in names}
        start = time.perf_counter()
        session.run([output], row)
        seconds.append(time.perf_counter() - start)
    p50, p90, p99 = np.quantile(seconds[_WARM_UPS:], [0.5, 0.9, 0.99]) * 1e6
    return {"p50": p50, "p90": p90, "p99": p99}


if __name__ == "__main__":
    main()
