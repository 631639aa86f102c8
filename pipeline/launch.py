"""Starts the worker of a run and follows what it says. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from models import child
from models.errors import DataError, FlywheelError, disk_full
from models.stack import ENVIRONMENT
from pipeline import config as config_module
from pipeline.config import Config
from pipeline.memory import Sampler
from pipeline.workspace import FIRST_LOG, RunFolder, Workspace

_LOG = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
_TAKE_SECONDS = 0.005
_STOP_SECONDS = 15
#: With less space than this a worker cannot even say how it ended.
_LEAST_BYTES = 1 << 16
#: multiprocessing puts a socket some 50 characters below the temporary folder, and the path of a
#: socket has 107 at most.
_DEEPEST = 55


class Prepared:
    """A worker that has no run yet, and imports TensorFlow and TFX meanwhile.

    Args:
      engine: Of the config that it is for.
    """

    def __init__(self, engine: str):
        # What libraries leave in the temporary folder goes with the run: workers end without
        # taking TensorFlow down in order, and may be killed.
        self.scratch = tempfile.TemporaryDirectory(
            prefix="flywheel-",
            dir=tempfile.gettempdir() if len(tempfile.gettempdir()) < _DEEPEST else "/tmp",
            ignore_cleanup_errors=True,
        )
        self._engine = engine
        self._code = _code_state()
        with open(pathlib.Path(self.scratch.name) / FIRST_LOG, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.worker", engine],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, **child.environment(TMPDIR=self.scratch.name)},
                start_new_session=True,  # Ctrl-C reaches the one who started it, not the work
            )

    def fits(self, engine: str) -> bool:
        """Whether it lives, and imported what a run on this engine would import now."""
        return (
            self.process.poll() is None and engine == self._engine and _code_state() == self._code
        )

    def hand_over(self, folder: RunFolder) -> None:
        """Gives it its run; returns when it has taken it, or has died."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{folder.path.resolve()}\n".encode())
            self.process.stdin.close()
        while self.process.poll() is None and not folder.events.stat().st_size:
            time.sleep(_TAKE_SECONDS)

    def close(self) -> None:
        """Ends it, when there is no run for it."""
        self.process.kill()
        self.process.wait()
        self.scratch.cleanup()


def _code_state() -> int:
    """Changes when any of our source does, which a process at work would not notice."""
    root = pathlib.Path(__file__).resolve().parent.parent
    return hash(
        tuple(
            (str(path), path.stat().st_mtime_ns)
            for room in ("models", "custom_components", "monitoring", "pipeline")
            for path in sorted((root / room).rglob("*.py"))
        )
    )


class Worker:
    """One run in a process of its own.

    Args:
      config: Checked config, paths absolute.
      prepared: A process that may be ready for it; it is used up, or closed when it does not fit.
    """

    def __init__(self, config: Config, prepared: Prepared | None = None):
        self.folder: RunFolder = Workspace(pathlib.Path(config.root)).new_run()
        self.folder.config.write_text(config_module.dump(config), encoding="utf-8")
        self.folder.events.touch()
        self.folder.log.touch()
        if prepared and not prepared.fits(config.engine):
            prepared.close()
            prepared = None
        prepared = prepared or Prepared(config.engine)
        self._scratch = prepared.scratch
        self._process = prepared.process
        prepared.hand_over(self.folder)

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event until the worker ends; what it held in memory is then on file."""
        sampler = Sampler(self._process.pid)
        try:
            for event in self._events():
                sampler.handle(event)
                yield event
        finally:
            sampler.stop()
            with contextlib.suppress(OSError):  # no space: there are more important things to tell
                self.folder.memory.write_text(json.dumps(sampler.peaks), encoding="utf-8")

    def _events(self) -> Iterator[dict[str, Any]]:
        with open(self.folder.events, encoding="utf-8") as file:
            pending = ""
            while True:
                ended = self._process.poll() is not None
                pending += file.read()
                *lines, pending = pending.split("\n")
                for line in lines:
                    yield json.loads(line)
                if ended:
                    self._scratch.cleanup()
                    return
                time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Asks the worker to stop at once, and makes sure."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._scratch.cleanup()

    def result(self) -> dict[str, Any]:
        """How the run ended, also when the worker died without a word."""
        result = self.folder.read_result()
        if result is not None:
            return result
        if shutil.disk_usage(self.folder.path).free < _LEAST_BYTES:
            return _leave_result(self.folder, disk_full(f"{self.folder.path} cannot be written."))
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        error = FlywheelError(
            "WORKER_DIED",
            f"The process of the run died ({how}); SIGKILL usually means that memory ran out.",
            next=f"Its last words are in `{self.folder.log}`. Finished components are kept: go on "
            "with `flywheel run`.",
        )
        return _leave_result(self.folder, error)


def refuse(config: Config, error: DataError) -> dict[str, Any]:
    """Records a run that ended before any component ran.

    Returns:
      Its result.
    """
    from pipeline.report.page import write_report

    workspace = Workspace(pathlib.Path(config.root))
    folder = workspace.new_run()
    folder.config.write_text(config_module.dump(config), encoding="utf-8")
    folder.events.touch()
    folder.log.write_text(f"{error}\n", encoding="utf-8")
    result = _leave_result(folder, error, report=str(folder.report))
    write_report(workspace, folder.id, folder.report)
    return result


def _leave_result(
    folder: RunFolder, error: FlywheelError, report: str | None = None
) -> dict[str, Any]:
    reasons = error.reasons if isinstance(error, DataError) else (error.reason,)
    result = {
        "run_id": folder.id,
        "state": error.state,
        "reasons": [reason.to_dict() for reason in reasons],
        "seconds": {"total": None, "components": {}},
        "components": {},
        "cache": {},
        "rows": {},
        "metrics": {},
        "variants": [],
        "pushed": None,
        "report": report,
        "log": str(folder.log),
    }
    try:
        folder.write_result(result)
    except OSError as problem:  # no space: it is told, if not kept
        _LOG.warning("%s cannot be written: %s", folder.result, problem)
    return result
