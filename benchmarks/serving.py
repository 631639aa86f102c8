"""Serving: the predict function beside the same function on TensorFlow, and beside nothing at all.

    python -m benchmarks.serving FOLDER [--light PYTHON] [--heavy PYTHON] [--load 60]

FOLDER holds a flywheel.yaml whose run pushed a version. Three servers, all functions-framework on
this machine, answer the same request of one row:

  predict   the deployed TFLite file
  teacher   the same function, whose model is the Trainer's SavedModel: it runs on TensorFlow
  floor     an empty handler: what HTTP and the framework cost

Everything is measured in rounds, each server once in every round, in turn, so that what else the
machine does meets all of them. A ratio is that of medians over rounds (cold start, CPU) or of
quantiles over all requests (latency), with the 95 % interval of 2,000 resamplings of the rounds.

  cold start  from the start of the process to the first answer; code is compiled, files are in
              the page cache
  latency     single requests on a kept connection, the client in another process
  CPU         of all the server's processes, per request, the writing of the log included
  memory      after all that

With `--load`, 16 clients then ask the predict function without pause for so many seconds while
the pointer moves to another version halfway, and every answer is looked for in the log.

A deployment has what its requirements.txt names and no more. So that each server starts in such an
environment, make two, whose interpreters are `--light` (predict, floor) and `--heavy` (teacher):

    python -m venv light && light/bin/pip install -r cloud_functions/predict/requirements.txt
    python -m venv heavy && heavy/bin/pip install -r cloud_functions/predict/requirements.txt \
        tensorflow==2.16.2   # or what `pip show tensorflow` says where the model was trained
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from benchmarks.serving_load import under_load
from benchmarks.serving_process import Server
from cloud_functions import assemble
from cloud_functions.local import free_port
from cloud_functions.options import ServingOptions
from cloud_functions.settings import Settings
from cloud_functions.settings_file import ENVIRONMENT, FILE
from models.registry import Registry
from pipeline import config as config_module
from pipeline.config import Config

_FLOOR = """
import functions_framework

@functions_framework.http
def floor(request):
    return "{}"
"""
_THREADS = 16
_RESAMPLINGS = 2000
_WARM = 20
#: Rounds (server by server): seconds, milliseconds or microseconds.
Rounds = dict[str, list[np.ndarray]]


def servers(
    config: Config, registry: Registry, place: pathlib.Path, light: str, heavy: str
) -> list[Server]:
    """The three, not started.

    Args:
      config: Of the run that pushed.
      registry: A copy of what it pushed.
      place: Takes logs and settings.
      light: Interpreter of predict and floor.
      heavy: Of the teacher.
    """
    saved = max(
        pathlib.Path(config.root).glob("artifacts/Trainer/model/*"), key=lambda p: int(p.name)
    )
    # TensorFlow's function may be called by many threads; an interpreter may not.
    kinds = {
        "predict": (str(registry.root), ServingOptions(threads=_THREADS), light),
        "teacher": (
            _registry_of(saved, place / "teacher"),
            ServingOptions(threads=_THREADS, interpreters=1),
            heavy,
        ),
    }
    variables = {**os.environ, "THREADS": str(_THREADS)}
    made = []
    for name, (root, serving, python) in kinds.items():
        settings = Settings(
            name=config.name, deployed=root, log=str(place / f"log-{name}"), serving=serving
        )
        folder = place / f"function-{name}"
        assemble.build("predict", settings, folder)
        made.append(_server(name, "predict", folder, python, {
            **variables, "PYTHONPATH": str(folder), ENVIRONMENT: str(folder / FILE)
        }))  # fmt: skip
    folder = place / "function-floor"
    folder.mkdir()
    (folder / "main.py").write_text(_FLOOR)
    return [*made, _server("floor", "floor", folder, light, variables)]


def _server(
    name: str, target: str, folder: pathlib.Path, python: str, variables: dict[str, str]
) -> Server:
    """A function's process; its files are compiled, as in an image."""
    port = free_port()
    subprocess.run([python, "-m", "compileall", "-q", str(folder)], check=True)
    arguments = [python, "-m", "functions_framework", "--target", target]
    arguments += ["--source", str(folder / "main.py"), "--host", "127.0.0.1", "--port", str(port)]
    return Server(name, arguments, port, variables)


def _registry_of(saved_model: pathlib.Path, folder: pathlib.Path) -> str:
    """A registry whose only version is a SavedModel."""
    version = folder / "versions" / "teacher"
    shutil.copytree(saved_model, version)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    manifest = {"created": now, "run_id": "", "data_fingerprint": ""}
    (version / "manifest.json").write_text(json.dumps(manifest))
    (folder / "CURRENT").write_text("teacher")
    return str(folder)


def cold_starts(measured: list[Server], body: bytes, rounds: int) -> tuple[Rounds, Rounds]:
    """Seconds and CPU seconds from process start to first answer; a start before is not counted."""
    seconds: Rounds = collections.defaultdict(list)
    cpu: Rounds = collections.defaultdict(list)
    for number in range(-1, rounds):
        for server in _turned(measured, number):
            taken = server.start(body)
            worked = server.cpu()
            server.stop()
            if number >= 0:
                seconds[server.name].append(np.asarray([taken]))
                cpu[server.name].append(np.asarray([worked]))
    return seconds, cpu


def single_requests(
    measured: list[Server], body: bytes, rounds: int, requests: int
) -> tuple[Rounds, Rounds]:
    """Milliseconds of requests one by one, and CPU microseconds per request."""
    latency: Rounds = collections.defaultdict(list)
    cpu: Rounds = collections.defaultdict(list)
    for number in range(rounds):
        for server in _turned(measured, number):
            connection = server.connection()  # the server closes one that rests
            taken = np.zeros(requests)
            for place in range(-_WARM, requests):
                if place == 0:
                    before = server.cpu()
                start = time.perf_counter()
                status, answer = server.ask(connection, body)
                if place >= 0:
                    taken[place] = time.perf_counter() - start
                assert status == 200, answer
            latency[server.name].append(taken * 1e3)
            cpu[server.name].append(np.asarray([(server.cpu() - before) / requests * 1e6]))
            connection.close()
    return latency, cpu


def _turned(measured: list[Server], number: int) -> list[Server]:
    turn = number % len(measured)
    return measured[turn:] + measured[:turn]


def ratio(
    rounds: Rounds, above: str, below: str, of: Callable[[np.ndarray], float]
) -> tuple[float, float, float]:
    """One server's figure over another's, and its 95 % interval over rounds."""
    random = np.random.default_rng(0)

    def one(chosen: np.ndarray) -> float:
        figures = [of(np.concatenate([rounds[name][i] for i in chosen])) for name in (above, below)]
        return figures[0] / figures[1]

    count = len(rounds[above])
    found = [one(random.integers(0, count, count)) for _ in range(_RESAMPLINGS)]
    low, high = np.percentile(found, [2.5, 97.5])
    return tuple(round(float(x), 3) for x in (one(np.arange(count)), low, high))


def p99(values: np.ndarray) -> float:
    return float(np.percentile(values, 99))


def median(values: np.ndarray) -> float:
    return float(np.median(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--light", default=sys.executable, help="Interpreter of two of them.")
    parser.add_argument("--heavy", default=sys.executable, help="Interpreter of the teacher.")
    parser.add_argument("--cold", type=int, default=5, help="Rounds of starts.")
    parser.add_argument("--rounds", type=int, default=40, help="Rounds of requests.")
    parser.add_argument("--requests", type=int, default=250, help="Requests of a round.")
    parser.add_argument("--load", type=float, default=0.0, help="Seconds of load.")
    parser.add_argument("-o", "--output", type=pathlib.Path, help="JSON, too.")
    options = parser.parse_args()
    config = config_module.load(options.folder / "flywheel.yaml")
    deployed = Registry(config.deploy.path)
    current = deployed.folder(deployed.resolve())
    row = json.loads((current / "golden.json").read_text("utf-8"))["requests"][0]
    body = json.dumps({"instances": [row]}).encode()
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        shutil.copytree(deployed.root, place / "deployed")
        registry = Registry(place / "deployed")
        measured = servers(config, registry, place, options.light, options.heavy)
        cold, cold_cpu = cold_starts(measured, body, options.cold)
        for server in measured:
            server.start(body)
        latency, cpu = single_requests(measured, body, options.rounds, options.requests)
        memory = {server.name: server.memory() for server in measured}
        for server in measured[1:]:
            server.stop()
        load = None
        if options.load:
            log = str(place / "log-predict")
            load = under_load(measured[0], registry, log, body, options.load)
        else:
            measured[0].stop()
    result = {
        "rounds": {
            "cold": options.cold,
            "requests": [options.rounds, options.requests],
            "own_environments": sys.executable not in (options.light, options.heavy),
            "machine_load": os.getloadavg(),
        },
        "servers": {
            s.name: {
                "cold_start_s": round(median(np.concatenate(cold[s.name])), 2),
                "cold_start_cpu_s": round(median(np.concatenate(cold_cpu[s.name])), 2),
                "p50_ms": round(median(np.concatenate(latency[s.name])), 3),
                "p99_ms": round(p99(np.concatenate(latency[s.name])), 3),
                "cpu_us": round(median(np.concatenate(cpu[s.name])), 0),
                **{f"{key}_mb": value for key, value in memory[s.name].items()},
            }
            for s in measured
        },
        "ratios": {
            "cold start, teacher / predict": ratio(cold, "teacher", "predict", median),
            "cold start CPU, teacher / predict": ratio(cold_cpu, "teacher", "predict", median),
            "p50, predict / floor": ratio(latency, "predict", "floor", median),
            "p99, predict / floor": ratio(latency, "predict", "floor", p99),
            "CPU, predict / floor": ratio(cpu, "predict", "floor", median),
            "p50, teacher / predict": ratio(latency, "teacher", "predict", median),
            "p99, teacher / predict": ratio(latency, "teacher", "predict", p99),
            "CPU, teacher / predict": ratio(cpu, "teacher", "predict", median),
            **{
                f"{key}, predict / teacher": [round(memory["predict"][key] / value, 3)]
                for key, value in memory["teacher"].items()
            },
        },
        "load": load,
    }
    for name, figures in result["servers"].items():
        print(f"{name:<9}" + "  ".join(f"{key} {value}" for key, value in figures.items()))
    for name, (value, *interval) in result["ratios"].items():
        print(f"{name:<34}{value:>8}" + (f"  {interval}" if interval else ""))
    for key, value in (load or {}).items():
        print(f"{key:<26}{value}")
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
