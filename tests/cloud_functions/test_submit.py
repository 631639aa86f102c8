from __future__ import annotations

import concurrent.futures
import datetime
import json
import os
import time

import pytest

from cloud_functions import drops, retrain
from cloud_functions.drops import Folder
from cloud_functions.endpoint import Later, Permanent
from cloud_functions.job import finished
from cloud_functions.ledger import SqliteLedger
from cloud_functions.options import DropOptions
from cloud_functions.submit import Job, LocalSubmitter, job_id
from tests.cloud_functions.conftest import settings_in
from tests.cloud_functions.test_faults import Recorder, wait


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


CONFIG = """
version: 1
name: taxi
data: {path: nothing.csv}
task: {label: y, type: binary}
features: {x: numeric}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "flywheel.yaml"
    path.write_text(CONFIG)
    return path


def test_a_job_is_one_process_and_says_how_it_ended(tmp_path, config):
    """A real run, of data that is not there: it ends at once."""
    bus = Recorder()
    backend = LocalSubmitter(tmp_path / "jobs", str(config), f"{bus.url}/topics/runs:publish")
    job = Job("taxi-1", "taxi", None, "why")
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: backend.submit(job), range(5)))
    wait(lambda: backend.ended("taxi-1"), 60)
    assert backend.ended("taxi-1") == "failed"
    result = json.loads((tmp_path / "jobs/taxi-1/result.json").read_text())
    assert result["job"] == "taxi-1" and "NO_SUCH_FILE" in result["reasons"][0]
    wait((tmp_path / "jobs/taxi-1/published").exists, 60)  # else it goes on telling for an hour
    bus.close()


def test_data_waits_and_an_alert_is_refused_while_a_run_is_in_flight(tmp_path, config):
    settings = settings_in(tmp_path).model_copy(update={"config": str(config)})
    ledger = SqliteLedger(settings.automation.ledger)
    retrain._ask(settings, ledger, Job("lost", "taxi", None, ""), "data", None)
    job = Job("next", "taxi", None, "")
    assert retrain.start(settings, ledger, job, "alert")["code"] == "IN_FLIGHT"
    with pytest.raises(Later):
        retrain.start(settings, ledger, job, "data")
    # It ended, and nobody was told: the backend is asked.
    folder = tmp_path / "jobs" / "lost"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"state": "pushed"}')
    assert retrain.start(settings, ledger, job, "data")["state"] == "started"


def test_ids_are_the_same_for_the_same_and_valid_anywhere():
    assert job_id("Taxi", "a", "b") == job_id("Taxi", "a", "b") != job_id("Taxi", "ab")
    assert job_id("Taxi", "a").startswith("taxi-")


@pytest.mark.parametrize(
    ("ended", "state"),
    [
        ({"state": "pushed", "pushed": {"version": "v"}}, "pushed"),
        ({"state": "pushed", "unchanged": True}, "unchanged"),
        ({"state": "interrupted"}, "failed"),
    ],
)
def test_a_result_becomes_an_event(ended, state):
    assert finished({"id": "j", "model": "m"}, ended)["state"] == state


def put(root, name, text="a,b\n1,2\n", age=100.0):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    moment = time.time() - age
    os.utime(path, (moment, moment))


def find(root, name, **options):
    return drops.find(Folder(root), name, DropOptions(pattern="*.csv", **options), now())


def test_every_object_is_a_drop_at_once(tmp_path):
    put(tmp_path, "d/a.csv")
    found = find(tmp_path, "d/a.csv", complete="at_once")
    assert (found.files, found.bytes) == (1, 8) and found.address.endswith("d/a.csv")
    assert "does not match" in find(tmp_path, "d/a.txt", complete="at_once")
    assert "not there" in find(tmp_path, "d/gone.csv", complete="at_once")


def test_a_folder_is_a_drop_when_it_is_quiet(tmp_path):
    put(tmp_path, "d/a.csv")
    put(tmp_path, "d/b.csv", age=10)
    put(tmp_path, "d/deeper/c.csv", age=0)
    with pytest.raises(Later) as later:
        find(tmp_path, "d/a.csv", complete="quiet", quiet_seconds=60)
    assert 40 < later.value.seconds < 60
    put(tmp_path, "d/b.csv", age=70)
    first = find(tmp_path, "d/a.csv", complete="quiet", quiet_seconds=60)
    assert first == find(tmp_path, "d/b.csv", complete="quiet", quiet_seconds=60)
    assert first.files == 2
    put(tmp_path, "d/b.csv", "changed", age=65)
    again = find(tmp_path, "d/a.csv", complete="quiet", quiet_seconds=60)
    assert again.fingerprint != first.fingerprint


def test_a_folder_is_a_drop_when_its_manifest_and_all_files_are_there(tmp_path):
    put(tmp_path, "d/a.csv")
    assert "waits for d/_SUCCESS" in find(tmp_path, "d/a.csv", complete="manifest")
    put(tmp_path, "d/_SUCCESS", "")
    assert find(tmp_path, "d/_SUCCESS", complete="manifest").files == 1
    put(tmp_path, "d/_SUCCESS", json.dumps({"files": {"a.csv": 8, "b.csv": 8}}))
    with pytest.raises(Later, match="b.csv should have 8 bytes and is not there"):
        find(tmp_path, "d/_SUCCESS", complete="manifest")
    put(tmp_path, "d/b.csv", "a")
    with pytest.raises(Later, match="has 1"):
        find(tmp_path, "d/_SUCCESS", complete="manifest")
    put(tmp_path, "d/b.csv")
    assert find(tmp_path, "d/_SUCCESS", complete="manifest").files == 2
    put(tmp_path, "d/_SUCCESS", "{")
    with pytest.raises(Permanent, match="manifest"):
        find(tmp_path, "d/_SUCCESS", complete="manifest")


def test_a_drop_that_is_too_small_is_refused(tmp_path):
    put(tmp_path, "a.csv")
    with pytest.raises(Permanent, match="8 bytes; 9 are the least"):
        find(tmp_path, "a.csv", complete="at_once", min_bytes=9)


def test_a_bucket_of_cloud_storage_is_read_as_a_folder_is(tmp_path, monkeypatch):
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="drops")
    server.start()
    try:
        port = server._api._httpd.server_port
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        client = storage.Client(project="local", credentials=AnonymousCredentials())
        client.bucket("drops").blob("d/a.csv").upload_from_string(b"a,b\n1,2\n")
        client.bucket("drops").blob("d/_SUCCESS").upload_from_string(
            json.dumps({"files": {"a.csv": 8}})
        )
        options = DropOptions(pattern="*.csv", complete="manifest")
        found = drops.find(drops.open_bucket("drops", None), "d/_SUCCESS", options, now())
    finally:
        server.stop()
    assert (found.address, found.files, found.bytes) == ("gs://drops/d", 1, 8)
