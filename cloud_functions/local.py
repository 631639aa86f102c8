"""All functions on this machine: the same handlers, each in a functions-framework process."""

from __future__ import annotations

import contextlib
import errno
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import httpx

from cloud_functions.bus import Bus, Clock, Watcher
from cloud_functions.ledger import Ledger, open_ledger
from cloud_functions.options import TopicOptions
from cloud_functions.settings import Settings
from cloud_functions.settings_file import ENVIRONMENT
from models import child
from models.errors import ConfigError, FlywheelError
from models.text import did_you_mean

NAMES = ("predict", "on_new_data", "check_drift", "on_alert", "on_run_finished")
_CODE = pathlib.Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


def check_name(name: str) -> None:
    """Whether there is such a function.

    Raises:
      ConfigError: UNKNOWN_FUNCTION.
    """
    if name not in NAMES:
        raise ConfigError(
            "UNKNOWN_FUNCTION",
            f"There is no function `{name}`.{did_you_mean(name, NAMES)}",
            next=f"There are {', '.join(NAMES)}.",
        )


def command(name: str, port: int, host: str = "127.0.0.1") -> list[str]:
    """What serves a function."""
    source = _CODE / "cloud_functions" / name / "main.py"
    return [
        *(sys.executable, "-m", "functions_framework"),
        *("--target", name, "--source", str(source), "--host", host, "--port", str(port)),
    ]


def environment(settings_file: pathlib.Path, threads: int) -> dict[str, str]:
    """Of a function's process."""
    return child.environment(**{ENVIRONMENT: str(settings_file), "THREADS": str(threads)})


class Function:
    """One function's process.

    Args:
      name: Of the function.
      settings_file: What it reads.
      log: Takes what it says.
      port: Where it listens; 0: a free one.
      threads: Requests at the same time.
    """

    def __init__(
        self,
        name: str,
        settings_file: pathlib.Path,
        log: pathlib.Path,
        *,
        port: int = 0,
        threads: int = 8,
    ):
        check_name(name)
        self.name, self.log = name, log
        self.port = port or free_port()
        self._settings_file, self._threads = settings_file, threads
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it; `wait` says when it listens.

        Raises:
          ConfigError: PORT_TAKEN.
        """
        check_port(self.port)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command(self.name, self.port),
                env=environment(self._settings_file, self._threads),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the one who started it, in its order
            )

    def wait(self) -> None:
        """Until it listens.

        Raises:
          FlywheelError: FUNCTION_FAILED.
        """
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.process is not None and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            time.sleep(0.05)
        said = self.log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise FlywheelError(
            "FUNCTION_FAILED",
            f"The function `{self.name}` did not start: {' '.join(said) or 'it said nothing'}.",
            next=f"Its words are in `{self.log}`.",
        )

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not enough."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Stack:
    """Functions, bus, watched folder and clock.

    Args:
      settings: Paths absolute; topics are set to the local bus.
      folder: Takes the functions' settings and logs.
      names: Which functions.
      ports: Of functions that need a certain one.

    Raises:
      ConfigError: NO_INBOX.
    """

    def __init__(
        self,
        settings: Settings,
        folder: pathlib.Path,
        *,
        names: Sequence[str] = NAMES,
        ports: dict[str, int] | None = None,
    ):
        self.ledger: Ledger = open_ledger(settings.automation.ledger)
        file = folder / "settings.json"
        ports = ports or {}
        self.functions = {
            name: Function(
                name,
                file,
                folder / f"{name}.log",
                port=ports.get(name, 0),
                threads=settings.serving.threads if name == "predict" else 8,
            )
            for name in names
        }
        subscriptions = {
            topic: self.functions[name].url
            for topic, name in (("alerts", "on_alert"), ("runs", "on_run_finished"))
            if name in self.functions
        }
        self.bus = Bus(subscriptions, self.ledger, attempts=settings.automation.attempts + 2)
        topics = TopicOptions(**{topic: self.bus.url(topic) for topic in subscriptions})
        automation = settings.automation.model_copy(update={"topics": topics})
        self.settings = settings.model_copy(update={"automation": automation})
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(self.settings.model_dump_json(indent=1), "utf-8")
        self._helpers: list[Watcher | Clock] = []
        inbox = automation.inbox
        if inbox and "on_new_data" in self.functions:
            _make_inbox(pathlib.Path(inbox))
            url, hours = self.functions["on_new_data"].url, automation.max_age_hours
            watcher = Watcher(pathlib.Path(inbox), url, self.bus, max_age_hours=hours)
            self._helpers.append(watcher)
        if "check_drift" in self.functions:
            self._helpers.append(Clock(automation.check_seconds, self.check))

    def ended(self) -> list[Function]:
        """Functions whose process is no more."""
        made = self.functions.values()
        return [f for f in made if f.process is not None and f.process.poll() is not None]

    def check(self) -> dict:
        """Calls check_drift now, as a scheduler does."""
        moment = str(time.time_ns())
        headers = {"Idempotency-Key": moment}
        answer = httpx.post(
            self.functions["check_drift"].url, json={}, headers=headers, timeout=600.0
        )
        return answer.json()

    @contextlib.contextmanager
    def running(self) -> Iterator[Stack]:
        """All of it, for as long as the block lasts."""
        try:
            for function in self.functions.values():
                function.start()
            for function in self.functions.values():
                function.wait()
            self.bus.start()
            for helper in self._helpers:
                helper.start()
            yield self
        finally:
            for helper in self._helpers:
                helper.stop()
            self.bus.stop()
            for function in self.functions.values():
                function.stop()


def _make_inbox(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            "NO_INBOX",
            f"`{folder}` cannot be watched for new data: {error.strerror}.",
            next="Name a folder: `automation.inbox` in flywheel.yaml, or `--inbox`.",
        ) from None


def check_port(port: int, host: str = "127.0.0.1") -> None:
    """Whether one can listen there.

    Raises:
      ConfigError: PORT_TAKEN, NO_SUCH_ADDRESS.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise ConfigError(
            "PORT_TAKEN" if taken else "NO_SUCH_ADDRESS",
            f"Something else listens at {host}:{port}."
            if taken
            else f"Nothing can listen at {host}:{port}: {error.strerror}.",
            next="End it, or choose another port: `serving.port` in flywheel.yaml; "
            "`flywheel functions serve` takes `--port` too."
            if taken
            else "Name an address of this machine, and a port that you may use.",
        ) from None


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
