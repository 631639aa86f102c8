"""The functions behind Google's own emulators, and behind tokens."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import httpx
import pytest

from cloud_functions import topics
from cloud_functions.ledger import SqliteLedger
from cloud_functions.local import free_port
from cloud_functions.options import AuthOptions
from tests.cloud_functions.conftest import settings_in
from tests.cloud_functions.test_auth import ACCOUNT, Issuer
from tests.cloud_functions.test_faults import wait
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


def test_a_run_that_ended_reaches_its_function_by_pubsub(tmp_path, pubsub, serve):
    settings = settings_in(tmp_path)
    function = serve("on_run_finished", settings)
    topic = "projects/test/topics/runs"
    httpx.put(f"{pubsub}/{topic}", json={}).raise_for_status()
    subscription = {"topic": topic, "pushConfig": {"pushEndpoint": function.url}}
    path = "projects/test/subscriptions/runs"
    httpx.put(f"{pubsub}/{path}", json=subscription).raise_for_status()
    for _ in range(2):  # a publisher that does not know whether it was heard
        assert topics.publish(topic, RUN)
    ledger = SqliteLedger(settings.automation.ledger)
    wait(lambda: ledger.read("run/taxi/j1"), 60)
    found = ledger.read("run/taxi/j1")
    assert (found["state"], found["version"]) == ("pushed", "v1")
    assert len(list(ledger.entries("event/"))) == 1


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
