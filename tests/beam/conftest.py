"""A Beam job service and a pool of workers, as processes of their own on loopback ports."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen, log: pathlib.Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text("utf-8")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on {port}: {log.read_text('utf-8')}")


@pytest.fixture(scope="session")
def portable_arguments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """Beam arguments of a portable runner whose workers are outside of the submitting process.

    It stands for Flink's and Spark's runners: the same job protocol, the same worker harness.
    """
    folder = tmp_path_factory.mktemp("portable")
    # The pool starts its workers as `python`.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    jobs, workers = _free_port(), _free_port()
    commands = {
        jobs: ["apache_beam.runners.portability.local_job_service_main", "-p", str(jobs)],
        workers: [
            "apache_beam.runners.worker.worker_pool_main",
            f"--service_port={workers}",
        ],
    }
    with contextlib.ExitStack() as stack:
        for port, (module, *arguments) in commands.items():
            log = folder / f"{module.rsplit('.', 1)[-1]}.log"
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=folder,
                env=environment,
                stdout=log.open("wb"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            stack.callback(_end, process)
            _wait_for(port, process, log)
        yield (
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{jobs}",
            "--environment_type=EXTERNAL",
            f"--environment_config=127.0.0.1:{workers}",
            # Of every answer of the job service, also of the one that streams until the end.
            "--job_server_timeout=600",
        )


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 15)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
