"""A functions-framework process that is measured: its start, its answers, what it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import signal
import subprocess
import time

import psutil

START_SECONDS = 120.0


@dataclasses.dataclass
class Server:
    """One server.

    Attributes:
      name: In tables.
      arguments: Its command.
      port: Where it listens.
      variables: Its environment.
    """

    name: str
    arguments: list[str]
    port: int
    variables: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self, body: bytes) -> float:
        """Starts it; seconds to the first answer."""
        start = time.perf_counter()
        self.process = subprocess.Popen(
            self.arguments,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while time.perf_counter() - start < START_SECONDS and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask(self.connection(), body)[0] == 200:
                    return time.perf_counter() - start
            time.sleep(0.005)
        raise RuntimeError(f"{self.name} gave no answer")

    def stop(self) -> None:
        """SIGTERM, and waits until it has written what it holds."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.process = None

    def connection(self) -> http.client.HTTPConnection:
        """A new one."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)

    @staticmethod
    def ask(
        connection: http.client.HTTPConnection, body: bytes, request_id: str | None = None
    ) -> tuple[int, bytes]:
        """Status and content of one answer."""
        headers = {"Content-Type": "application/json"}
        if request_id:
            headers["X-Request-Id"] = request_id
        connection.request("POST", "/predict", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def cpu(self) -> float:
        """CPU seconds that it has taken, all its processes."""
        return sum(sum(p.cpu_times()[:2]) for p in self._processes())

    def memory(self) -> dict[str, float]:
        """Megabytes.

        Returns:
          `worker_rss`: of the process that answers. `rss`: of all its processes, what they share
          counted in each. `pss`: the same, counted once: what a container is billed. `uss`: what
          only they have.
        """
        found = [p.memory_full_info() for p in self._processes()]
        taken = {
            "worker_rss": max(f.rss for f in found),
            "rss": sum(f.rss for f in found),
            "pss": sum(f.pss for f in found),
            "uss": sum(f.uss for f in found),
        }
        return {name: round(value / 1e6, 1) for name, value in taken.items()}

    def _processes(self) -> list[psutil.Process]:
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]
