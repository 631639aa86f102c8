"""Watches one run from its start to its end: `python -m control_center.supervisor ENGINE`.

The web process may end, be killed or be replaced at any time; the run must not
notice. So the web process starts this one, in a session of its own, and this one
starts the worker, removes what it leaves in the temporary folder,
and records its end even when it dies without a word.

It holds a lock on the workspace from before the worker exists until after it
has ended, so that of two starts at the same moment one is told about the other.
"""

from __future__ import annotations

import fcntl
import json
import pathlib
import signal
import sys
import threading
import time
from typing import Any, TextIO

import yaml

from control_center.runs_index import ORIGIN_FILE, RunsIndex
from models.errors import FlywheelError
from pipeline import config as config_module
from pipeline.launch import Prepared, Worker
from pipeline.workspace import Workspace

_NAME_SECONDS = 3.0


def main() -> None:
    """Takes `config` (YAML), `origin` as JSON on stdin; answers with `run_id` or `error`.

    Until then its worker imports what a run on the engine it is started with needs.
    """
    prepared = Prepared(sys.argv[1])
    asked = sys.stdin.read()
    if not asked:  # there will be no run
        prepared.close()
        return
    request = json.loads(asked)
    config = config_module.parse(yaml.safe_load(request["config"]), "the config of this run")
    workspace = Workspace(pathlib.Path(config.root))
    try:
        lock = take(workspace)
        worker = Worker(config, prepared)
    except FlywheelError as error:
        prepared.close()
        _answer({"error": error.reason.to_dict()})
        return
    run_id = worker.folder.id
    (worker.folder.path / ORIGIN_FILE).write_text(json.dumps(request["origin"]), "utf-8")
    lock.truncate(0)
    lock.write(run_id)
    lock.flush()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=worker.stop).start())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _answer({"run_id": run_id})
    for _ in worker.events():
        pass
    worker.result()


def take(workspace: Workspace) -> TextIO:
    """The lock of whoever starts runs from a page; held until the file is closed.

    Raises:
      FlywheelError: ALREADY_RUNNING, naming the run.
    """
    folder = workspace.root / "control_center"
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / "run.lock", "a+", encoding="utf-8")  # noqa: SIM115 (held for life)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise already_running(_holder(lock)) from None
    lock.truncate(0)
    others = RunsIndex(workspace).workers()
    if others:
        raise already_running(max(others))
    return lock


def already_running(run_id: str) -> FlywheelError:
    return FlywheelError(
        "ALREADY_RUNNING",
        f"Run {run_id or 'another'} is at work in this workspace: one run at a time.",
        next="Watch it, or cancel it first.",
        cases=[{"run_id": run_id}] if run_id else [],
    )


def _holder(lock: TextIO) -> str:
    """Who has it; the other may be about to write its name."""
    until = time.monotonic() + _NAME_SECONDS
    while time.monotonic() < until:
        lock.seek(0)
        name = lock.read().strip()
        if name:
            return name
        time.sleep(0.05)
    return ""


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
