"""Starting, finding and stopping runs from the web process."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import threading
from typing import Any

import psutil

from control_center.runs_index import RunsIndex
from control_center.standby import Standby
from models.errors import ConfigError, FlywheelError
from pipeline import config as config_module
from pipeline.config import Config
from pipeline.workspace import Workspace

_START_SECONDS = 60
_STOP_SECONDS = 15


def start(standby: Standby, config: Config, *, user: str, resumes: str | None = None) -> str:
    """Starts a run that outlives this process.

    Args:
      standby: May have a supervisor waiting.
      config: Checked config, paths absolute.
      user: Who starts it.
      resumes: The run it goes on from.

    Returns:
      The run's id.

    Raises:
      FlywheelError: ALREADY_RUNNING, naming the run; NOT_STARTED.
    """
    request = {
        "config": config_module.dump(config),
        "origin": {"user": user, "resumes": resumes, "by": "control center"},
    }
    root = Workspace(pathlib.Path(config.root)).root
    process = standby.take(root, config.engine)
    assert process.stdin and process.stdout
    timer = threading.Timer(_START_SECONDS, process.kill)
    timer.start()
    try:
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
        line = process.stdout.readline()
    except OSError:
        line = b""
    finally:
        timer.cancel()
        process.stdout.close()
    try:
        answer = json.loads(line)
    except ValueError:
        raise FlywheelError(
            "NOT_STARTED",
            "The process that watches over the run ended before it could start it.",
            next=f"What it said is in `{root / 'control_center' / 'supervisor.log'}`.",
        ) from None
    if "error" in answer:
        error = answer["error"]
        raise FlywheelError(
            error["code"], error["message"], next=error["next"], cases=error["cases"]
        )
    return answer["run_id"]


def cancel(index: RunsIndex, run_id: str) -> None:
    """Asks a run to stop at once, and makes sure in the background.

    Raises:
      ConfigError: NOT_RUNNING.
    """
    pid = index.workers(fresh=True).get(run_id)
    if pid is None:
        raise ConfigError(
            "NOT_RUNNING",
            f"Run {run_id} is not running: there is nothing to cancel.",
            next="Its page says how it ended.",
        )
    try:
        process = psutil.Process(pid)
        process.send_signal(signal.SIGTERM)
    except psutil.NoSuchProcess:
        return
    threading.Thread(target=_make_sure, args=(process,), daemon=True).start()


def _make_sure(process: psutil.Process) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except psutil.TimeoutExpired:
        try:
            os.killpg(os.getpgid(process.pid), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def progress_of(index: RunsIndex, run_id: str) -> dict[str, Any]:
    """What a running worker takes from the machine; empty when there is none."""
    from pipeline.memory import resident

    pid = index.workers().get(run_id)
    return {"memory_bytes": resident(pid)} if pid else {}
