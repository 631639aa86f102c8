"""What events led to: claims, brakes and dead letters of the functions, read from their ledger."""

from __future__ import annotations

import pathlib
import threading
from typing import Any
from urllib.parse import quote

from cloud_functions import brakes, claims, dead_letter
from cloud_functions.ledger import Ledger, open_ledger
from control_center.center import Center

_MOST = 100
_ledgers: dict[tuple[str, int], Ledger] = {}
_states: dict[pathlib.Path, tuple[tuple[Any, ...], dict[str, Any]]] = {}
_lock = threading.Lock()


def ledger_of(center: Center) -> Ledger | None:
    """The functions' ledger; None while no function has written one."""
    if center.problem:
        return None
    address = center.config.automation.ledger
    key = (address, 0)
    if "://" not in address:
        try:
            key = (address, pathlib.Path(address).stat().st_ino)
        except OSError:
            return None
    # Opening one writes (its table, what is too old), and waits for the disk: once is enough.
    with _lock:
        if key not in _ledgers:
            _ledgers[key] = open_ledger(address)
        return _ledgers[key]


def state(center: Center) -> dict[str, Any] | None:
    """Events, brakes and dead letters; None while there is no ledger.

    Of a file, it is read again when the file changed; not to be changed by who gets it.
    """
    ledger = ledger_of(center)
    if ledger is None:
        return None
    stamp = _stamp(center)
    with _lock:
        known = _states.get(center.root)
    if known is not None and stamp and known[0] == stamp:
        return known[1]
    found = _read(center, ledger)
    with _lock:
        _states[center.root] = (stamp, found)
    return found


def _stamp(center: Center) -> tuple[Any, ...]:
    """Changes with the ledger's content, and with what the config says of it; empty: unknown."""
    options = center.config.automation
    path = pathlib.Path(options.ledger)
    if "://" in options.ledger:
        return ()
    found: list[Any] = [options, center.config.name]
    for name in (path.name, f"{path.name}-wal"):  # what is not yet in the file itself is in there
        try:
            about = path.with_name(name).stat()
            found.append((about.st_ino, about.st_mtime_ns, about.st_size))
        except OSError:
            found.append(None)
    return tuple(found)


def _read(center: Center, ledger: Ledger) -> dict[str, Any]:
    ended = runs_of(ledger, center.config.name)
    events = [
        {
            "key": key.removeprefix(claims.PREFIX),
            "state": found.get("state"),
            "seen": found.get("first_seen"),
            "attempts": found.get("attempts", 0),
            "result": found.get("result"),
            "error": found.get("error"),
            "led_to": led_to(found.get("result"), ended),
        }
        for key, found in ledger.entries(claims.PREFIX)
    ]
    # A look of the monitor that closed no window is an event, and nothing to read about.
    busy = [e for e in events if not _is_idle(e)]
    options = center.config.automation.brakes
    letters = sorted(dead_letter.records(ledger), key=lambda d: d["at"], reverse=True)
    held = brakes.status(ledger, center.config.name)
    return {
        "events": sorted(busy, key=lambda e: e["seen"] or "", reverse=True)[:_MOST],
        "idle": len(events) - len(busy),
        "brakes": {
            "in_flight": held["in_flight"],
            "starts": [{**s, "run": ended.get(s["job"])} for s in held["starts"][::-1][:20]],
            "ended": held["ended"][::-1][:20],
            "overrides": held["overrides"][::-1][:20],
            "cooldown_minutes": options.cooldown_minutes,
            "daily_cap": options.daily_cap,
        },
        "dead": [d for d in letters if "replayed" not in d][:_MOST],
        "replayed": [d for d in letters if "replayed" in d][:_MOST],
    }


def runs_of(ledger: Ledger, model: str) -> dict[str, dict[str, Any]]:
    """Job to how its run ended: `run_id`, `state`, `version`, as `on_run_finished` recorded it."""
    return {str(found.get("job")): found for _, found in ledger.entries(f"run/{model}/")}


def _is_idle(event: dict[str, Any]) -> bool:
    result = event["result"]
    return (
        isinstance(result, dict)
        and result.get("state") == "looked"
        and not result.get("windows")
        and not result.get("alerts")
    )


def led_to(result: Any, ended: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """What an event led to: texts, each with the page to read on; no link where there is none.

    Args:
      result: What its function answered.
      ended: Job to how its run ended.
    """
    if not isinstance(result, dict):
        return []
    found: list[tuple[str, str]] = []
    for window in result.get("windows") or ():
        said = len(window.get("findings") or ())
        text = f"window {window['window']}: {said} finding{'s' * (said != 1)}"
        found.append((text, f"/monitoring?window={quote(str(window['window']), safe='')}"))
    for alert in result.get("alerts") or ():
        found.append((f"alert: {alert.get('title', '')}", "/monitoring#alerts"))
    if result.get("channels"):
        found.append((f"told over {', '.join(map(str, result['channels']))}", ""))
    asked = result.get("retrain") or (result if result.get("job") else None)
    if asked:
        run = ended.get(str(asked.get("job")), {})
        text = f"run {asked.get('state', 'asked for')}"
        if asked.get("state") == "refused":
            text += f": {asked.get('message', asked.get('code', ''))}"
        elif run:
            text += f", ended {str(run.get('state')).replace('_', ' ')}"
        found.append((text, f"/runs/{quote(run['run_id'])}" if run.get("run_id") else ""))
    if not found:
        text = result.get("verdict") or result.get("error") or result.get("message")
        found.append((str(text or result.get("state", "")).replace("_", " "), ""))
    return found
