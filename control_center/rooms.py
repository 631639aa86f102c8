"""The state of the other rooms, for Home and for the trail."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import quote

from control_center import automating, cluster, jobs, rehearsals, replay, watching
from control_center.center import Center
from control_center.look import epoch, relative
from control_center.schedules import Schedules
from models.errors import FlywheelError

#: As `cloud_functions.check_drift` names the alerts that it publishes.
_INCIDENT = re.compile(r"#incident-(\d+)-")


def incidents(center: Center) -> list[dict[str, Any]] | None:
    """Incidents, those that still matter first; None while there is no store."""
    return watching.incidents(center)


def monitor_state(center: Center, part: type) -> Any:
    """Drift, as the newest window says it."""
    found = watching.newest(center)
    if not found:
        detail = "Predictions are logged; `flywheel monitor` measures them."
        return part("Monitoring", "none", "no window yet", detail, "/monitoring")
    newest = found
    said = watching.findings(center, [newest["id"]]).get(newest["id"], [])
    drifted = sorted({f["feature"] for f in said if f.get("severity") != "info"})
    when = relative(epoch(newest["end"]) or 0.0)
    if not drifted:
        return part(
            "Monitoring",
            "good",
            "no drift",
            f"{newest['rows']:,} rows, window {when}",
            "/monitoring",
        )
    more = f" and {len(drifted) - 2} more" if len(drifted) > 2 else ""
    return part(
        "Monitoring",
        "warn",
        f"{len(drifted)} drifted",
        f"{', '.join(drifted[:2])}{more}, window {when}",
        "/monitoring#drift-title",
        "Features have drifted: compare their distributions.",
        50,
    )


def serving_state(center: Center, part: type) -> Any:
    """What the log says about service: how lately, how fast, how often in vain."""
    found = watching.newest(center)
    if not found:
        return part(
            "Serving", "none", "nothing seen", "No window of predictions yet.", "/monitoring"
        )
    rows = watching.measures(center, [found["id"]], "(window)")
    values = {r["statistic"]: r["value"] for r in rows}
    errors, p99 = values.get("error_rate"), values.get("latency_p99_ms")
    bad = errors is not None and errors > 0.01
    speed = f"p99 {p99:,.1f} ms" if p99 is not None else "latency unknown"
    return part(
        "Serving",
        "warn" if bad else "good",
        f"{errors:.1%} errors" if errors is not None else speed,
        f"{speed}, {found['rows']:,} rows in the newest window",
        "/monitoring#all-title",
        "More than 1 % of the requests fail: see why." if bad else "",
        85,
    )


def automation_state(center: Center, part: type) -> Any:
    """Dead letters first, then what comes next."""
    found = automating.state(center)
    if found and found["dead"]:
        return part(
            "Automation",
            "bad",
            f"{len(found['dead'])} dead letter{'s' * (len(found['dead']) > 1)}",
            found["dead"][0]["message"],
            "/automation#dead",
            "An event could not be handled: see why.",
            70,
        )
    coming = [s["next"] for s in Schedules(center).list() if s["next"]]
    if coming:
        detail = f"{len(coming)} schedule{'s' if len(coming) > 1 else ''}"
        return part("Automation", "good", f"next {relative(min(coming))}", detail, "/automation")
    if found and found["events"]:
        newest = found["events"][0]
        when = relative(epoch(newest["seen"]) or time.time())
        detail = "; ".join(text for text, _ in newest["led_to"][:2]) or str(newest["state"])
        return part("Automation", "good", f"last event {when}", detail, "/automation")
    return part(
        "Automation", "none", "no event yet", "Nothing starts runs by itself.", "/automation"
    )


def asked_for(state: dict[str, Any] | None, run_id: str) -> dict[str, Any] | None:
    """The step before a run that a function started: who asked for it, and why.

    Args:
      state: Of the automation.
      run_id: The run.
    """
    for start in state["brakes"]["starts"] if state else ():
        if start["run"] and start["run"].get("run_id") == run_id:
            return {
                "title": "Asked for",
                "time": epoch(start["at"]),
                "tone": "good",
                "facts": {"asked by": start["asker"], "job": start["job"]},
                "link": _cause(state["events"], start["job"]),
                "why": start["why"],
            }
    return None


def _cause(events: list[dict[str, Any]], job: str) -> str:
    """The page of the alert that asked for a job; that of all events when none did."""
    for event in events:
        asked = event["result"].get("retrain") if isinstance(event["result"], dict) else None
        incident = _INCIDENT.search(event["key"])
        if asked and asked.get("job") == job and incident:
            return f"/monitoring#incident-{incident.group(1)}"
    return "/automation#events-title"


def trail_steps(
    center: Center,
    state: dict[str, Any] | None,
    version: str,
    since: float,
    until: float | None,
) -> list[dict[str, Any]]:
    """What followed a deployment: its windows, incidents about them, runs asked for meanwhile.

    Args:
      center: Whose.
      state: Of the automation.
      version: What was deployed.
      since, until: When it served; None until now.
    """
    steps = []
    mine = [w for w in watching.windows(center) if version in w["versions"]]
    if mine:
        said = watching.findings(center, [w["id"] for w in mine])
        count = sum(len(f) for f in said.values())
        rows = sum(w["versions"][version] for w in mine)
        shown = next((w["id"] for w in reversed(mine) if said.get(w["id"])), mine[-1]["id"])
        steps.append(
            {
                "title": "Windows",
                "time": epoch(mine[-1]["measured_at"]) or epoch(mine[-1]["end"]),
                "tone": "warn" if count else "good",
                "facts": {
                    "windows": str(len(mine)),
                    "rows": f"{rows:,}",
                    "findings": str(count),
                },
                "link": f"/monitoring?window={quote(shown, safe='')}",
                "why": next((f[0]["words"] for f in reversed(list(said.values())) if f), ""),
            }
        )
    ids = {w["id"] for w in mine}
    for found in reversed(watching.incidents(center) or []):
        if {found["first_window"], found["last_window"]} & ids:
            over = found["state"] == "resolved"
            steps.append(
                {
                    "title": "Alert",
                    "time": epoch(found["opened_at"]),
                    "tone": "none" if over else "bad",
                    "facts": {"about": found["title"], "state": found["state"]},
                    "link": f"/monitoring#incident-{found['id']}",
                    "why": found["findings"][0]["words"] if found["findings"] else "",
                }
            )
    for start in reversed(state["brakes"]["starts"] if state else []):
        when = epoch(start["at"]) or 0.0
        if when < since or (until is not None and when > until):
            continue
        run = start["run"] or {}
        facts = {"asked by": start["asker"], "ended": str(run.get("state", "not yet"))}
        if run.get("version"):
            facts["version"] = str(run["version"])
        steps.append(
            {
                "title": "Retrain",
                "time": when,
                "tone": "good" if run.get("state") in (None, "pushed", "unchanged") else "warn",
                "facts": facts,
                "link": f"/runs/{quote(run['run_id'])}" if run.get("run_id") else "/automation",
                "why": start["why"],
            }
        )
    return steps


def automation(center: Center) -> dict[str, Any]:
    """For the page."""
    ledger = automating.state(center)
    if ledger:
        listed = {job["name"]: job for job in reversed(jobs.listed(center))}
        letters = [
            {**d, "job": listed.get(f"replay {d['id']}"), "why_not": _why_not(d)}
            for d in ledger["dead"]
        ]
        ledger = {**ledger, "dead": letters}
    return {"ledger": ledger, "schedules": Schedules(center).list()}


def _why_not(letter: dict[str, Any]) -> str:
    """Why a dead letter cannot be handled again; empty when it can."""
    try:
        replay.event_of(letter)
    except FlywheelError as error:
        return error.reason.message
    return ""


def deploy(center: Center) -> dict[str, Any]:
    """For the page."""
    compiled = center.own / "compiled"
    found = cluster.state(center)
    listed = jobs.listed(center)
    for place, job in enumerate(listed):  # the log of what is open; others come when they are
        shown = place == 0 or job["running"]
        job["log"] = jobs.show(center, job["id"])["log"] if shown else None
    return {
        "jobs": listed,
        "exit_words": {3: "blocked by data", 4: "not blessed"},
        "rehearsals": rehearsals.listed(center),
        "host": found["host"] if found else None,
        "cluster": found,
        "compiled": {
            kind: (compiled / name).stat().st_mtime
            for kind, name in (("kfp", "pipeline.yaml"), ("vertex", "pipeline.json"))
            if (compiled / name).exists()
        },
        "has_config": center.problem is None,
    }
