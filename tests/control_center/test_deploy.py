"""From the page to a cluster, by clicking: compile, rehearse, submit, and what runs there."""

from __future__ import annotations

import shutil

import pytest
import yaml

from control_center import cluster, jobs, rehearsals
from models.errors import FlywheelError
from pipeline.rehearsal import isolation
from tests.control_center import workspaces
from tests.control_center.conftest import Asked
from tests.control_center.serving import Server
from tests.control_center.test_supervision import wait_for
from tests.pipeline.cluster.server import Kfp

SPEC = """
pipelineInfo: {name: iris}
schemaVersion: 2.1.0
root:
  dag:
    tasks:
      trainer: {taskInfo: {name: trainer}}
"""


def configure(folder, host: str | None) -> None:
    path = folder / "flywheel.yaml"
    config = yaml.safe_load(path.read_text("utf-8"))
    config["kubeflow"] = {
        "data": "/data/iris.csv",
        "components": {"ExampleGen": {"volumes": [{"claim": "tables", "mount": "/data"}]}},
        "cluster": {"host": host},
    }
    path.write_text(yaml.safe_dump(config), "utf-8")


@pytest.fixture
def kfp():
    """A cluster that holds requests to the published API."""
    found = Kfp("2.17.0")
    with found.serving() as found.address:
        yield found
    assert found.violations == []


def test_no_cluster_is_asked_without_one(asked, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    assert cluster.state(asked.center) is None
    page = asked.client().get("/deploy").text
    assert "kubeflow.cluster.host" in page and "On Kubeflow" not in page
    assert asked.client().get("/api/cluster").json() == {}


def test_a_cluster_that_is_down_costs_a_sentence(folder, kfp):
    """What it said before stays, with the reason why nothing new came."""
    configure(folder, kfp.address)
    center = Asked(folder).center
    assert cluster.state(center)["asked"] is None, "no page waits for it"
    answered = wait_for(lambda: (s := cluster.state(center))["asked"] and s, 60)
    assert answered["runs"] == [] and answered["problem"] is None
    kept = center.own / "cluster.json"
    kept.write_text(
        kept.read_text("utf-8").replace('"runs": []', '"runs": [{"id": "a", "name": "earlier"}]')
    )
    configure(folder, kfp.address)
    kfp.token = "no one has it"
    problem = wait_for(lambda: cluster.state(center)["problem"], 60)
    assert problem["code"] == "NOT_LOGGED_IN"
    assert [r["name"] for r in cluster.state(center)["runs"]] == ["earlier"]


def test_the_address_is_shown_without_its_password(folder):
    configure(folder, "https://ann:secret@kubeflow.example/pipeline")
    assert cluster.state(Asked(folder).center)["host"] == "https://kubeflow.example/pipeline"


def test_a_rehearsal_that_was_cut_off_does_not_run_for_ever(asked):
    folder = asked.center.root / "rehearsal"
    (folder / "runs/20260301-123005-ab12/tasks/trainer/attempt-1").mkdir(parents=True)
    (folder / ".lock").touch()
    [found] = rehearsals.listed(asked.center)
    assert found["state"] == "stopped" and found["tasks"][0]["state"] == "stopped"
    from pipeline.rehearsal.ledger import Ledger

    with Ledger(folder).locked():
        [found] = rehearsals.listed(asked.center)
    assert found["state"] == "running" and found["tasks"][0]["state"] == "running"
    assert found["tasks"][0]["seconds"] >= 0


def test_submit_and_see_it_run_there(watched, folder, kfp):
    """Submit by a click; its run goes through its states on both pages without a reload."""
    configure(folder, kfp.address)
    kfp.story = ["PENDING", "RUNNING"]
    compiled = folder / ".flywheel/control_center/compiled"
    compiled.mkdir(parents=True)
    (compiled / "pipeline.yaml").write_text(SPEC, "utf-8")
    server = Server(folder)
    try:
        page = watched.window()
        page.goto(server.url + "/deploy")
        page.get_by_role("button", name="Submit").click()
        page.locator("details.job .badge.good").wait_for(timeout=60_000)
        page.locator("#kubeflow tbody .badge.live").wait_for(timeout=60_000)
        assert page.locator("#kubeflow .task.running").inner_text() == "trainer"
        link = page.get_by_role("link", name="Open it on Kubeflow").get_attribute("href")
        [run] = kfp.runs
        assert link == f"{kfp.address}/#/runs/details/{run}"
        kfp.story = ["SUCCEEDED"]
        page.locator("#kubeflow tbody .badge.good").wait_for(timeout=60_000)
        page.goto(server.url + "/runs")
        assert page.locator("#kubeflow tbody tr").count() == 1
        with server.client() as client:
            listed = client.get("/api/cluster").json()["runs"]
        assert [r["state"] for r in listed] == ["SUCCEEDED"]
    finally:
        server.stop()


def test_a_job_is_stopped_as_by_ctrl_c(asked):
    program = "import sys, time; print('began', file=sys.stderr, flush=True); time.sleep(60)"
    job = jobs.launch(asked.center, "sleep", ["-c", program], "ann")
    with pytest.raises(FlywheelError) as error:
        jobs.launch(asked.center, "sleep", ["-c", program], "bob")
    assert error.value.reason.code == "ALREADY_RUNNING" and "ann" in str(error.value)
    wait_for(lambda: "began" in jobs.show(asked.center, job)["log"], 30)
    client = asked.client()
    assert client.post(f"/api/jobs/{job}/stop").status_code == 202
    ended = wait_for(lambda: not (j := jobs.show(asked.center, job))["running"] and j, 30)
    assert ended["exit_code"] not in (0, None), "how it took it is written down"
    assert "KeyboardInterrupt" in ended["log"]
    assert client.post(f"/api/jobs/{job}/stop").json()["error"]["code"] == "NOT_RUNNING"
    assert client.post("/api/jobs/..%2f..%2fx/stop").status_code == 404


@pytest.mark.slow
@pytest.mark.skipif(isolation.namespaces() is None, reason="needs namespaces")
def test_compile_and_rehearse_by_clicking(watched, tmp_path):
    """Task states come to the page as they happen; a rehearsal is stopped, and goes on."""
    workspaces.write_config(tmp_path)
    configure(tmp_path, None)
    tables = tmp_path / ".flywheel/rehearsal/volumes/tables"
    tables.mkdir(parents=True)
    shutil.copyfile(tmp_path / "iris.csv", tables / "iris.csv")
    server = Server(tmp_path)
    try:
        page = watched.window()
        page.goto(server.url + "/deploy")
        assert page.get_by_role("button", name="Rehearse").is_disabled()
        page.get_by_role("button", name="Compile for Kubeflow").click()
        page.locator("details.job .badge.live").first.wait_for()
        page.locator("details.job .badge.good").first.wait_for(timeout=180_000)
        said = page.locator("details.job").first.inner_text()
        assert "UNPINNED_IMAGE" in said and "kubeflow.image" in said, "what the linter found"
        page.get_by_role("button", name="Rehearse").click()
        tasks = page.locator("[data-part=rehearsals] tbody tr")
        tasks.and_(page.locator(".running")).first.wait_for(timeout=120_000)
        tasks.and_(page.locator(".succeeded")).first.wait_for(timeout=120_000)
        page.get_by_role("button", name="Stop").click()
        page.locator("details.job .badge.warn", has_text="stopped").first.wait_for(timeout=60_000)
        page.locator("[data-part=rehearsals] .badge", has_text="stopped").wait_for()
        done = tasks.and_(page.locator(".succeeded")).count()
        page.get_by_role("button", name="Rehearse").click()
        page.locator("[data-part=rehearsals] .badge.live").wait_for(timeout=60_000)
        tasks.and_(page.locator(".succeeded")).nth(done).wait_for(timeout=180_000)
        assert page.locator("[data-part=rehearsals] details").count() == 1, "the same one goes on"
        page.get_by_role("button", name="Stop").click()
        page.locator("details.job .badge.live").wait_for(state="detached", timeout=60_000)
    finally:
        server.stop()
