"""Deployed versions as their page shows them: from which run and data, by whom, and when."""

from __future__ import annotations

import dataclasses
from typing import Any

from control_center import automating, rooms
from control_center.center import Center
from control_center.look import epoch

#: The audit log's entry follows the pointer's move at once; that one's time has whole seconds.
_APART_SECONDS = 10.0


def versions(center: Center, moves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All versions, newest first, with the data and who deployed them last.

    Args:
      center: Whose.
      moves: Of the pointer, newest first.
    """
    known = set(center.runs.ids())
    found = []
    for version in center.registry.versions():
        last = next((move for move in moves if move["to"] == version.name), None)
        row = center.runs.row(version.run_id) if version.run_id in known else None
        found.append(
            {
                **dataclasses.asdict(version),
                "known": row is not None,
                "data": center.shown(row.data) if row else "",
                "rows": row.rows if row else 0,
                "who": last["who"] if last else "",
            }
        )
    return found


def moves(center: Center) -> list[dict[str, Any]]:
    """Every move of the pointer, newest first, with who moved it."""
    known = set(center.runs.ids())
    deploys = [
        (epoch(entry["time"]) or 0.0, entry["details"].get("version"), entry["user"])
        for entry in center.audit.read(1000)
        if entry["action"] == "models.deploy" and entry["outcome"] == "done"
    ]
    state = automating.state(center)
    found = []
    for entry in reversed(center.registry.history()):
        when, run_id = epoch(entry["time"]) or 0.0, entry.get("run_id", "")
        if not entry["why"].startswith("pushed"):
            near = (u for t, v, u in deploys if v == entry["to"] and 0 <= t - when < _APART_SECONDS)
            who = next(near, "")
        elif run_id in known:
            who = center.runs.row(run_id).origin.get("user") or _automation(state, run_id)
        else:
            who = ""
        found.append({**entry, "known": run_id in known, "who": str(who or "command line")})
    return found


def _automation(state: dict[str, Any] | None, run_id: str) -> str:
    asked = rooms.asked_for(state, run_id)
    return f"automation ({asked['facts']['asked by']})" if asked else ""
