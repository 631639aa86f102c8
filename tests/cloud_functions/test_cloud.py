"""The functions behind Google's own emulators, and behind tokens."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import time

import httpx
import pytest

from cloud_functions import brakes, dead_letter, topics
from cloud_functions.ledger import SqliteLedger
from cloud_functions.local import free_port
from cloud_functions.options import AuthOptions, BackendOptions, DropOptions
from monitoring.alerts.options import AlertOptions
from tests.cloud_functions.conftest import settings_in
from tests.cloud_functions.test_auth import ACCOUNT, Issuer
from tests.cloud_functions.test_faults import Recorder, wait
from tests.cloud_functions.test_ledger import emulator

RUN = {"model": "taxi", "job": "j1", "state": "pushed", "version": "v1"}


@pytest.fixture
def pubsub(tmp_path, monkeypatch):
    """Google's Pub/Sub emulator; its address."""
    program = emulator("pubsub-emulator", "bin", "cloud-pubsub-emulator")
    if program is None:
        pytest.skip("the Pub/Sub emulator of the Google Cloud SDK is not installed here")
    host = f"127.0.0.1:{free_port()}"
    with open(tmp_path / "pubsub.log", "wb") as log:
        process = subprocess.Popen(
            [str(program), "--host=127.0.0.1", f"--port={host.rpartition(':')[2]}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + 60
    while "Server started" not in (tmp_path / "pubsub.log").read_text("utf-8", "replace"):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.2)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", host)
    yield f"http://{host}/v1"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)


def push(pubsub: str, name: str, url: str) -> str:
    """A topic whose messages are pushed to a function."""
    topic = f"projects/test/topics/{name}"
    httpx.put(f"{pubsub}/{topic}", json={}).raise_for_status()
    subscription = {"topic": topic, "pushConfig": {"pushEndpoint": url}}
    path = f"projects/test/subscriptions/{name}"
    httpx.put(f"{pubsub}/{path}", json=subscription).raise_for_status()
    return topic


def test_an_alert_becomes_a_run_and_its_end_a_record_by_pubsub(tmp_path, pubsub, serve):
    """on_alert and on_run_finished behind Google's topics; the backend is down at first."""
    kubeflow = Recorder()
    kubeflow.failing = True
    backend = BackendOptions(type="kubeflow", host=kubeflow.url, pipeline_id="p1")
    policy = AlertOptions.model_validate({"retrain": {"kinds": ["drift"]}})
    settings = settings_in(tmp_path, backend=backend, attempts=50)
    settings = settings.model_copy(update={"alerts": policy})
    ledger = SqliteLedger(settings.automation.ledger)
    alerts = push(pubsub, "alerts", serve("on_alert", settings).url)
    runs = push(pubsub, "runs", serve("on_run_finished", settings).url)
    message = {"title": "Drift: fare", "text": "x", "id": "m1"}
    for _ in range(2):  # a publisher that does not know whether it was heard
        topics.publish(alerts, {"model": "taxi", "kind": "drift", "message": message})
    time.sleep(3.0)
    assert not kubeflow.posts
    kubeflow.failing = False  # Pub/Sub delivers what was not acknowledged
    wait(lambda: kubeflow.posts, 120)
    [run] = kubeflow.posts
    ended = {"model": "taxi", "job": run["display_name"], "state": "pushed", "version": "v1"}
    topics.publish(runs, ended)
    wait(lambda: brakes.status(ledger, "taxi")["ended"], 60)
    wait(lambda: all(c["state"] == "done" for _, c in ledger.entries("event/")), 60)
    kubeflow.close()
    status = brakes.status(ledger, "taxi")
    assert status["in_flight"] is None and len(kubeflow.posts) == len(status["starts"]) == 1
    assert not dead_letter.records(ledger)


def test_a_run_that_ended_reaches_its_function_by_pubsub(tmp_path, pubsub, serve):
    settings = settings_in(tmp_path)
    topic = push(pubsub, "runs", serve("on_run_finished", settings).url)
    for _ in range(2):  # a publisher that does not know whether it was heard
        assert topics.publish(topic, RUN)
    ledger = SqliteLedger(settings.automation.ledger)
    wait(lambda: ledger.read("run/taxi/j1"), 60)
    found = ledger.read("run/taxi/j1")
    assert (found["state"], found["version"]) == ("pushed", "v1")
    assert len(list(ledger.entries("event/"))) == 1


@pytest.fixture
def drops(monkeypatch):
    """The storage emulator with a bucket `drops`, and Google's client of it."""
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="drops")
    server.start()
    monkeypatch.setenv(
        "STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}"
    )
    yield storage.Client(project="local", credentials=AnonymousCredentials()).bucket("drops")
    server.stop()


def finalized(blob) -> tuple[dict[str, str], str]:
    """What Eventarc delivers when an object is finished: its resource in the JSON API.

    The emulator sends nothing, so that this part of the platform is the test's.
    """
    resource = dict(blob._properties)
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": f"{resource['generation']}",
        "ce-source": f"//storage.googleapis.com/projects/_/buckets/{resource['bucket']}",
        "ce-subject": f"objects/{resource['name']}",
        "ce-type": "google.cloud.storage.object.v1.finalized",
        "ce-time": datetime.datetime.now(datetime.timezone.utc).isoformat(),
    }
    return headers, json.dumps(resource)


def test_an_object_in_cloud_storage_starts_a_run(tmp_path, drops, serve):
    kubeflow = Recorder()
    backend = BackendOptions(type="kubeflow", host=kubeflow.url, pipeline_id="p1")
    settings = settings_in(
        tmp_path, backend=backend, data=DropOptions(pattern="*.csv", complete="manifest")
    )
    function = serve("on_new_data", settings)

    def tell(blob) -> dict:
        headers, body = finalized(blob)
        return httpx.post(function.url, headers=headers, content=body, timeout=60).json()

    def upload(name: str, content: bytes):
        drops.blob(name).upload_from_string(content)
        return drops.get_blob(name)

    waiting = tell(upload("day1/a.csv", b"a,b\n1,2\n"))
    assert waiting["state"] == "ignored" and "day1/_SUCCESS" in waiting["message"]
    manifest = json.dumps({"files": {"a.csv": 8, "b.csv": 8}}).encode()
    early = tell(upload("day1/_SUCCESS", manifest))
    assert early["state"] == "later" and "b.csv should have 8 bytes" in early["error"]
    assert not kubeflow.posts
    upload("day1/b.csv", b"a,b\n3,4\n")
    for _ in range(2):  # the manifest's event comes again, and again
        assert tell(drops.get_blob("day1/_SUCCESS"))["state"] == "started"
    kubeflow.close()
    [run] = kubeflow.posts
    assert run["runtime_config"]["parameters"] == {"data_path": "gs://drops/day1"}
    assert "2 files, 16 bytes" in run["description"]


def test_a_function_lets_in_who_has_the_token(tmp_path, serve):
    issuer = Issuer("jwks")
    accounts = AuthOptions(
        audience="https://f.example", accounts=(ACCOUNT,), certificates=issuer.url
    )
    function = serve("on_run_finished", settings_in(tmp_path, auth=accounts))

    def status(**headers) -> int:
        return httpx.post(function.url, json=RUN, headers=headers, timeout=60).status_code

    assert status() == 401
    assert status(Authorization=f"Bearer {issuer.token(email='eve@example.com')}") == 403
    assert status(Authorization=f"Bearer {issuer.token()}") == 200
    issuer.server.shutdown()
    issuer.server.server_close()


def test_the_store_is_the_one_of_flywheel_monitor(tmp_path):
    from pipeline import config
    from pipeline.cli.functions import settings_of
    from pipeline.monitoring_run import store_url

    path = tmp_path / "flywheel.yaml"
    path.write_text(
        "version: 1\nname: t\ndata: {path: x.csv}\n"
        "task: {label: y, type: binary}\nfeatures: {x: numeric}\n"
    )
    found = settings_of(path)
    assert found.store == store_url(config.load(path))
    assert found.automation.ledger == str(tmp_path / ".flywheel" / "ledger.sqlite")
    assert found.log == str(tmp_path / ".flywheel" / "predictions")
