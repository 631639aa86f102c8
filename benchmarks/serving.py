"""Serving: the predict function beside the same function on TensorFlow, and beside nothing at all.

    python -m benchmarks.serving FOLDER [--seconds 60]

FOLDER holds a flywheel.yaml whose run pushed a version. Three servers, all functions-framework on
this machine, answer the same request of one row:

  predict     the deployed TFLite file
  teacher     the same function, whose model is the Trainer's SavedModel: it runs on TensorFlow
  floor       an empty handler: what HTTP and the framework cost

Cold start is from the start of the process to the first answer. Latencies are of requests one by
one on a kept connection, the servers in turn, in rounds. Under load, 16 clients ask without
pause while the pointer moves to another version halfway; every answer is looked for in the log.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import psutil

from cloud_functions.local import command, environment, free_port
from cloud_functions.options import ServingOptions
from cloud_functions.settings import Settings
from models.registry import Registry
from monitoring import prediction_log
from pipeline import config as config_module

_FLOOR = """
import functions_framework

@functions_framework.http
def floor(request):
    return "{}"
"""
_ROUNDS, _REQUESTS, _COLD = 10, 200, 3
_CLIENTS = 16


class Server:
    """A functions-framework process."""

    def __init__(self, name: str, arguments: list[str], port: int, variables: dict[str, str]):
        self.name, self.port = name, port
        self._arguments, self._variables = arguments, variables

    def start(self, body: bytes) -> float:
        """Starts it; seconds to the first answer."""
        start = time.perf_counter()
        self.process = subprocess.Popen(
            self._arguments,
            env=self._variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask(http.client.HTTPConnection("127.0.0.1", self.port), body)[0] == 200:
                    return time.perf_counter() - start
            assert self.process.poll() is None, f"{self.name} ended"
            time.sleep(0.005)

    @staticmethod
    def ask(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bytes]:
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def resident(self) -> int:
        """Bytes of the process and its workers that no other process shares (USS)."""
        parent = psutil.Process(self.process.pid)
        return sum(p.memory_full_info().uss for p in (parent, *parent.children(recursive=True)))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def teacher_registry(folder: pathlib.Path, saved_model: pathlib.Path) -> str:
    """A registry whose only version is the SavedModel."""
    version = folder / "versions" / "teacher"
    shutil.copytree(saved_model, version)
    manifest = {"created": "2026-01-01T00:00:00+00:00", "run_id": "", "data_fingerprint": ""}
    (version / "manifest.json").write_text(json.dumps(manifest))
    (folder / "CURRENT").write_text("teacher")
    return str(folder)


def quantiles(seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.asarray(seconds) * 1e3, [50, 99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def one_after_the_other(servers: list[Server], body: bytes) -> dict[str, dict[str, float]]:
    """Latencies of single requests; p99 is the median over rounds, which the machine disturbs."""
    times: dict[str, list[list[float]]] = collections.defaultdict(list)
    for _ in range(_ROUNDS):
        for server in servers:
            # A new one per round: the server closes a connection that rests.
            connection, taken = http.client.HTTPConnection("127.0.0.1", server.port), []
            for number in range(_REQUESTS + 20):
                start = time.perf_counter()
                status, answer = server.ask(connection, body)
                assert status == 200, answer
                if number >= 20:
                    taken.append(time.perf_counter() - start)
            times[server.name].append(taken)
    return {
        name: {
            key: round(statistics.median(quantiles(taken)[key] for taken in rounds), 3)
            for key in ("p50_ms", "p99_ms")
        }
        for name, rounds in times.items()
    }


def under_load(server: Server, registry: Registry, log: str, body: bytes, seconds: float) -> dict:
    """16 clients, the pointer moved halfway, and whether the log has every answer."""
    ids: list[str] = []
    taken: list[float] = []
    failed: list[bytes] = []
    versions: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        while time.monotonic() < end:
            start = time.perf_counter()
            try:
                status, answer = server.ask(connection, body)
            except (OSError, http.client.HTTPException) as error:
                failed.append(repr(error).encode())
                connection.close()
                continue
            taken.append(time.perf_counter() - start)
            if status != 200:
                failed.append(answer)
                continue
            content = json.loads(answer)
            ids.extend(content["request_ids"])
            versions[content["model_version"]] += 1

    threads = [threading.Thread(target=ask) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)
    first = registry.current()
    other = next(v.name for v in registry.versions() if v.name != first)
    registry.rollback(other)
    for thread in threads:
        thread.join()
    server.stop()
    logged = collections.Counter(
        name for table in prediction_log.read(log) for name in table["request_id"].to_pylist()
    )
    return {
        "clients": _CLIENTS,
        "seconds": seconds,
        "requests": len(taken),
        "failed": len(failed),
        "requests_per_s": round(len(taken) / seconds, 1),
        **quantiles(taken),
        "by_version": dict(versions),
        "acknowledged_not_logged": len(set(ids) - set(logged)),
        "logged_twice": sum(count > 1 for count in logged.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="Of load.")
    parser.add_argument("--output", type=pathlib.Path, help="JSON, too.")
    options = parser.parse_args()
    config = config_module.load(options.folder / "flywheel.yaml")
    deployed = Registry(config.deploy.path)
    current = deployed.folder(deployed.resolve())
    row = json.loads((current / "golden.json").read_text("utf-8"))["requests"][0]
    body = json.dumps({"instances": [row]}).encode()
    trained = sorted(
        pathlib.Path(config.root).glob("artifacts/Trainer/model/*"), key=lambda p: int(p.name)
    )
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        shutil.copytree(deployed.root, place / "deployed")
        registry = Registry(place / "deployed")
        serving = ServingOptions(threads=16)
        servers = []
        places = {
            "predict": str(registry.root),
            "teacher": teacher_registry(place / "teacher", trained[-1]),
        }
        for name, root in places.items():
            file = place / f"{name}.json"
            settings = Settings(name=config.name, deployed=root, log=str(place / f"log-{name}"),
                                serving=serving)  # fmt: skip
            file.write_text(settings.model_dump_json())
            port = free_port()
            servers.append(Server(name, command("predict", port), port, environment(file, 16)))
        (place / "floor.py").write_text(_FLOOR)
        port = free_port()
        arguments = [*(sys.executable, "-m", "functions_framework", "--target", "floor"),
                     *("--source", str(place / "floor.py"), "--port", str(port))]  # fmt: skip
        variables = {**os.environ, "THREADS": "16"}
        servers.append(Server("floor", arguments, port, variables))
        result: dict[str, dict] = {}
        for server in servers:
            cold = []
            for _ in range(_COLD):
                cold.append(server.start(body))
                server.stop()
            result[server.name] = {"cold_start_s": round(statistics.median(cold), 3)}
        for server in servers:
            server.start(body)
        for name, times in one_after_the_other(servers, body).items():
            result[name] |= times
        for server in servers:
            result[server.name]["uss_mb"] = round(server.resident() / 1e6, 1)
        for server in servers[1:]:
            server.stop()
        predict, teacher, floor = (result[s.name] for s in servers)
        log = str(place / "log-predict")
        if len(registry.versions()) > 1 and options.seconds > 0:
            result["load"] = under_load(servers[0], registry, log, body, options.seconds)
        else:
            servers[0].stop()
    result["against"] = {
        "cold start, times faster than the teacher": round(
            teacher["cold_start_s"] / predict["cold_start_s"], 1
        ),
        "p99, times the floor": round(predict["p99_ms"] / floor["p99_ms"], 2),
        "p50, times the floor": round(predict["p50_ms"] / floor["p50_ms"], 2),
        "memory, share of the teacher": round(predict["uss_mb"] / teacher["uss_mb"], 3),
    }
    for name, values in result.items():
        print(f"{name:<9}" + "  ".join(f"{key} {value}" for key, value in values.items()))
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
