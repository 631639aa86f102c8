"""Commands of Flywheel that take longer than a page, run beside the web process.

Only what `commands` names can be run; nothing that a request says becomes part of a
command line but the choice among these.

    <workspace>/control_center/jobs/<id>/
      job.json     what, who, when
      log.txt      what it said
      result.json  exit code, and the object that `--json` printed
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psutil

from control_center.center import Center
from control_center.runs_index import read_json
from models import child
from models.errors import ConfigError, FlywheelError

_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_TAIL = 20_000
_STOP_SECONDS = 20
_starting = threading.Lock()


def commands(center: Center) -> dict[str, list[str]]:
    """Name to arguments of Python, for this config."""
    compiled = center.own / "compiled"
    kfp, vertex = compiled / "pipeline.yaml", compiled / "pipeline.json"
    config = ["--json", "--config", str(center.config_path)]
    rehearse = ["rehearse", str(kfp), "--folder", str(center.root / "rehearsal"), "--json"]
    return {
        name: ["-m", "pipeline", *arguments]
        for name, arguments in {
            "compile-kfp": ["compile", "--target", "kfp", "-o", str(kfp), *config],
            "compile-vertex": ["compile", "--target", "vertex", "-o", str(vertex), *config],
            "rehearse": rehearse,
            "deploy": ["deploy", str(kfp), *config],
            "monitor": ["monitor", *config],
        }.items()
    }


def start(center: Center, name: str, user: str) -> str:
    """Starts a command; it goes on when this process ends.

    Raises:
      ConfigError: UNKNOWN_JOB.
      FlywheelError: ALREADY_RUNNING.
    """
    known = commands(center)
    if name not in known:
        raise ConfigError("UNKNOWN_JOB", "There is no such job.", next=", ".join(known))
    (center.own / "compiled").mkdir(parents=True, exist_ok=True)
    return launch(center, name, known[name], user)


def launch(center: Center, name: str, command: list[str], user: str) -> str:
    """Starts Python with these arguments as a job, one of a name at a time.

    Args:
      center: Whose job.
      name: As lists show it.
      command: What `python` gets; nothing in it may come from a request unchecked.
      user: Who starts it.

    Raises:
      FlywheelError: ALREADY_RUNNING.
    """
    with _starting:
        busy = next((j for j in listed(center) if j["name"] == name and j["running"]), None)
        if busy:
            raise FlywheelError(
                "ALREADY_RUNNING",
                f"Job {busy['id']} does that just now, for {busy['user']}.",
                next="Wait for it to end.",
                cases=[{"job_id": busy["id"]}],
            )
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
        folder = center.own / "jobs" / f"{stamp}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        job = {"name": name, "user": user, "started": time.time(), "command": command}
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        with open(folder / "log.txt", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "control_center.jobs", str(folder)],
                cwd=center.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child.environment(),
                start_new_session=True,
            )
        (folder / "pid").write_text(str(process.pid), "ascii")
    threading.Thread(target=process.wait, daemon=True).start()
    return folder.name


def stop(center: Center, job_id: str) -> None:
    """Asks a job to stop as Ctrl-C does, and makes sure in the background.

    Raises:
      ConfigError: UNKNOWN_JOB, NOT_RUNNING.
    """
    folder = center.own / "jobs" / job_id
    if not show(center, job_id)["running"]:
        raise ConfigError("NOT_RUNNING", "The job has ended: there is nothing to stop.")
    process = psutil.Process(int((folder / "pid").read_text("ascii")))
    group = os.getpgid(process.pid)
    os.killpg(group, signal.SIGINT)

    def make_sure() -> None:
        try:
            process.wait(_STOP_SECONDS)
        except psutil.TimeoutExpired:
            os.killpg(group, signal.SIGKILL)

    threading.Thread(target=make_sure, daemon=True).start()


def listed(center: Center, limit: int = 30) -> list[dict[str, Any]]:
    """Jobs, newest first."""
    folder = center.own / "jobs"
    names = sorted((p.name for p in folder.iterdir()), reverse=True) if folder.is_dir() else []
    return [found for name in names[:limit] if (found := _read(folder / name))]


def show(center: Center, job_id: str) -> dict[str, Any]:
    """One job with the end of what it said.

    Raises:
      ConfigError: UNKNOWN_JOB.
    """
    folder = center.own / "jobs" / job_id
    found = _read(folder) if _ID.fullmatch(job_id) else None
    if found is None:
        raise ConfigError("UNKNOWN_JOB", "There is no such job.", next="See the list of jobs.")
    text = (folder / "log.txt").read_bytes()[-_TAIL:].decode("utf-8", "replace")
    return {**found, "log": text}


def _read(folder: pathlib.Path) -> dict[str, Any] | None:
    job = read_json(folder / "job.json")
    if not job:
        return None
    result = read_json(folder / "result.json")
    return {
        "id": folder.name,
        "name": job["name"],
        "user": job["user"],
        "started": job["started"],
        "running": not result and _alive(folder),
        "exit_code": result.get("exit_code"),
        "seconds": result.get("seconds"),
        "result": result.get("result"),
    }


def _alive(folder: pathlib.Path) -> bool:
    try:
        process = psutil.Process(int((folder / "pid").read_text("ascii")))
        return str(folder) in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return False


def main() -> None:
    """Runs the job of a folder and keeps how it ended: `python -m control_center.jobs FOLDER`."""
    folder = pathlib.Path(sys.argv[1])
    job = read_json(folder / "job.json")
    start_time = time.monotonic()
    # A stop reaches the whole group; this process stays to write down how the command took it.
    # A handler of ours, not SIG_IGN: the command would inherit that.
    signal.signal(signal.SIGINT, lambda *_: None)
    with open(folder / "log.txt", "ab") as log:
        done = subprocess.run(
            [sys.executable, *job["command"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            check=False,
        )
        log.write(done.stdout)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    try:
        result = json.loads(lines[-1]) if lines else None
    except ValueError:
        result = None
    temporary = folder / ".result"
    temporary.write_text(
        json.dumps(
            {
                "exit_code": done.returncode,
                "seconds": round(time.monotonic() - start_time, 2),
                "result": result,
            }
        ),
        "utf-8",
    )
    temporary.replace(folder / "result.json")


if __name__ == "__main__":
    main()
