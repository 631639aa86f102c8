"""`flywheel deploy` as a user types it, against a server over real HTTP and HTTPS."""

from __future__ import annotations

import http.server
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import threading

import pytest

from pipeline.cluster.client import Cluster
from pipeline.cluster.options import ClusterOptions
from pipeline.cluster.transport import ClusterError
from tests.conftest import ROOT, Flywheel
from tests.pipeline.cluster.certificates import identity
from tests.pipeline.cluster.server import Kfp
from tests.pipeline.cluster.test_cluster import SPEC


@pytest.fixture
def kfp(flywheel: Flywheel):
    (flywheel.folder / "pipeline.yaml").write_text(SPEC, "utf-8")
    kfp = Kfp("2.17.0", token="s3cr3t")
    with kfp.serving() as kfp.address:
        yield kfp
    assert kfp.violations == []


def test_run_follow_list_and_end(flywheel: Flywheel, kfp: Kfp) -> None:
    here = ("--host", kfp.address)
    token = {"KF_PIPELINES_TOKEN": "s3cr3t"}
    wait = ("--wait", "--poll-seconds", "0.05")
    first = flywheel.json(
        "deploy", "pipeline.yaml", *here, *wait, "--parameter", "data-path=gs://b/x.csv", **token
    )
    assert first["uploaded"] and first["state"] == "SUCCEEDED"
    assert [t["name"] for t in first["tasks"]] == ["trainer", "pusher"]
    (run,) = kfp.runs.values()
    assert run["runtime_config"]["parameters"] == {"data-path": "gs://b/x.csv"}

    kfp.story = ["RUNNING", "FAILED"]
    done = flywheel("deploy", "pipeline.yaml", *here, *wait, check=1, **token)
    assert "is there already" in done.stdout
    assert "trainer: the trainer ran out of memory" in done.stderr

    kfp.story = ["RUNNING"]
    started = flywheel.json("deploy", "pipeline.yaml", *here, **token)
    ended = flywheel.json("deploy", *here, "--terminate", started["run_id"], **token)
    assert ended["state"] == "CANCELED"

    made = flywheel.json("deploy", "pipeline.yaml", *here, "--schedule", "30 4 * * 1", **token)
    assert made["cron"] == "0 30 4 * * 1" and made["schedule"] == "created"
    listed = flywheel.json("deploy", *here, "--list", **token)
    assert len(listed["runs"]) == 3
    assert [s["cron"] for s in listed["schedules"]] == ["0 30 4 * * 1"]
    flywheel("deploy", "pipeline.yaml", *here, "--unschedule", **token)
    assert not kfp.recurring


def test_interrupting_the_wait_leaves_the_run(flywheel: Flywheel, kfp: Kfp) -> None:
    kfp.story = ["RUNNING"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pipeline", "deploy", "pipeline.yaml", "--wait"),
            *("--host", kfp.address, "--poll-seconds", "0.05"),
        ],
        cwd=flywheel.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KF_PIPELINES_TOKEN": "s3cr3t"},
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts commands in the background lets them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "trainer RUNNING" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(60) == 130
    (run_id,) = kfp.runs
    assert f"flywheel deploy --terminate {run_id}" in rest and "Traceback" not in rest
    assert kfp.runs[run_id]["state"] == "RUNNING"


def test_refusals_are_paragraphs(flywheel: Flywheel, kfp: Kfp) -> None:
    here = ("--host", kfp.address)
    done = flywheel("deploy", "pipeline.yaml", *here, check=1, KF_PIPELINES_TOKEN="0ld-t0ken")
    assert "NOT_LOGGED_IN" in done.stderr and "KF_PIPELINES_TOKEN" in done.stderr
    assert "0ld" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    for arguments, code in (
        (("pipeline.yaml", *here, "--parameter", "data-pth=1"), "UNKNOWN_PARAMETER"),
        (("pipeline.yaml", *here, "--parameter", "data-path"), "WRONG_PARAMETER"),
        (("pipeline.yaml", *here, "--schedule", "nightly"), "WRONG_CRON"),
        (("none.yaml", *here), "NO_SPEC"),
        (("pipeline.yaml",), "NO_HOST"),
    ):
        done = flywheel("deploy", *arguments, check=2, KF_PIPELINES_TOKEN="s3cr3t")
        assert code in done.stderr and "Traceback" not in done.stderr


def test_an_authority_of_ones_own(tmp_path: pathlib.Path) -> None:
    key, certificate = identity("127.0.0.1")
    pem = tmp_path / "ca.pem"
    pem.write_bytes(certificate)
    secret = tmp_path / "key.pem"
    secret.write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"multi_user": false}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"https://127.0.0.1:{server.server_port}"
    try:
        Cluster(ClusterOptions(host=host, ca_file=str(pem), attempts=1))
        with pytest.raises(ClusterError) as refused:
            Cluster(ClusterOptions(host=host, attempts=1))
        assert refused.value.reason.code == "CERTIFICATE_REFUSED"
        assert "--ca-file" in refused.value.reason.next
    finally:
        server.shutdown()
        server.server_close()
