"""Every recipe, and what one would do by hand, on the same rows in one call.

    python -m benchmarks.optimize [--data demo:chicago-taxi demo:digits] [--recipes NAME ...]
                                  [--rows 70000]

Per data set: a whole `flywheel run`; every recipe on its student, and the teacher
converted by hand following the tutorials (benchmarks/by_hand.py). All files are timed
in the same interleaved rounds, answer the same test rows, and are compared with the
float student on them: the drop and its paired 95 % bootstrap interval. Quality is
that of test, which neither training nor any choice here has seen; which variant ships
was decided on eval. Also the teacher's SavedModel and ONNX Runtime's dynamic quantization of
the same teacher (benchmarks/onnx_runtime.py), a row at a time, in rounds with the file that ships
and those made by hand. Prints Markdown tables, writes benchmarks/results/optimize.json and,
without the slices but the worst, docs/measured/optimization.json, from which `python -m
benchmarks.optimize_tables` makes the tables of the page.
"""

from __future__ import annotations

import argparse
import dataclasses
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

from benchmarks import by_hand, interleaved, onnx_runtime, optimize_tables  # noqa: E402
from benchmarks.optimize_tables import SAVED_MODEL  # noqa: E402
from benchmarks.thin import thinned  # noqa: E402
from custom_components.tflite_quantizer import quality, recipes  # noqa: E402
from custom_components.tflite_quantizer.executor import write_rows  # noqa: E402
from custom_components.tflite_quantizer.measure import YARDSTICK, measure, size_of  # noqa: E402
from models import bundle, examples, isolation, metrics  # noqa: E402
from models.benchmark.machine import stamp  # noqa: E402
from models.benchmark.ratio import ratio  # noqa: E402
from models.graph import Preprocessor  # noqa: E402
from models.predictor import (  # noqa: E402
    SERVING_FOLDER,
    Predictor,
    TFLiteRunner,
    by_tensor,
)
from models.rows import Rows, preprocess  # noqa: E402
from models.spec import ModelSpec  # noqa: E402
from models.student import answers, labels_of  # noqa: E402
from models.training import predict_logits  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ("demo:chicago-taxi", "demo:digits", "demo:nyc-flights")
MIN_SLICE_ROWS = 200
RESULTS = ROOT / "benchmarks" / "results" / "optimize.json"


def run_pipeline(
    data: str, names: list[str], folder: pathlib.Path, rows: int | None = None
) -> dict:
    """The artifacts of a run that tries all these recipes: `component.output` to folder.

    Args:
      data: As `flywheel init` takes it.
      names: Of recipes.
      folder: Empty.
      rows: Most of them; of more, evenly spaced ones are taken.
    """

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
    if rows:
        config["data"]["path"] = thinned(data, rows, folder)
    # A busy machine is no reason for a row to be missing.
    config["quantizer"] = {"recipes": names, "timeout_seconds": 1800}
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
            isolation.run_isolated(by_hand.convert, job, seconds=1800, memory_mb=8192)
            made[way] = job.output
        except isolation.Isolated as error:
            failed[way] = str(error)
    return made, failed


@dataclasses.dataclass(frozen=True)
class Judge:
    """What every file is judged by: the same rows of test, and the float student's answers."""

    spec: ModelSpec
    rows: Rows
    reference: np.ndarray

    def answers(self, path: str) -> np.ndarray:
        """Of a TFLite file."""
        return Predictor(self.spec, TFLiteRunner(path)).predict_inputs(self.rows.inputs)

    def quality(self, answers: np.ndarray, against: np.ndarray | None = None) -> dict:
        """Drop against the float student or against others' answers, overall and by slice."""
        reference = self.reference if against is None else against
        slices = quality.slices_of(self.spec, self.rows.inputs, MIN_SLICE_ROWS)
        return quality.compare(self.spec, self.rows, slices, reference, answers)

    def of_answers(self, path: str, answers: np.ndarray) -> dict:
        """What `measure` says of a TFLite file, latency excepted, of a file that is none."""
        return {
            **size_of(path),
            "metrics": metrics.score(self.spec.task, labels_of(self.spec, self.rows), answers),
            "agreement": metrics.agreement(self.spec.task, self.reference, answers),
            "quality": self.quality(answers),
        }


def against_hand(
    judge: Judge, teacher: str, shipped: str, files: dict[str, str], work: pathlib.Path
) -> tuple[dict, dict, dict]:
    """The shipped file beside what is made by hand: paired on rows, and on interleaved rounds.

    Args:
      judge: Of test.
      teacher: Its folder.
      shipped: Path of the file that ships.
      files: Made by hand, and the yardstick `float32`: name to path.
      work: For files.

    Returns:
      Fields of ONNX Runtime's files as `measure` has them; of each by hand, and of the
      SavedModel, what the shipped file saves and loses; name to reason of those that failed.
    """
    rows = by_tensor(judge.spec, judge.rows.inputs)
    timed = {name: interleaved.tflite(path, rows) for name, path in files.items()}
    timed |= {"shipped": interleaved.tflite(shipped, rows)}
    timed |= {SAVED_MODEL: interleaved.saved_model(f"{teacher}/{SERVING_FOLDER}", rows)}
    answers = {n: judge.answers(p) for n, p in files.items() if n != YARDSTICK}
    sizes = {n: size_of(p)["bytes"] for n, p in files.items()}
    fields, failed, onnx = {}, {}, None
    try:
        onnx = onnx_runtime.Converted(teacher, judge.spec, judge.rows, work)
        timed |= onnx.timed()
        answers |= onnx.answers
        failed = onnx.failed
        for name, path in onnx.files.items():
            fields[name] = judge.of_answers(path, onnx.answers[name])
            fields[name]["interpreter"] = onnx.interpreter
            sizes[name] = fields[name]["bytes"]
    except onnx_runtime.Unavailable as error:
        failed = dict.fromkeys(onnx_runtime.WAYS.values(), str(error))
    seconds = interleaved.measure(timed)
    if onnx:
        onnx.close()
    for name, of in fields.items():
        p50, p90, p99 = np.quantile(seconds[name], [0.5, 0.9, 0.99]) * 1e6
        of["latency_us"] = {"p50": p50, "p90": p90, "p99": p99}
        of["latency_ratio"] = ratio(seconds[name], seconds[YARDSTICK]).to_dict()
    ours, size = judge.answers(shipped), size_of(shipped)["bytes"]
    versus = {
        name: {
            "bytes": sizes.get(name),
            "times_smaller": sizes[name] / size if name in sizes else None,
            # How many times as long as ours theirs takes, and the drop of ours against theirs.
            "times_faster": ratio(seconds[name], seconds["shipped"]).to_dict(),
            "latency_us": float(np.median(seconds[name]) * 1e6),
            "quality": judge.quality(ours, answers[name]) if name in answers else None,
        }
        for name in seconds
        if name not in (YARDSTICK, "shipped")
    }
    return fields, versus, failed


def one(data: str, names: list[str], work: pathlib.Path, rows: int | None) -> dict:
    """Everything about one data set."""
    started = time.monotonic()
    uris = run_pipeline(data, names, work, rows)
    spec, _, student = bundle.load(uris["Distiller.model"])
    variants = json.loads(
        (pathlib.Path(uris["TFLiteQuantizer.variants"]) / "variants.json").read_text()
    )
    files = {
        v["name"]: f"{uris['TFLiteQuantizer.variants']}/{v['name']}.tflite"
        for v in variants["variants"]
        if v["state"] != "skipped"
    }
    say(f"{data}: {len(files)} recipes made")
    hand, failed = by_hand_files(uris, spec, work)
    test = read(spec, uris, "test")
    judge = Judge(spec, test, answers(spec, predict_logits(student, spec, test)))
    say(f"{data}: measuring")
    measured = measure(spec, test, {**files, **hand}, judge.reference, MIN_SLICE_ROWS)
    shipped = next(v["name"] for v in variants["variants"] if v["state"] == "shipped")
    onnx, versus, not_onnx = against_hand(
        judge, uris["Trainer.model"], files[shipped], {YARDSTICK: files[YARDSTICK], **hand}, work
    )
    skipped = {v["name"]: v["reason"] for v in variants["variants"] if v["state"] == "skipped"}
    return {
        "metric": variants["primary_metric"],
        "limits": variants["limits"],
        "rows": {"test": len(test), **variants["rows"]},
        "picks": {p: v["name"] for v in variants["variants"] for p in v["picks"]},
        "shipped": shipped,
        "skipped": {**skipped, **failed, **not_onnx},
        "by_hand": [*hand, *onnx],
        "files": {**measured.files, **onnx},
        "versus": versus,
        "timing": measured.timing,
        "seconds": time.monotonic() - started,
    }


def save(path: pathlib.Path, results: dict[str, dict]) -> None:
    """With the machine."""
    path.parent.mkdir(exist_ok=True)
    content = {"machine": stamp().to_dict(), "data": results}
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def say(text: str) -> None:
    """Where it is, on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--recipes", nargs="+", default=list(recipes.names()))
    parser.add_argument("--rows", type=int, help="most of each data set, evenly spaced")
    arguments = parser.parse_args()
    results: dict[str, dict] = {}
    for data in arguments.data:
        with tempfile.TemporaryDirectory() as work:
            results[data] = one(data, arguments.recipes, pathlib.Path(work), arguments.rows)
        # After each: what is measured is not lost if the next one fails.
        save(RESULTS, results)
        save(optimize_tables.KEPT, {n: optimize_tables.reduced(r) for n, r in results.items()})
        print("\n".join(optimize_tables.section(data, results[data])), flush=True)
    say(f"written to {RESULTS} and {optimize_tables.KEPT}")


if __name__ == "__main__":
    main()
