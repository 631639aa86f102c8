"""Dead letters, made by a real function, handled again by clicking."""

from __future__ import annotations

import base64
import json

import httpx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloud_functions import dead_letter
from cloud_functions.ledger import open_ledger
from cloud_functions.local import Function
from control_center import replay
from models.errors import ConfigError
from pipeline.cli.functions import settings_of
from tests.control_center import workspaces
from tests.control_center.conftest import Asked
from tests.control_center.serving import Server


def pushed(payload: dict, identity: str = "17") -> dict:
    """As Pub/Sub delivers it."""
    data = base64.b64encode(json.dumps(payload).encode()).decode()
    return {
        "message": {"messageId": identity, "data": data, "publishTime": "2026-03-01T12:30:05Z"},
        "subscription": "projects/p/subscriptions/runs",
    }


@pytest.fixture
def given_up(tmp_path):
    """A run's end was not told: the file of the alerts' channel could not be written."""
    blocked = tmp_path / "told"
    workspaces.write_config(
        tmp_path,
        alerts={"channels": [{"type": "file", "path": str(blocked / "alerts.jsonl")}]},
        automation={"attempts": 1, "max_age_hours": 1e6},
    )
    blocked.write_text("in the way of the folder")
    settings = settings_of(tmp_path / "flywheel.yaml")
    file = tmp_path / "settings.json"
    file.write_text(settings.model_dump_json(), "utf-8")
    function = Function("on_run_finished", file, tmp_path / "log.txt")
    function.start()
    try:
        function.wait()
        run = {"model": "iris", "job": "iris-1", "state": "failed", "reasons": ["<b>no</b> disk"]}
        answer = httpx.post(function.url, json=pushed(run), timeout=60, trust_env=False)
    finally:
        function.stop()
    assert answer.json()["code"] == "GAVE_UP", answer.text
    ledger = open_ledger(settings.automation.ledger)
    dead_letter.keep(ledger, "on_alert", "", "NOT_JSON", "The body is not JSON.", b"<script>")
    return tmp_path


def test_replay_by_clicking(watched, given_up):
    """In vain while the cause is there; handled, once, when it is not."""
    server = Server(given_up)
    try:
        page = watched.window()
        page.goto(server.url + "/automation")
        letter = page.locator("#dead article", has_text="GAVE_UP")
        hopeless = page.locator("#dead article", has_text="NOT_JSON")
        assert hopeless.get_by_role("button", name="Replay").is_disabled()
        assert "cannot be handled again" in hopeless.inner_text()
        letter.get_by_role("button", name="Replay").click()
        letter.locator(".problem", has_text="in vain").wait_for(timeout=60_000)
        assert "2 times" in letter.inner_text()
        (given_up / "told").unlink()
        letter.get_by_role("button", name="Replay").click()
        page.locator("#dead summary", has_text="1 handled by a replay").wait_for(timeout=60_000)
        assert letter.count() == 0
        told = (given_up / "told/alerts.jsonl").read_text("utf-8").splitlines()
        assert len(told) == 1 and "no" in told[0]
        with server.client() as client:
            client.open()
            actions = [e["action"] for e in client.get("/api/audit").json()]
            assert actions.count("automation.replay") == 2
            home = client.get("/api/overview").json()["parts"]
            found = Asked(given_up).center
            [done] = [d for d in dead_letter.records(_ledger(found)) if "replayed" in d]
            url = f"/api/automation/dead/{done['function']}/{done['id']}/replay"
            for wrong in (url[:-8] + "x/replay", url.replace("on_run_finished", "..%2f..")):
                assert client.post(wrong).status_code == 404
        automation = next(p for p in home if p["name"] == "Automation")
        assert automation["headline"] == "1 dead letter", "the hopeless one is left"
    finally:
        server.stop()


def _ledger(center):
    return open_ledger(center.config.automation.ledger)


def record(body, event="", function="on_alert") -> dict:
    return {"id": "abc", "function": function, "event": event, "body": body}


@pytest.mark.parametrize(
    ("found", "function", "source", "identity"),
    [
        (record(json.dumps(pushed({"a": 1}))), "on_alert", "projects/p/subscriptions/runs", "17"),
        (record('{"a": 1}', "on_alert/bus#9"), "on_alert", "bus", "9"),
        (record('{"a": 1}', "http#f00"), "on_alert", "http", "f00"),
        (
            record('{"specversion": "1.0", "id": "i", "source": "s", "data": {"a": 1}}'),
            *("on_alert", "s", "i"),
        ),
        (
            record('{"bucket": "local", "name": "x", "a": 1}', "file/x@1", "bus"),
            *("on_new_data", "replay", "file/x@1"),
        ),
        (
            record(json.dumps(pushed({"a": 1})), "bus/9", "bus"),
            *("on_run_finished", "projects/p/subscriptions/runs", "17"),
        ),
    ],
)
def test_an_event_is_put_together_again(found, function, source, identity):
    event = replay.event_of(found)
    assert (event.function, event.source) == (function, source)
    assert event.id in (identity, found["id"]) and event.payload["a"] == 1


@given(st.text(), st.text(), st.sampled_from(["on_alert", "bus", "predict", "../x"]))
def test_whatever_was_kept_is_an_event_or_a_reason(body, event, function):
    try:
        found = replay.event_of(record(body, event, function))
    except ConfigError as error:
        assert error.reason.code == "NOT_REPLAYABLE"
    else:
        assert found.function in ("on_alert", "on_new_data")


def test_schedules_by_clicking(watched, tmp_path):
    """Made, paused, gone on with and deleted on the page, with the reason for a wrong one."""
    workspaces.write_config(tmp_path)
    server = Server(tmp_path)
    try:
        page = watched.window()
        page.goto(server.url + "/automation")
        page.get_by_label("Cron").fill("every monday")
        page.get_by_role("button", name="Add").click()
        page.locator("#notice.bad", has_text="is no schedule").wait_for()
        watched.forgive("422")
        page.get_by_label("Cron").fill("30 4 * * mon")
        page.get_by_label("starts").select_option("monitor")
        page.get_by_role("button", name="Add").click()
        row = page.get_by_role("row", name="30 4 * * mon")
        row.get_by_role("button", name="Pause").click()
        row.locator(".badge", has_text="paused").wait_for()
        row.get_by_role("button", name="Resume").click()
        row.locator("time").first.wait_for()
        row.get_by_role("button", name="Delete").click()
        page.locator("#confirm").get_by_role("button", name="Yes").click()
        row.wait_for(state="detached")
    finally:
        server.stop()
    config = yaml.safe_load((tmp_path / "flywheel.yaml").read_text("utf-8"))
    assert "schedules" not in config, "the file is not touched"
