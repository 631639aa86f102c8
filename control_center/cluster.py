"""Runs on the configured Kubeflow, beside local ones.

A cluster may take seconds to answer, a page may not: pages show what the cluster said last, and
when; whoever looks at one has it asked again, by a process that brings the client along. What a
cluster said is kept in a file, so that it is there after a restart too.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import Any

from control_center.center import Center
from control_center.runs_index import read_json
from models import child
from models.errors import FlywheelError

#: An answer younger than this is not asked for again.
_FRESH_SECONDS = 5.0
_ASK_SECONDS = 90.0
_MOST_RUNS = 20
_MOST_FOLLOWED = 5
_ended = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_asking: set[pathlib.Path] = set()
_lock = threading.Lock()


def host(center: Center) -> str | None:
    """Where the cluster is, as `flywheel deploy` finds it; None when none is configured."""
    if center.problem:
        return None
    return center.config.kubeflow.cluster.host or os.environ.get("KF_PIPELINES_ENDPOINT") or None


def state(center: Center) -> dict[str, Any] | None:
    """What the cluster said last; asks again in the background when that is old.

    Returns:
      `host`, `runs`, `schedules`, `asked` (seconds since the epoch; None before the first
      answer), `problem` (a reason, when the last question went wrong), `asking`. None when no
      cluster is configured.
    """
    address = host(center)
    if address is None:
        return None
    kept = read_json(_file(center))
    if kept.get("host") != _shown(address):
        kept = {}
    if time.time() - kept.get("asked", 0.0) > _FRESH_SECONDS:
        _ask(center)
    return {
        "host": _shown(address),
        "runs": kept.get("runs", []),
        "schedules": kept.get("schedules", []),
        "asked": kept.get("asked"),
        "problem": kept.get("problem"),
        "asking": _file(center) in _asking,
    }


def _ask(center: Center) -> None:
    target = _file(center)
    with _lock:
        if target in _asking:
            return
        _asking.add(target)
    command = [sys.executable, "-m", "control_center.cluster", str(center.config_path), str(target)]
    target.parent.mkdir(parents=True, exist_ok=True)

    def ask() -> None:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=child.environment(),
                timeout=_ASK_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pass
        finally:
            with _lock:
                _asking.discard(target)

    threading.Thread(target=ask, name="cluster", daemon=True).start()


def _file(center: Center) -> pathlib.Path:
    return center.own / "cluster.json"


def _shown(address: str) -> str:
    """The address without user and password."""
    scheme, separator, rest = address.rpartition("://")
    head, _, tail = rest.partition("/")
    return f"{scheme}{separator}{head.rpartition('@')[2]}" + (f"/{tail}" if tail else "")


def main() -> None:
    """Asks the cluster once: `python -m control_center.cluster CONFIG FILE`."""
    config_path, target = map(pathlib.Path, sys.argv[1:3])
    from pipeline import config as config_module

    options = config_module.load(config_path).kubeflow.cluster
    address = options.host or os.environ.get("KF_PIPELINES_ENDPOINT") or ""
    kept = read_json(target)
    found: dict[str, Any] = {"host": _shown(address), "runs": [], "schedules": []}
    try:
        found |= _look(options)
    except FlywheelError as error:
        if kept.get("host") == found["host"]:
            found |= {key: kept[key] for key in ("runs", "schedules") if key in kept}
        found["problem"] = error.reason.to_dict()
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps({**found, "asked": time.time()}), "utf-8")
    temporary.replace(target)


def _look(options: Any) -> dict[str, Any]:
    from pipeline.cluster.client import Cluster
    from pipeline.cluster.follow import read_progress

    cluster = Cluster(options)
    runs, followed = [], 0
    for run in cluster.runs(_MOST_RUNS):
        progress = read_progress(run)
        if progress.state not in _ended and followed < _MOST_FOLLOWED:
            progress, followed = read_progress(cluster.run(run.run_id)), followed + 1
        runs.append(
            {
                "id": run.run_id,
                "name": run.display_name,
                "state": progress.state,
                "created": run.created_at.timestamp() if run.created_at else None,
                "error": progress.error,
                "tasks": [dataclasses.asdict(task) for task in progress.tasks],
                "url": cluster.link("runs", run.run_id),
            }
        )
    schedules = [
        {
            "name": s.display_name,
            "cron": s.trigger.cron_schedule.cron if s.trigger and s.trigger.cron_schedule else "",
            "status": str(s.status),
            "url": cluster.link("recurringrun", s.recurring_run_id),
        }
        for s in cluster.schedules()
    ]
    runs.sort(key=lambda r: r["created"] or 0.0, reverse=True)
    return {"runs": runs, "schedules": schedules, "problem": None}


if __name__ == "__main__":
    main()
