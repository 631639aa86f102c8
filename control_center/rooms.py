"""The state of the other rooms, for Home and for the trail."""

from __future__ import annotations

import time
from typing import Any

from control_center import automating, jobs, rehearsals, watching
from control_center.center import Center
from control_center.look import epoch, relative
from control_center.schedules import Schedules

_STALE_SECONDS = 86_400


def incidents(center: Center) -> list[dict[str, Any]] | None:
    """Incidents, those that still matter first; None while there is no store."""
    return watching.incidents(center)


def monitor_state(center: Center, part: type) -> Any:
    """Drift, as the newest window says it."""
    found = watching.windows(center, 1)
    if not found:
        detail = "Predictions are logged; `flywheel monitor` measures them."
        return part("Monitoring", "none", "no window yet", detail, "/monitoring")
    newest = found[0]
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
    found = watching.windows(center, 1)
    if not found:
        return part(
            "Serving", "none", "nothing seen", "No window of predictions yet.", "/monitoring"
        )
    rows = watching.measures(center, [found[0]["id"]], "(window)")
    values = {r["statistic"]: r["value"] for r in rows}
    errors, p99 = values.get("error_rate"), values.get("latency_p99_ms")
    bad = errors is not None and errors > 0.01
    speed = f"p99 {p99:,.1f} ms" if p99 is not None else "latency unknown"
    return part(
        "Serving",
        "warn" if bad else "good",
        f"{errors:.1%} errors" if errors is not None else speed,
        f"{speed}, {found[0]['rows']:,} rows in the newest window",
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
            f"{len(found['dead'])} dead letters",
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
        return part("Automation", "good", f"last event {when}", str(newest["state"]), "/automation")
    return part(
        "Automation", "none", "no event yet", "Nothing starts runs by itself.", "/automation"
    )


def trail_steps(center: Center, version: str) -> list[dict[str, Any]]:
    """What followed a deployment: windows of this version, incidents about them, runs asked for."""
    steps = []
    mine = [w for w in watching.windows(center) if version in w["versions"]]
    if mine:
        said = watching.findings(center, [w["id"] for w in mine])
        count = sum(len(f) for f in said.values())
        rows = sum(w["versions"][version] for w in mine)
        steps.append(
            {
                "title": "Windows",
                "time": epoch(mine[-1]["end"]),
                "tone": "warn" if count else "good",
                "facts": {
                    "windows": str(len(mine)),
                    "rows": f"{rows:,}",
                    "findings": str(count),
                },
                "link": "/monitoring",
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
                    "link": "/monitoring#alerts",
                    "why": found["findings"][0]["words"] if found["findings"] else "",
                }
            )
    state = automating.state(center)
    for start in reversed(state["brakes"]["starts"] if state else []):
        steps.append(
            {
                "title": "Retrain",
                "time": epoch(start["at"]),
                "tone": "good",
                "facts": {"asked by": start["asker"], "job": start["job"]},
                "link": "/automation",
                "why": start["why"],
            }
        )
    return steps


def automation(center: Center) -> dict[str, Any]:
    """For the page."""
    return {"ledger": automating.state(center), "schedules": Schedules(center).list()}


def deploy(center: Center) -> dict[str, Any]:
    """For the page."""
    config = None if center.problem else center.config
    compiled = center.own / "compiled"
    return {
        "jobs": jobs.listed(center),
        "rehearsals": rehearsals.listed(center),
        "host": config.kubeflow.cluster.host if config else None,
        "compiled": {
            kind: (compiled / name).stat().st_mtime
            for kind, name in (("kfp", "pipeline.yaml"), ("vertex", "pipeline.json"))
            if (compiled / name).exists()
        },
        "has_config": config is not None,
    }
