"""Rehearsals of this workspace, live: tasks as their folders tell."""

from __future__ import annotations

import pathlib
import time
from typing import Any

from control_center.center import Center
from control_center.runs_index import read_json, started_at

_MOST = 10
_LOCKS = pathlib.Path("/proc/locks")


def listed(center: Center) -> list[dict[str, Any]]:
    """Rehearsals, newest first, with the state of every task that has begun."""
    folder = center.root / "rehearsal" / "runs"
    if not folder.is_dir():
        return []
    names = sorted((p.name for p in folder.iterdir() if p.is_dir()), reverse=True)
    at_work = _is_held(folder.parent / ".lock")
    return [
        _read(folder / name, at_work and place == 0) for place, name in enumerate(names[:_MOST])
    ]


def _is_held(lock: pathlib.Path) -> bool:
    """Whether a process has the lock of the rehearsals; asking does not take it.

    The kernel's list is read, since a try would send away a rehearsal that begins just then.
    """
    try:
        inode = f":{lock.stat().st_ino} "
        return any(inode in line for line in _LOCKS.read_text("ascii").splitlines())
    except OSError:
        return False


def _read(folder: pathlib.Path, at_work: bool) -> dict[str, Any]:
    result = read_json(folder / "result.json")
    tasks = result.get("tasks") or _begun(folder / "tasks", at_work)
    return {
        "id": folder.name,
        "started": started_at(folder.name),
        "state": result.get("state") or ("running" if at_work else "stopped"),
        "backend": result.get("backend") or read_json(folder / "run.json").get("backend"),
        "seconds": (result.get("seconds") or {}).get("total"),
        "tasks": tasks,
        "notes": result.get("notes") or [],
    }


def _begun(folder: pathlib.Path, at_work: bool) -> list[dict[str, Any]]:
    """Tasks by their folders: one with `execution.json` is done, another at work or cut off."""
    other = "running" if at_work else "stopped"
    found = []
    for first in folder.rglob("attempt-1"):
        task = first.parent
        done = read_json(task / "execution.json")
        began = first.stat().st_mtime
        found.append(
            {
                "task": task.relative_to(folder).as_posix(),
                "state": str(done.get("state", other)).lower(),
                "seconds": done.get("seconds") or (time.time() - began if at_work else None),
                "attempts": len(list(task.glob("attempt-*"))),
                "began": began,
            }
        )
    return sorted(found, key=lambda t: t["began"])
