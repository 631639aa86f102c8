"""Runs that outlive who started them: real processes, a real pipeline."""

from __future__ import annotations

import concurrent.futures
import os
import time

import httpx
import pytest

from control_center import supervisor
from models.errors import FlywheelError
from pipeline.workspace import Workspace
from tests.control_center import workspaces
from tests.control_center.serving import Server


def test_one_start_at_a_time(tmp_path):
    workspace = Workspace(tmp_path)
    lock = supervisor.take(workspace)
    lock.write("20260301-123005-ab12")
    lock.flush()
    with pytest.raises(FlywheelError) as error:
        supervisor.take(workspace)
    assert error.value.reason.cases == ({"run_id": "20260301-123005-ab12"},)
    lock.close()
    supervisor.take(workspace).close()


def test_nothing_to_cancel(asked):
    workspaces.add_run(asked.folder)
    client = asked.client()
    answer = client.post("/api/runs/20260301-123005-ab12/cancel")
    assert answer.json()["error"]["code"] == "NOT_RUNNING"
    assert client.post("/api/runs/20260301-123005-ffff/cancel").status_code == 404


def wait_for(question, seconds=150.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = question()
        if answer:
            return answer
        time.sleep(0.3)
    raise AssertionError("it did not come in time")


def state_of(client: httpx.Client, run_id: str) -> str:
    return client.get(f"/api/runs/{run_id}").json()["state"]


@pytest.mark.slow
def test_the_life_of_a_run(watched, tmp_path):
    """Two operators, a killed web process, cancel, resume by clicking, to the deployed model."""
    workspaces.write_config(tmp_path)
    server = Server(tmp_path)
    try:
        with server.client() as ann, server.client() as bob:
            for who in (ann, bob):
                who.open()
            with concurrent.futures.ThreadPoolExecutor() as pool:
                asked = [pool.submit(who.post, "/api/runs", json={}) for who in (ann, bob)]
                answers = sorted((a.result() for a in asked), key=lambda a: a.status_code)
        assert [a.status_code for a in answers] == [201, 409]
        run_id = answers[0].json()["run_id"]
        assert answers[1].json()["error"]["cases"] == [{"run_id": run_id}], "told which"
        server.kill()
        server = Server(tmp_path)
        with server.client() as client:
            client.open()
            assert state_of(client, run_id) == "running", "the run did not notice"
            page = watched.window()
            page.goto(f"{server.url}/runs/{run_id}")
            page.locator("#components tr").nth(1).wait_for(timeout=120_000)
            assert "live" in page.locator("#connection").inner_text()
            said = len(page.locator("#log").inner_text())
            page.wait_for_function(
                "n => document.getElementById('log').innerText.length > n", arg=said
            )
            page.get_by_role("button", name="Cancel").click()
            page.locator("#confirm").get_by_role("button", name="Yes").click()
            page.get_by_role("button", name="Resume from where it stopped").wait_for(timeout=60_000)
            assert "INTERRUPTED" in client.get(f"/runs/{run_id}").text
            page.get_by_role("button", name="Resume from where it stopped").click()
            page.wait_for_url(lambda url: "/runs/" in url and run_id not in url, timeout=60_000)
            second = page.url.rpartition("/")[2]
            page.locator(".verdict").wait_for(timeout=240_000)
            assert page.locator(".verdict h2").first.inner_text() in ("Pushed", "Not blessed")
            attempts = page.locator(".attempts").inner_text()
            assert run_id in attempts and second in attempts
            row = client.get(f"/api/runs/{second}").json()
            assert row["origin"]["resumes"] == run_id
            assert (tmp_path / ".flywheel/runs" / second / "memory.json").exists()
            actions = {e["action"] for e in client.get("/api/audit").json()}
            assert {"run.start", "run.cancel"} <= actions
            if row["state"] == "pushed":
                page.goto(server.url + "/models")
                page.get_by_role("button", name="Verify").first.click()
                page.locator("#notice.good").wait_for(timeout=60_000)
                assert "golden requests" in page.locator("#notice").inner_text()
                page.goto(server.url + "/why")
                assert page.locator(".trail li").count() >= 5
    finally:
        server.stop()
    assert not [p for p in os.listdir(tmp_path / ".flywheel/runs") if p.startswith(".")]
