"""What events led to: claims, brakes and dead letters of the functions, read from their ledger."""

from __future__ import annotations

import pathlib
from typing import Any

from cloud_functions import brakes, claims, dead_letter
from cloud_functions.ledger import Ledger, open_ledger
from control_center.center import Center

_MOST = 100


def ledger_of(center: Center) -> Ledger | None:
    """The functions' ledger; None while no function has written one."""
    if center.problem:
        return None
    address = center.config.automation.ledger
    if "://" not in address and not pathlib.Path(address).exists():
        return None
    return open_ledger(address)


def state(center: Center) -> dict[str, Any] | None:
    """Events, brakes and dead letters; None while there is no ledger."""
    ledger = ledger_of(center)
    if ledger is None:
        return None
    events = [
        {
            "key": key.removeprefix(claims.PREFIX),
            "state": found.get("state"),
            "seen": found.get("first_seen"),
            "attempts": found.get("attempts", 0),
            "result": found.get("result"),
            "error": found.get("error"),
        }
        for key, found in ledger.entries(claims.PREFIX)
    ]
    options = center.config.automation.brakes
    held = brakes.status(ledger, center.config.name)
    return {
        "events": sorted(events, key=lambda e: e["seen"] or "", reverse=True)[:_MOST],
        "brakes": {
            "in_flight": held["in_flight"],
            "starts": held["starts"][::-1][:20],
            "ended": held["ended"][::-1][:20],
            "overrides": held["overrides"][::-1][:20],
            "cooldown_minutes": options.cooldown_minutes,
            "daily_cap": options.daily_cap,
        },
        "dead": sorted(dead_letter.records(ledger), key=lambda d: d["at"], reverse=True)[:_MOST],
    }
