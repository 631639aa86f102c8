"""The control center as a user starts it, in a process of its own; and programs that talk to it."""

from __future__ import annotations

import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import time

import httpx

from tests.conftest import ROOT

_START_SECONDS = 120  # seconds on a quiet machine are minutes on a busy one


class Server:
    """`flywheel ui` on a free port.

    Args:
      folder: Where flywheel.yaml is, or is going to be.
      arguments: More of the command line.
      environment: More of the environment.
    """

    def __init__(self, folder: pathlib.Path, *arguments: str, **environment: str):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "ui", "--port", "0", "--no-open", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = ""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if select.select([self.process.stderr], [], [], 0.5)[0]:
                line = self.process.stderr.readline()
                said += line
                found = re.search(r"http://\S+:(\d+)", line)
                if found:
                    self.url = f"http://127.0.0.1:{found.group(1)}"
                    return
                if not line:
                    break
        self.kill()
        raise AssertionError(f"the control center did not start: {said}")

    def kill(self) -> None:
        """As a crash or the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stderr.close()

    def stop(self) -> str:
        """As Ctrl-C would; what it said meanwhile."""
        self.process.send_signal(signal.SIGINT)
        try:
            said = self.process.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return said

    def client(self, **options) -> Client:
        return Client(base_url=self.url, **options)


class Manners:
    """A browser's manners without the browser: cookie and CSRF token of a page."""

    def open(self, path: str = "/") -> httpx.Response:
        """Loads a page and remembers its token."""
        answer = self.get(path, follow_redirects=True)
        found = re.search(r'name="csrf" content="(\w+)"', answer.text)
        if found:
            self.headers["x-csrf-token"] = found.group(1)
        return answer

    def login(self, **form: str) -> httpx.Response:
        """Fills in the login page; what is shown then."""
        page = self.open("/login").text
        csrf = re.search(r'name="csrf" value="(\w+)"', page).group(1)
        answer = self.post("/login", data={"csrf": csrf, **form}, follow_redirects=True)
        self.open("/")
        return answer


class Client(Manners, httpx.Client):
    """Talks to a server in a process of its own."""

    def __init__(self, **options):
        super().__init__(timeout=60, trust_env=False, **options)
