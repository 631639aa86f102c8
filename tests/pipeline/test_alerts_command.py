"""`flywheel alerts`, as it is typed."""

from __future__ import annotations

import datetime
import json

import pytest
import yaml

from monitoring.alerts.incidents import Incidents
from monitoring.alerts.options import AlertOptions
from monitoring.decisions.finding import Finding
from monitoring.store.store import Store
from pipeline import config as config_module
from pipeline.monitoring_run import store_url


@pytest.fixture
def desk(flywheel):
    """A folder with a config and one open incident."""
    settings = {
        "name": "trips",
        "data": {"path": "trips.csv"},
        "task": {"label": "tip", "type": "binary"},
        "features": {"fare": "numeric"},
        "alerts": {
            "channels": [
                {"type": "file", "path": "told.jsonl"},
                {"type": "webhook", "name": "chat", "url_env": "CHAT_URL_THAT_IS_NOT_SET"},
            ]
        },
    }
    path = flywheel.folder / "flywheel.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    store = Store(store_url(config_module.load(path)))
    finding = Finding(
        "drift", "fare", "psi", 0.3, 0.02, 1000, "warning", "fare: median 7.85 → 9.65 [x]"
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    Incidents(store, AlertOptions()).update([finding], "2026-03-02", now)
    store.close()
    return flywheel


def test_from_open_to_silenced(desk):
    listed = desk("alerts").stdout
    assert "warning" in listed and "median 7.85 → 9.65 [x]" in listed
    (incident,) = desk.json("alerts", "list")["incidents"]
    number = str(incident["id"])
    desk("alerts", "ack", number, "-m", "looking", "--who", "ada")
    shown = desk.json("alerts", "show", "drift/fare")
    assert shown["state"] == "acknowledged"
    assert [(c["who"], c["text"]) for c in shown["comments"]] == [("ada", "looking")]
    desk("alerts", "silence", number, "--hours", "2")
    shown = desk("alerts", "show", number).stdout
    assert "silenced" in shown and "limit 0.02" in shown


def test_unknown_incident(desk):
    answer = desk.json("alerts", "show", "99", check=2)
    assert answer["reasons"][0]["code"] == "UNKNOWN_INCIDENT"


def test_test_says_which_channel_it_reached(desk):
    found = desk.json("alerts", "test", check=1)["deliveries"]
    assert [(d["channel"], d["state"]) for d in found] == [("file", "sent"), ("chat", "failed")]
    assert found[1]["error"] == "the environment variable CHAT_URL_THAT_IS_NOT_SET is not set"
    (line,) = (desk.folder / "told.jsonl").read_text("utf-8").splitlines()
    assert "test of trips" in json.loads(line)["title"]
