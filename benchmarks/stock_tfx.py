"""Flywheel against the stock TFX pipeline, on the same CSV, in one call.

    python -m benchmarks.stock_tfx [--rows 15000] [--rounds 3]

Each round runs, one after the other and each in a fresh process: the stock
seven-component pipeline, which trains for 200 steps; Flywheel's first run (teacher,
student, two controls, five variants, evaluation, report); Flywheel again on unchanged
data; the same with another threshold, as a command and under `flywheel run --watch` (from
saving the config to the result); the same with `--force`, which evaluates against
the version deployed since; and a first run held to the stock run's work: the teacher to its
200 steps of 128 rows, student and controls in proportion, one pass of fine-tuning. Prints
the ratios of each round and their medians; absolute times prove nothing on a
shared machine. Writes benchmarks/results/stock_tfx_<rows>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

from custom_components.example_gen.demo import find_demo
from models.options import StudentOptions, TeacherOptions
from models.student import USUAL_EPOCHS, USUAL_TEACHER_EPOCHS
from models.training import Schedule

STEPS = 200
#: Between one look at the result and the next change.
_THINKING_S = 15
TRAIN_SHARE = 0.7
ROOT = pathlib.Path(__file__).resolve().parent.parent


def write_table(path: pathlib.Path, rows: int) -> None:
    """The taxi table with its label, repeated with a little noise until it is long enough."""
    frame = pd.read_csv(find_demo("demo:chicago-taxi"))
    frame["big_tipper"] = (frame.tips > 0.2 * frame.fare).astype(int)
    frame = frame.drop(columns=["pickup_census_tract"])  # empty: stock TFX cannot type it
    rng = np.random.default_rng(0)
    picked = np.arange(rows) % len(frame)
    table = frame.iloc[picked].copy()
    again = np.arange(rows) >= len(frame)
    for name in ("fare", "trip_miles"):
        noise = 1 + 0.05 * rng.standard_normal(rows)
        table[name] = np.where(again, (table[name] * noise).round(2), table[name])
    table.to_csv(path, index=False)


def timed(command: list[str], folder: pathlib.Path) -> dict[str, float]:
    """Wall and CPU seconds and peak memory of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with open(folder / "output.txt", "a", encoding="utf-8") as output:
        done = subprocess.run(
            command,
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
            check=False,
        )
    seconds = time.perf_counter() - start
    # 4 is a run that went to its end and was not blessed: a teacher memorises repeated rows.
    if done.returncode not in (0, 4):
        sys.exit(f"{' '.join(command)} failed:\n" + (folder / "output.txt").read_text()[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": seconds, "cpu": cpu}


def one_round(data: pathlib.Path, work: pathlib.Path, rows: int, whole: bool) -> dict[str, dict]:
    """All runs, by name."""
    stock_folder, ours_folder, held_folder = work / "stock", work / "ours", work / "held"
    for folder in (stock_folder, ours_folder, held_folder):
        folder.mkdir(parents=True)
    python = [sys.executable, "-W", "ignore", "-m"]
    stock = timed(
        [*python, "benchmarks.stock_pipeline", str(data), str(stock_folder), str(STEPS)],
        stock_folder,
    )
    stock |= json.loads((stock_folder / "seconds.json").read_text())
    write_config(held_folder, data, held(round(TRAIN_SHARE * rows)))
    found = {"stock": stock, "held": run(held_folder)}
    if whole:
        write_config(ours_folder, data)
        found["first"] = run(ours_folder)
        found["again"] = run(ours_folder)
        with open(ours_folder / "flywheel.yaml", "a", encoding="utf-8") as file:
            file.write("  min_slice_rows: 120\n")  # of `evaluation`, the last section
        found["threshold"] = run(ours_folder)
        found["watched"] = watched(ours_folder)
        found["forced"] = run(ours_folder, "--force")
    return found


def run(folder: pathlib.Path, *options: str) -> dict:
    """`flywheel run` in a process of its own: what it cost, and how it ended."""
    command = [sys.executable, "-W", "ignore", "-m", "pipeline", "run", *options]
    return timed(command, folder) | result(folder)


def held(rows: int) -> str:
    """Config that gives the teacher the stock run's steps, and the others as many fewer."""
    usual = [
        Schedule.of(options, rows, epochs)
        for options, epochs in (
            (TeacherOptions(), USUAL_TEACHER_EPOCHS),
            (StudentOptions(), USUAL_EPOCHS),
        )
    ]
    teacher, student = (one.steps * one.epochs for one in usual)
    return "\n".join(
        (
            f"teacher: {{steps: {STEPS}, batch_size: 128}}",
            f"student: {{steps: {round(STEPS * student / teacher)}, batch_size: 128}}",
            "quantizer: {qat_epochs: 1}",
        )
    )


def write_config(folder: pathlib.Path, data: pathlib.Path, more: str = "") -> None:
    """The demo's config on the benchmark's table."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipeline", "init", "demo:chicago-taxi"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    path = folder / "flywheel.yaml"
    lines = path.read_text().splitlines()
    drop = ("  derive:", "    big_tipper:", "  pickup_census_tract:", "  split:")
    text = "\n".join([more, *(line for line in lines if not line.startswith(drop))])
    path.write_text(text.replace('"demo:chicago-taxi"', f'"{data}/data.csv"') + "\n")


def watched(folder: pathlib.Path) -> dict:
    """Another threshold saved while `flywheel run --watch` is there."""
    said, path = folder / "watch.txt", folder / "flywheel.yaml"
    with open(said, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "pipeline", "run", "--watch"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_watches(process, said, 1)
        time.sleep(_THINKING_S)  # while it imports
        start = time.perf_counter()
        path.write_text(path.read_text().replace("min_slice_rows: 120", "min_slice_rows: 121"))
        _wait_until_it_watches(process, said, 2)
        return {"wall": time.perf_counter() - start} | result(folder)
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_watches(process: subprocess.Popen, said: pathlib.Path, times: int) -> None:
    while said.read_text().count("Ctrl-C ends") < times:
        if process.poll() is not None:
            sys.exit(f"it ended:\n{said.read_text()[-3000:]}")
        time.sleep(0.02)


def result(folder: pathlib.Path) -> dict:
    newest = max((folder / ".flywheel" / "runs").iterdir(), key=lambda p: p.name)
    found = json.loads((newest / "result.json").read_text())
    keep = ("state", "seconds", "components", "metrics")
    return {key: found[key] for key in keep} | {"component_seconds": found["seconds"]["components"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--held-only", action="store_true", help="only the stock run and the one held to its steps"
    )
    arguments = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        work = pathlib.Path(scratch)
        data = work / "data"
        data.mkdir()
        write_table(data / "data.csv", arguments.rows)
        for number in range(arguments.rounds):
            folder = work / f"round_{number}"
            rounds.append(one_round(data, folder, arguments.rows, not arguments.held_only))
            shutil.rmtree(folder)
            print(f"round {number + 1}: " + describe(rounds[-1]), flush=True)
    table = ratios(rounds)
    print(f"\n{arguments.rows:,} rows, {arguments.rounds} rounds; median (least to most)")
    for name, values in table.items():
        spread = f"({min(values):.2f} to {max(values):.2f})"
        print(f"  {name:<42} {statistics.median(values):.2f}  {spread}")
    target = ROOT / "benchmarks" / "results" / f"stock_tfx_{arguments.rows}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(
        json.dumps({"rows": arguments.rows, "ratios": table, "rounds": rounds}, indent=1)
    )
    print(f"written to {target.relative_to(ROOT)}")


def describe(one: dict[str, dict]) -> str:
    return ", ".join(f"{name} {run['wall']:.1f} s" for name, run in one.items())


def ratios(rounds: list[dict[str, dict]]) -> dict[str, list[float]]:
    """Name to the ratio of each round."""

    def per(run: str, against: str, kind: str = "wall") -> list[float]:
        return [r[run][kind] / r[against][kind] for r in rounds if run in r]

    def component(stock: str, ours: str) -> list[float]:
        return [
            r["stock"]["components"][stock] / r["held"]["component_seconds"][ours] for r in rounds
        ]

    found = {
        "held to the stock run's steps / stock (wall)": per("held", "stock"),
        "held to the stock run's steps / stock (CPU)": per("held", "stock", "cpu"),
        "as it comes / stock (wall)": per("first", "stock"),
        "as it comes / stock (CPU)": per("first", "stock", "cpu"),
        "unchanged re-run / first run (wall)": per("again", "first"),
        "other threshold / first run (wall)": per("threshold", "first"),
        "other threshold, watched / first run (wall)": per("watched", "first"),
        "forced re-run / first run (wall)": per("forced", "first"),
        "CsvExampleGen / ExampleGen": component("CsvExampleGen", "ExampleGen"),
        "stock StatisticsGen / StatisticsGen": component("StatisticsGen", "StatisticsGen"),
        "stock Evaluator / Evaluator": component("Evaluator", "Evaluator"),
    }
    return {name: values for name, values in found.items() if values}


if __name__ == "__main__":
    main()
