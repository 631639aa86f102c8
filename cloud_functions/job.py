"""One run on this machine: `python -m cloud_functions.job FOLDER`.

Runs `flywheel run` as the folder's `job.json` says, waits where another run has the workspace,
leaves `result.json`, and publishes how it ended.
"""

from __future__ import annotations

import fcntl
import json
import logging
import pathlib
import subprocess
import sys
import time
from typing import IO, Any

import httpx
import tenacity

from cloud_functions import topics

_LOCK_SECONDS = 3.0
_WAIT_SECONDS = 5.0
_LONGEST_WAIT = 6 * 3600.0
_STATES = ("pushed", "not_blessed", "blocked_by_data", "failed")
_logger = logging.getLogger(__name__)


def work(folder: pathlib.Path) -> None:
    """Does the job, unless another process does or did."""
    with open(folder / "lock", "a", encoding="utf-8") as lock:
        if not _lock(lock):
            return
        result = folder / "result.json"
        order = json.loads((folder / "job.json").read_text("utf-8"))
        if not result.exists():
            _write(result, finished(order, _run(order, folder)))
        if order["topic"] and not (folder / "published").exists():
            _publish(order["topic"], json.loads(result.read_text("utf-8")))
            (folder / "published").touch()


def _lock(file: IO[str]) -> bool:
    """Takes the lock; whoever only looks whether it is taken holds it for a moment."""
    end = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
        time.sleep(0.05)


def _run(order: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "pipeline", "run", "--json", "--config", order["config"]]
    command += ["--data", order["data"]] if order["data"] else []
    command += ["--force"] if order["force"] else []
    start = time.monotonic()
    while True:
        with open(folder / "run.err", "wb") as errors:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=pathlib.Path(order["config"]).parent,
                check=False,
            )
        try:
            ended = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            said = (folder / "run.err").read_text("utf-8", "replace").strip()[-500:]
            reason = {"code": "NO_RESULT", "message": f"exit code {done.returncode}: {said}"}
            return {"state": "failed", "reasons": [reason]}
        codes = [reason["code"] for reason in ended.get("reasons", [])]
        waited = time.monotonic() - start
        if "ALREADY_RUNNING" not in codes or waited > _LONGEST_WAIT:
            return {**ended, "waited_and_ran": waited}
        time.sleep(_WAIT_SECONDS)


def finished(order: dict[str, Any], ended: dict[str, Any]) -> dict[str, Any]:
    """The event `RunFinished` of a run's result."""
    state = "unchanged" if ended.get("unchanged") else ended.get("state", "failed")
    severe = [r for r in ended.get("reasons", []) if r.get("severity", "block") != "info"]
    return {
        "model": order["model"],
        "job": order["id"],
        "state": state if state in (*_STATES, "unchanged") else "failed",
        "run_id": ended.get("run_id") or "",
        "version": (ended.get("pushed") or {}).get("version"),
        "reasons": [f"{r['code']}: {r['message']}" for r in severe][:20],
        "seconds": (ended.get("seconds") or {}).get("total"),
        "report": ended.get("report"),
    }


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(httpx.HTTPError),
    wait=tenacity.wait_random_exponential(0.5, max=60.0),
    stop=tenacity.stop_after_delay(3600),
)
def _publish(topic: str, payload: dict[str, Any]) -> None:
    topics.publish(topic, payload)


def _write(path: pathlib.Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1), "utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    work(pathlib.Path(sys.argv[1]))
