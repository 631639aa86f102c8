"""What goes wrong between an event and a run, over real HTTP with real processes.

The runs go to a server that answers as Kubeflow Pipelines' run API does and, like it, makes a run
for every request: nothing but the functions keeps them from being two.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import http.server
import json
import os
import signal
import threading
import time
import urllib.parse

import httpx
import pytest

from cloud_functions import brakes, dead_letter
from cloud_functions.bus import Bus, Watcher
from cloud_functions.ledger import SqliteLedger
from cloud_functions.options import BackendOptions, DropOptions
from monitoring.alerts.options import AlertOptions
from tests.cloud_functions.conftest import settings_in


class Recorder:
    """An HTTP server that records requests and answers as it is told.

    Attributes:
      failing: Answers 503.
      hanging: Takes a POST, notes it in `taken`, and answers nothing until it is unset.
    """

    def __init__(self):
        self.posts: list[dict] = []
        self.failing = self.hanging = False
        self.taken = threading.Event()
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                recorder.taken.set()
                while recorder.hanging:
                    time.sleep(0.02)
                    if recorder.failing:
                        return
                if recorder.failing:
                    return self.answer(503, {})
                recorder.posts.append(body)
                ok = {"run_id": f"r{len(recorder.posts)}", "state": "PENDING"}
                self.answer(200, {**ok, "messageIds": ["1"]})

            def do_GET(self):
                if recorder.failing:
                    return self.answer(503, {})
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                [predicate] = json.loads(query["filter"][0])["predicates"]
                names = [post.get("display_name") for post in recorder.posts]
                runs = [
                    {"run_id": f"r{place}", "state": "RUNNING"}
                    for place, name in enumerate(names)
                    if name == predicate["string_value"]
                ]
                self.answer(200, {"runs": runs} if runs else {})

            def answer(self, status, content):
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.hanging, self.failing = False, True
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def kubeflow():
    made = Recorder()
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path, kubeflow):
    (tmp_path / "inbox").mkdir()
    backend = BackendOptions(type="kubeflow", host=kubeflow.url, pipeline_id="p1")
    return settings_in(
        tmp_path,
        backend=backend,
        data=DropOptions(pattern="*.csv", complete="at_once"),
        lease_seconds=2.0,
        attempts=4,
    )


def finalized(settings, name="trips.csv", identity="1", **headers):
    path = os.path.join(settings.automation.inbox, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write("a,b\n1,2\n")
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    attributes = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": identity,
        "ce-source": "//storage/local",
        "ce-type": "google.cloud.storage.object.v1.finalized",
        "ce-time": now,
        **headers,
    }
    return attributes, {"bucket": "local", "name": name, "size": "8"}


def post(url, event):
    return httpx.post(url, headers=event[0], content=json.dumps(event[1]), timeout=60)


def redeliver(url, event, seconds=30.0):
    """As a platform does, until it is acknowledged."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = post(url, event)
            if answer.status_code == 200:
                return answer
        except httpx.HTTPError:
            answer = None
        assert time.monotonic() < end, answer and answer.text
        time.sleep(0.2)


def test_one_event_delivered_twenty_times_at_once_is_one_run(serve, settings, kubeflow):
    patient = settings.automation.model_copy(update={"lease_seconds": 60.0})  # on a slow machine
    settings = settings.model_copy(update={"automation": patient})
    url = serve("on_new_data", settings, threads=20).url
    event = finalized(settings)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: redeliver(url, event), range(20)))
    assert len(kubeflow.posts) == 1
    results = [answer.json() for answer in answers]
    assert {result["state"] for result in results} == {"started"}
    assert sum(not result.get("duplicate") for result in results) == 1
    [run] = kubeflow.posts
    assert run["display_name"] == results[0]["job"]
    assert run["runtime_config"]["parameters"]["data_path"].endswith("inbox/trips.csv")


def test_another_event_of_the_same_object_is_no_second_run(serve, settings, kubeflow):
    url = serve("on_new_data", settings).url
    assert post(url, finalized(settings)).json()["state"] == "started"
    again = post(url, finalized(settings, identity="2"))
    assert again.status_code == 200 and len(kubeflow.posts) == 1


def test_the_next_drop_waits_until_the_run_before_it_ended(serve, settings, kubeflow):
    data, finished = serve("on_new_data", settings), serve("on_run_finished", settings)
    first = post(data.url, finalized(settings, "a.csv", "1")).json()
    waiting = post(data.url, finalized(settings, "b.csv", "2"))
    assert waiting.status_code == 503 and int(waiting.headers["Retry-After"]) > 0
    assert "in flight" in waiting.json()["error"]
    # The end of a run that is not in flight, and of one before its beginning, change nothing.
    ended = {"model": "taxi", "job": "another", "state": "pushed"}
    assert httpx.post(finished.url, json=ended, timeout=60).status_code == 200
    assert post(data.url, finalized(settings, "b.csv", "2")).status_code == 503
    ended = {"model": "taxi", "job": first["job"], "state": "pushed", "version": "v1"}
    assert httpx.post(finished.url, json=ended, timeout=60).json()["verdict"] == "pushed"
    assert httpx.post(finished.url, json=ended, timeout=60).json()["duplicate"]
    assert post(data.url, finalized(settings, "b.csv", "2")).json()["state"] == "started"
    assert len(kubeflow.posts) == 2


def test_a_handler_killed_after_its_claim_is_completed_by_redelivery(serve, settings, kubeflow):
    function = serve("on_new_data", settings)
    kubeflow.hanging = True
    event = finalized(settings)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        lost = pool.submit(post, function.url, event)
        assert kubeflow.taken.wait(20)
        os.killpg(function.process.pid, signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            lost.result(30)
    kubeflow.failing, kubeflow.hanging = True, False  # the request it was in gets no run
    time.sleep(0.2)
    kubeflow.failing = False
    assert not kubeflow.posts
    again = serve("on_new_data", settings)
    assert redeliver(again.url, event).json()["state"] == "started"
    assert len(kubeflow.posts) == 1


def test_a_backend_that_is_down_for_a_while_gets_one_run(serve, settings, kubeflow):
    url = serve("on_new_data", settings).url
    kubeflow.failing = True
    event = finalized(settings)
    for attempt in (1, 2):
        answer = post(url, event)
        assert answer.status_code == 500 and f"Attempt {attempt} failed" in answer.json()["error"]
    kubeflow.failing = False
    assert post(url, event).json()["state"] == "started"
    assert post(url, event).json()["duplicate"] and len(kubeflow.posts) == 1


def test_a_backend_that_stays_down_ends_in_a_dead_letter(serve, settings, kubeflow):
    url = serve("on_new_data", settings).url
    kubeflow.failing = True
    event = finalized(settings)
    answers = [post(url, event) for _ in range(4)]
    assert [a.status_code for a in answers] == [500, 500, 500, 200]
    [record] = dead_letter.records(SqliteLedger(settings.automation.ledger))
    assert record["code"] == "GAVE_UP" and json.loads(record["body"])["name"] == "trips.csv"


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({}, b"not json", "NOT_JSON"),
        ({"ce-id": ""}, b"{}", "NOT_AN_EVENT"),
        ({}, b'{"bucket": "local", "name": "a.csv", "size": 1, "naem": 2}', "UNKNOWN_KEY"),
        ({"ce-time": "2020-01-01T00:00:00Z"}, b'{"bucket":"b","name":"a","size":1}', "STALE"),
    ],
)
def test_what_can_never_be_handled_is_acknowledged_with_a_record(
    serve, settings, kubeflow, headers, body, code
):
    url = serve("on_new_data", settings).url
    attributes = {**finalized(settings)[0], **headers}
    answer = httpx.post(url, headers=attributes, content=body, timeout=60)
    assert answer.status_code == 200 and answer.json()["code"] == code
    [record] = dead_letter.records(SqliteLedger(settings.automation.ledger))
    assert record["body"] == body.decode() and not kubeflow.posts
    # A caller who can mend the request is told so.
    if not code == "STALE":
        plain = httpx.post(url, content=body[:-1], timeout=60)
        assert plain.status_code == 400 and plain.json()["error"]


def alert(number=1, kind="drift"):
    message = {"title": "Drift: fare", "text": "x", "id": f"m{number}"}
    return {"model": "taxi", "kind": kind, "message": message}


def test_an_alert_is_told_and_asks_for_one_run_within_the_cooldown(serve, settings, kubeflow):
    told = Recorder()
    policy = AlertOptions.model_validate(
        {"channels": [{"type": "webhook", "url": told.url}], "retrain": {"kinds": ["drift"]}}
    )
    url = serve("on_alert", settings.model_copy(update={"alerts": policy})).url
    first = httpx.post(url, json=alert(1), timeout=60).json()
    second = httpx.post(url, json=alert(2), timeout=60).json()
    again = httpx.post(url, json=alert(1), timeout=60).json()
    other = httpx.post(url, json=alert(3, "quality"), timeout=60).json()
    told.close()
    assert first["retrain"]["state"] == "started" and again["duplicate"]
    assert second["retrain"]["code"] == "IN_FLIGHT" and "retrain" not in other
    assert len(kubeflow.posts) == 1 and len(told.posts) == 3
    ledger = SqliteLedger(settings.automation.ledger)
    assert brakes.status(ledger, "taxi")["in_flight"]["job"] == first["retrain"]["job"]


def test_a_webhook_that_is_down_is_tried_again_then_kept_as_a_dead_letter(
    serve, settings, kubeflow
):
    hook, good = Recorder(), Recorder()
    hook.failing = True
    channels = [
        {"type": "webhook", "name": name, "url": r.url, "attempts": 1, "timeout_seconds": 5}
        for name, r in (("down", hook), ("up", good))
    ]
    policy = AlertOptions.model_validate({"channels": channels})
    function = serve("on_alert", settings.model_copy(update={"alerts": policy}))
    ledger = SqliteLedger(settings.automation.ledger)
    bus = Bus({"alerts": function.url}, ledger, first_wait=0.05)
    bus.start()
    httpx.post(bus.url("alerts"), json=published(alert(1)), timeout=10).raise_for_status()
    wait(lambda: dead_letter.records(ledger))
    [record] = dead_letter.records(ledger)
    assert record["function"] == "on_alert" and record["code"] == "GAVE_UP"
    assert "down" in record["message"] and len(good.posts) == 1  # told once, over what works
    # Down for a while only: told, and nothing is lost.
    httpx.post(bus.url("alerts"), json=published(alert(2)), timeout=10).raise_for_status()
    wait(lambda: len(good.posts) == 2)
    hook.failing = False
    wait(lambda: len(hook.posts) == 1)
    bus.stop()
    hook.close()
    good.close()
    assert len(dead_letter.records(ledger)) == 1 and len(good.posts) == 2


def published(payload) -> dict:
    import base64

    return {"messages": [{"data": base64.b64encode(json.dumps(payload).encode()).decode()}]}


def wait(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def test_a_bus_redelivers_gives_up_and_goes_on_after_a_restart(tmp_path):
    receiver, ledger = Recorder(), SqliteLedger(tmp_path / "l.sqlite")
    receiver.failing = True
    bus = Bus({"t": receiver.url}, ledger, attempts=3, first_wait=0.02)
    bus.start()
    httpx.post(bus.url("t"), json=published({"n": 1})).raise_for_status()
    wait(lambda: dead_letter.records(ledger, "bus"))
    assert httpx.post(bus.url("other"), json=published({})).status_code == 404
    bus.stop()
    slow = Bus({"t": receiver.url}, ledger, attempts=3, first_wait=60.0)
    slow.start()
    httpx.post(slow.url("t"), json=published({"n": 2})).raise_for_status()
    time.sleep(0.3)
    slow.stop()
    assert not receiver.posts
    receiver.failing = False
    after = Bus({"t": receiver.url}, ledger)
    after.start()
    wait(lambda: receiver.posts)
    after.stop()
    receiver.close()
    [message] = receiver.posts
    assert message["message"]["messageId"] and len(dead_letter.records(ledger)) == 1


def test_the_watcher_tells_of_a_file_once_when_it_is_whole(tmp_path):
    receiver, ledger = Recorder(), SqliteLedger(tmp_path / "l.sqlite")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    bus = Bus({}, ledger)
    bus.start()
    watcher = Watcher(inbox, receiver.url, bus)
    (inbox / "a.csv").write_text("1")
    watcher.look()
    (inbox / "a.csv").write_text("12")
    watcher.look()
    time.sleep(0.1)
    assert not receiver.posts  # still growing
    for _ in range(3):
        watcher.look()
    wait(lambda: receiver.posts)
    restarted = Watcher(inbox, receiver.url, bus)
    restarted.look()
    restarted.look()
    time.sleep(0.2)
    bus.stop()
    receiver.close()
    [event] = receiver.posts
    assert (event["name"], event["size"]) == ("a.csv", "2")
