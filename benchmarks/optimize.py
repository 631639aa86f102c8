"""Every recipe, and what one would do by hand, on the same rows in one call.

    python -m benchmarks.optimize [--data demo:chicago-taxi demo:digits] [--recipes NAME ...]

Per data set: a whole `flywheel run`; every recipe on its student, and the teacher
converted by hand following the tutorials (benchmarks/by_hand.py). All files are timed
in the same interleaved rounds, answer the same test rows, and are compared with the
float student on them: the drop and its paired 95 % bootstrap interval. Quality is
that of test, which neither training nor any choice here has seen; which variant ships
was decided on eval. Also the teacher's SavedModel, a row at a time, and ONNX Runtime's dynamic
quantization of the same teacher (benchmarks/onnx_runtime.py). Prints Markdown tables, writes
benchmarks/results/optimize.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import yaml

from models import stack

stack.prepare_environment()

from benchmarks import by_hand, onnx_runtime  # noqa: E402
from custom_components.tflite_quantizer import recipes  # noqa: E402
from custom_components.tflite_quantizer.executor import write_rows  # noqa: E402
from custom_components.tflite_quantizer.measure import Measured, measure  # noqa: E402
from models import bundle, examples, isolation  # noqa: E402
from models.benchmark.machine import stamp  # noqa: E402
from models.graph import Preprocessor  # noqa: E402
from models.predictor import SERVING_FOLDER, SavedModelRunner, by_tensor  # noqa: E402
from models.rows import Rows, preprocess  # noqa: E402
from models.spec import ModelSpec  # noqa: E402
from models.student import answers  # noqa: E402
from models.training import predict_logits  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ("demo:chicago-taxi", "demo:nyc-flights", "demo:digits")
_SAVED_MODEL_CALLS = 200


def run_pipeline(data: str, names: list[str], folder: pathlib.Path) -> dict:
    """The artifacts of a run that tries all these recipes: `component.output` to folder."""

    def flywheel(*arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "pipeline", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in allowed:
            raise SystemExit(f"flywheel {' '.join(arguments)}:\n{done.stderr[-2000:]}")
        return done.stdout

    flywheel("init", data)
    path = folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    config["quantizer"] = {"recipes": names}
    path.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    flywheel("run", allowed=(0, 4))
    return json.loads(flywheel("runs", "show", "--json").splitlines()[-1])["artifacts"]


def read(spec: ModelSpec, uris: dict, split: str) -> Rows:
    """The rows of a split, as the network and as the exported model take them."""
    folder = f"{uris['ExampleGen.examples']}/Split-{split}"
    return preprocess(spec, examples.read_split(folder), Preprocessor(spec), keep_inputs=True)


def by_hand_files(uris: dict, spec: ModelSpec, work: pathlib.Path) -> tuple[dict, dict]:
    """Name to file of every conversion by hand, and name to reason of those that failed."""
    _, _, teacher = bundle.load(uris["Trainer.model"])
    train, valid = read(spec, uris, "train"), read(spec, uris, "eval")
    rows = str(work / "rows.npz")
    write_rows(rows, spec, train, valid, predict_logits(teacher, spec, train), 1000)
    made, failed = {}, {}
    for number, way in enumerate(by_hand.WAYS):
        job = by_hand.Job(way, uris["Trainer.model"], rows, str(work / f"by_hand_{number}.tflite"))
        try:
            isolation.run_isolated(by_hand.convert, job, seconds=600, memory_mb=8192)
            made[way] = job.output
        except isolation.Isolated as error:
            failed[way] = str(error)
    return made, failed


def saved_model_us(spec: ModelSpec, uris: dict, rows: Rows) -> float:
    """Median microseconds of the teacher's SavedModel for one row."""
    run = SavedModelRunner(f"{uris['Trainer.model']}/{SERVING_FOLDER}")
    fed = by_tensor(spec, rows.inputs)
    seconds = []
    for call in range(_SAVED_MODEL_CALLS + 10):
        row = {name: x[call % len(rows) :][:1] for name, x in fed.items()}
        start = time.perf_counter()
        run(row)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[10:]) * 1e6)


def one(data: str, names: list[str], work: pathlib.Path) -> dict:
    """Everything about one data set."""
    uris = run_pipeline(data, names, work)
    spec, _, student = bundle.load(uris["Distiller.model"])
    variants = json.loads(
        (pathlib.Path(uris["TFLiteQuantizer.variants"]) / "variants.json").read_text()
    )
    files = {
        v["name"]: f"{uris['TFLiteQuantizer.variants']}/{v['name']}.tflite"
        for v in variants["variants"]
        if v["state"] != "skipped"
    }
    hand, failed = by_hand_files(uris, spec, work)
    test = read(spec, uris, "test")
    reference = answers(spec, predict_logits(student, spec, test))
    measured: Measured = measure(spec, test, {**files, **hand}, reference, min_slice_rows=200)
    try:
        onnx = onnx_runtime.compare(uris["Trainer.model"], spec, test, reference, work)
    except onnx_runtime.Unavailable as error:
        onnx, failed = {}, {**failed, **dict.fromkeys(onnx_runtime.WAYS.values(), str(error))}
    return {
        "metric": variants["primary_metric"],
        "rows": {"test": len(test), **variants["rows"]},
        "picks": {p: v["name"] for v in variants["variants"] for p in v["picks"]},
        "shipped": next(v["name"] for v in variants["variants"] if v["state"] == "shipped"),
        "skipped": {v["name"]: v["reason"] for v in variants["variants"] if v["state"] == "skipped"}
        | failed,
        "files": {**measured.files, **onnx},
        "timing": measured.timing,
        "saved_model_us": saved_model_us(spec, uris, test),
    }


def show(data: str, found: dict) -> None:
    """The table of one data set, and the sentences that follow from it."""
    metric = found["metric"]
    print(f"\n{data}, {found['rows']['test']:,} test rows\n")
    print(f"| file | bytes | gzip | {metric} | drop (95 %) | worst slice | latency × float32 |  |")
    print("|---|---|---|---|---|---|---|---|")
    base = next(iter(found["files"].values()))["latency_us"]["p50"]
    for name, file in found["files"].items():
        drop, ratio = file["quality"]["overall"], file.get("latency_ratio")
        slices = file["quality"]["slices"]
        worst = f"{slices[0]['drop']:+.4f} (to {slices[0]['high']:+.4f})" if slices else "–"
        speed = f"{ratio['point']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})" if ratio else "1"
        if "interpreter" in file:  # not in the interleaved rounds
            speed = f"{file['latency_us']['p50'] / base:.2f} (medians)"
        marks = [p for p, chosen in found["picks"].items() if chosen == name]
        print(
            f"| {name} | {file['bytes']:,} | {file['gzip_bytes']:,} | "
            f"{file['metrics'][metric]:.4f} | {drop['drop']:+.4f} ({drop['low']:+.4f} to "
            f"{drop['high']:+.4f}) | {worst} | {speed} | {', '.join(marks)} |"
        )
    for name, reason in found["skipped"].items():
        print(f"| {name} | – | – | – | – | – | – | {reason} |")
    shipped, teacher = found["files"][found["shipped"]], found["files"].get("teacher")
    if teacher:
        smaller = teacher["bytes"] / shipped["bytes"]
        faster = found["saved_model_us"] / shipped["latency_us"]["p50"]
        print(
            f"\nshipped `{found['shipped']}`: 1/{smaller:.1f} of the teacher's float32 TFLite, "
            f"1/{faster:.1f} of its SavedModel's latency for one row "
            f"({found['saved_model_us']:.0f} µs)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--recipes", nargs="+", default=list(recipes.names()))
    arguments = parser.parse_args()
    results = {}
    for data in arguments.data:
        with tempfile.TemporaryDirectory() as work:
            results[data] = one(data, arguments.recipes, pathlib.Path(work))
        show(data, results[data])
    target = ROOT / "benchmarks" / "results" / "optimize.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"machine": stamp().to_dict(), "data": results}, indent=1))
    print(f"\nwritten to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
