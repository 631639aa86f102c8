"""`flywheel functions` as a stranger types it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
import yaml

from cloud_functions import brakes
from cloud_functions.ledger import SqliteLedger, utc_now
from cloud_functions.local import Function, Stack, free_port
from cloud_functions.options import BrakeOptions
from models.errors import ConfigError, FlywheelError
from tests.cloud_functions.conftest import ROW, settings_in
from tests.cloud_functions.test_predict import wait_until
from tests.conftest import ROOT

CONFIG = {
    "version": 1,
    "name": "taxi",
    "data": {"path": "nothing.csv"},
    "task": {"label": "y", "type": "binary"},
    "features": {"x": "numeric"},
}


def write(flywheel, **settings) -> None:
    (flywheel.folder / "flywheel.yaml").write_text(yaml.safe_dump({**CONFIG, **settings}))


def test_a_wrong_name_and_a_taken_port_are_told_in_a_sentence(flywheel):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        write(flywheel, serving={"port": port})
        done = flywheel("functions", "serve", "predict", check=2)
        assert f"PORT_TAKEN  Something else listens at 127.0.0.1:{port}." in done.stderr
        done = flywheel("functions", "up", check=2)  # and does not take the other for ours
        assert "PORT_TAKEN" in done.stderr and "serving.port" in done.stderr
    done = flywheel("functions", "serve", "predictt", check=2)
    assert "Did you mean 'predict'?" in done.stderr
    done = flywheel("functions", "serve", "predict", "--port", "99999", check=2)
    assert "65535" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--inbox", "a-file"), "NO_INBOX"),
        (("build", "predict", "--output", "a-file"), "NOT_A_BUILD"),
        (("loop", "--folder", "a-file"), "NOT_EMPTY"),
        (("retrain", " "), "say why"),
    ],
)
def test_a_file_for_a_folder_and_no_reason_are_refused(flywheel, arguments, said):
    write(flywheel, serving={"port": free_port()})
    (flywheel.folder / "a-file").write_text("x")
    done = flywheel("functions", *arguments, check=2)
    assert said in done.stderr and "Traceback" not in done.stderr
    assert flywheel.json("functions", "status")["brakes"]["starts"] == []


def test_serve_is_the_function_itself(flywheel, published):
    root, names = published
    write(flywheel, deploy={"path": str(root)})
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "functions", "serve", "predict", "--port", str(port)],
        cwd=flywheel.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500"},
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}/v1/models/taxi"

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=30).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(ready, 90)
        answer = httpx.post(f"{url}:predict", json={"instances": [ROW]}, timeout=30).json()
        assert answer["model_version"] == names[0]
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert f"{url}:predict" in said and f"{url}/metadata" in said and "Traceback" not in said


def test_a_person_asks_for_a_run_by_the_brakes(flywheel):
    write(flywheel)
    empty = flywheel("functions", "status").stdout
    assert "no run was asked for" in empty and "no dead letters" in empty
    started = flywheel.json("functions", "retrain", "a first look")
    assert started["state"] == "started"
    refused = flywheel("functions", "retrain", "again", check=None)
    assert refused.returncode in (0, 1)  # the run before it may have ended already
    if refused.returncode:
        assert "IN_FLIGHT" in refused.stderr and "--override" in refused.stderr
        flywheel("functions", "retrain", "all the same", "--override")
        overrides = flywheel.json("functions", "status")["brakes"]["overrides"]
        assert [entry["why"] for entry in overrides] == ["all the same"]
    # There is no data: a run says so itself, and nobody has to publish it.
    result = flywheel.folder / ".flywheel" / "jobs" / started["job"] / "result.json"
    wait_until(result.exists, 120)
    assert "NO_SUCH_FILE" in json.loads(result.read_text())["reasons"][0]
    # No topic tells of its end here: whoever looks is told by the backend.
    ended = flywheel.json("functions", "status")["brakes"]["ended"]
    assert (started["job"], "failed") in {(end["job"], end["state"]) for end in ended}


def test_a_backend_that_is_down_stands_in_nobodys_way(flywheel):
    backend = {
        "type": "kubeflow",
        "host": f"http://127.0.0.1:{free_port()}",
        "pipeline_id": "p1",
    }
    write(flywheel, automation={"backend": backend})
    for _ in range(2):
        done = flywheel("functions", "retrain", "why", check=1)
        assert "NOT_STARTED" in done.stderr and "automation.backend" in done.stderr
        assert "Traceback" not in done.stderr
    status = flywheel.json("functions", "status")["brakes"]
    assert status["in_flight"] is None
    ledger = SqliteLedger(flywheel.folder / ".flywheel" / "ledger.sqlite")
    options = BrakeOptions()
    brakes.ask(ledger, "taxi", "j", asker="data", why="", options=options, now=utc_now())
    done = flywheel("functions", "status")  # it cannot be asked how that one goes
    assert "in flight  j since" in done.stdout and "could not be asked" in done.stderr
    brakes.finish(ledger, "taxi", "j", "not_started", utc_now())
    status = flywheel.json("functions", "status")["brakes"]
    assert [end["state"] for end in status["ended"]] == ["not_started"] * 3


def test_a_function_that_ends_by_itself_is_noticed(tmp_path, deployed):
    with Stack(deployed.settings, tmp_path / "functions", names=["predict"]).running() as stack:
        assert stack.ended() == []
        os.kill(stack.functions["predict"].process.pid, signal.SIGKILL)
        wait_until(stack.ended)
        assert [function.name for function in stack.ended()] == ["predict"]


def test_a_function_that_cannot_start_says_why(tmp_path):
    (tmp_path / "settings.json").write_text(settings_in(tmp_path).model_dump_json())
    function = Function("predict", tmp_path / "settings.json", tmp_path / "log.txt")
    with socket.create_server(("127.0.0.1", function.port)):
        with pytest.raises(ConfigError, match="Something else listens"):
            function.start()
    with pytest.raises(FlywheelError, match="did not start"):
        function.log.write_text("no such thing\n")
        function.wait()
