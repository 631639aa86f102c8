"""Dead letters are handled again: by the function that gave them up, with the config as it is now.

The event is put together anew from what was kept of it, under its own source and id, so that what
earlier attempts had done (a channel told, a run started) is not done twice; its time is now, since
whoever asks for it wants it handled however old it is. Brakes hold as ever.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import pathlib
import sys
import tempfile
from typing import Any

from cloud_functions import claims, dead_letter
from cloud_functions.ledger import Document, Ledger, open_ledger, utc_now
from control_center import automating, jobs
from control_center.center import Center
from models.errors import ConfigError, FlywheelError

#: Which function a local topic delivers to, as `cloud_functions.local.Stack` has it.
_TOPICS = {"alerts": "on_alert", "runs": "on_run_finished"}
_FUNCTIONS = ("on_new_data", "check_drift", "on_alert", "on_run_finished")
_BUS = "bus"


@dataclasses.dataclass(frozen=True)
class Event:
    """What of a dead letter can be delivered again.

    Attributes:
      function: That handles it.
      source, id: As of the first delivery.
      payload: Plain JSON.
    """

    function: str
    source: str
    id: str
    payload: dict[str, Any]


def event_of(record: Document) -> Event:
    """The event of a dead letter.

    Raises:
      ConfigError: NOT_REPLAYABLE, and why.
    """
    try:
        body = json.loads(record["body"])
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _not_replayable("what was kept of it is not a whole JSON object")
    message = body.get("message")
    function = record["function"]
    if function == _BUS:
        function = _deliveree(body)
    if function not in _FUNCTIONS:
        raise _not_replayable("it does not say which function it is for")
    payload: Any = body
    source, _, identity = record["event"].removeprefix(f"{function}/").rpartition("#")
    if "subscription" in body and isinstance(message, dict):
        source, identity = str(body["subscription"]), str(message.get("messageId", ""))
        try:
            payload = json.loads(base64.b64decode(message.get("data", ""), validate=True))
        except (ValueError, TypeError):
            payload = None
    elif "specversion" in body:
        source, identity = str(body.get("source")), str(body.get("id"))
        payload = body.get("data")
    if not isinstance(payload, dict):
        raise _not_replayable("its payload is not JSON")
    return Event(function, source or "replay", identity or _identity(record), payload)


def _deliveree(body: dict[str, Any]) -> str:
    """For whom the local bus had a body: of a topic, or of the watched folder."""
    if "subscription" in body:
        return _TOPICS.get(str(body["subscription"]).rpartition("/")[2], "")
    return "on_new_data" if {"bucket", "name"} <= body.keys() else ""


def _identity(record: Document) -> str:
    return str(record.get("id") or record["event"])


def _not_replayable(why: str) -> ConfigError:
    return ConfigError(
        "NOT_REPLAYABLE",
        f"This dead letter cannot be handled again: {why}.",
        next="Send it again from where it came.",
    )


def start(center: Center, function: str, letter: str, user: str) -> str:
    """Has a dead letter handled again, by a job.

    Args:
      center: Whose ledger.
      function, letter: Function and id of the record.
      user: Who wants it.

    Raises:
      ConfigError: UNKNOWN_EVENT, NOT_REPLAYABLE.
      FlywheelError: ALREADY_RUNNING.
    """
    ledger = automating.ledger_of(center)
    record = find(ledger, function, letter) if ledger else None
    if record is None:
        raise ConfigError("UNKNOWN_EVENT", "There is no such dead letter.", next="See the list.")
    event_of(record)
    command = ["-m", "control_center.replay", str(center.config_path), record["function"]]
    return jobs.launch(center, f"replay {letter}", [*command, record["id"], user], user)


def find(ledger: Ledger, function: str, letter: str) -> Document | None:
    """A record by the names it has in the ledger; a path or a beginning is none."""
    found = dead_letter.records(ledger)
    return next((r for r in found if r["function"] == function and r["id"] == letter), None)


def replay(config: pathlib.Path, function: str, letter: str, user: str) -> dict[str, Any]:
    """Handles a dead letter in this process.

    Returns:
      What the function answered, with its HTTP `status`.
    """
    from pipeline.cli.functions import settings_of

    settings = settings_of(config)
    ledger = open_ledger(settings.automation.ledger)
    record = find(ledger, function, letter)
    if record is None:
        raise ConfigError("UNKNOWN_EVENT", "The dead letter is gone.", next="See the list.")
    event = event_of(record)
    _reopen(ledger, record, event)
    # Who may call was asked at the page; the function's own callers are services.
    automation = settings.automation.model_copy(update={"auth": type(settings.automation.auth)()})
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch, "settings.json")
        file.write_text(
            settings.model_copy(update={"automation": automation}).model_dump_json(), "utf-8"
        )
        answer = _call(event, file)
    content = answer.get_json(silent=True) or {"error": answer.get_data(as_text=True)[:500]}
    handled = answer.status_code == 200 and content.get("state") != "dead_letter"
    if handled:
        _mark(ledger, record, user, content)
    return {"status": answer.status_code, "handled": handled, **content}


def _call(event: Event, settings: pathlib.Path) -> Any:
    from functions_framework import create_app

    from cloud_functions.settings_file import ENVIRONMENT

    os.environ[ENVIRONMENT] = str(settings)
    code = pathlib.Path(__file__).resolve().parent.parent / "cloud_functions"
    app = create_app(event.function, str(code / event.function / "main.py"), "http")
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-type": "flywheel.replay",
        "ce-source": event.source,
        "ce-id": event.id,
        "ce-time": utc_now().isoformat(),
    }
    plain = {k: v.encode("ascii", "backslashreplace").decode() for k, v in headers.items()}
    return app.test_client().post("/", data=json.dumps(event.payload), headers=plain)


def _reopen(ledger: Ledger, record: Document, event: Event) -> None:
    """Takes back that the event was done with; what was done for it so far stays known."""
    keys = {record["event"], f"{event.function}/{event.source}#{event.id}"}

    def change(found: Document | None) -> tuple[Document | None, None]:
        result = (found or {}).get("result")
        if not isinstance(result, dict) or result.get("state") != "dead_letter":
            return None, None
        return {**found, "state": "released", "attempts": 0, "result": None}, None  # type: ignore

    for key in sorted(keys - {""}):
        ledger.update(claims.PREFIX + key, change)


def _mark(ledger: Ledger, record: Document, user: str, answer: dict[str, Any]) -> None:
    note = {"by": user, "at": utc_now().isoformat(timespec="seconds"), "state": answer.get("state")}

    def change(found: Document | None) -> tuple[Document | None, None]:
        return (None if found is None else {**found, "replayed": note}), None

    ledger.update(f"{dead_letter.PREFIX}{record['function']}/{record['id']}", change)


def main() -> None:
    """`python -m control_center.replay CONFIG FUNCTION LETTER USER`; exit code 0 when handled."""
    config, function, letter, user = sys.argv[1:5]
    try:
        result = replay(pathlib.Path(config), function, letter, user)
    except FlywheelError as error:
        result = {"handled": False, "error": str(error)}
    print(json.dumps(result, default=str))
    sys.exit(0 if result["handled"] else 1)


if __name__ == "__main__":
    main()
