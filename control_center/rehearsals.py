"""Rehearsals of this workspace, live: tasks as their folders tell."""

from __future__ import annotations

import pathlib
from typing import Any

from control_center.center import Center
from control_center.runs_index import read_json, started_at

_MOST = 10


def listed(center: Center) -> list[dict[str, Any]]:
    """Rehearsals, newest first, with the state of every task that has begun."""
    folder = center.root / "rehearsal" / "runs"
    if not folder.is_dir():
        return []
    names = sorted((p.name for p in folder.iterdir() if p.is_dir()), reverse=True)
    return [_read(folder / name) for name in names[:_MOST]]


def _read(folder: pathlib.Path) -> dict[str, Any]:
    result = read_json(folder / "result.json")
    tasks = result.get("tasks") or _begun(folder / "tasks")
    return {
        "id": folder.name,
        "started": started_at(folder.name),
        "state": result.get("state") or "not ended",
        "backend": result.get("backend") or read_json(folder / "run.json").get("backend"),
        "seconds": (result.get("seconds") or {}).get("total"),
        "tasks": tasks,
        "notes": result.get("notes") or [],
    }


def _begun(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Tasks by their folders: one with `execution.json` is done, another is at work."""
    found = []
    for first in folder.rglob("attempt-1"):
        task = first.parent
        done = read_json(task / "execution.json")
        found.append(
            {
                "task": task.relative_to(folder).as_posix(),
                "state": str(done.get("state", "running")).lower(),
                "seconds": done.get("seconds"),
                "attempts": len(list(task.glob("attempt-*"))),
                "began": first.stat().st_mtime,
            }
        )
    return sorted(found, key=lambda t: t["began"])
