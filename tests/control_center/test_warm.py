"""Everything is looked at once after the start."""

from __future__ import annotations

from control_center import warm
from pipeline.workspace import RunFolder
from tests.control_center import workspaces
from tests.pipeline.report_runs import RUN_ID


def test_the_first_request_finds_runs_in_memory(folder, asked, monkeypatch):
    workspaces.add_run(folder)
    warm.look(asked.center)
    read = []
    before = RunFolder.read_result
    monkeypatch.setattr(RunFolder, "read_result", lambda run: read.append(run.id) or before(run))
    rows = asked.client().get("/api/runs").json()["runs"]
    assert [row["id"] for row in rows] == [RUN_ID] and read == []


def test_a_new_run_is_not_taken_from_memory(folder, asked):
    warm.look(asked.center)
    workspaces.add_run(folder)
    rows = asked.client().get("/api/runs").json()["runs"]
    assert [row["id"] for row in rows] == [RUN_ID]


def test_what_cannot_be_read_holds_nobody_up(folder, asked):
    made = workspaces.add_run(folder)
    made.folder.result.write_text("{")
    (folder / ".flywheel/monitoring.sqlite").write_bytes(b"no database")
    warm.look(asked.center)
    page = asked.client().get("/runs")
    assert page.status_code == 200 and RUN_ID in page.text, "later steps were taken all the same"


def test_home_tells_what_cannot_be_read(folder, asked):
    workspaces.add_run(folder)
    (folder / ".flywheel/monitoring.sqlite").write_bytes(b"no database")
    client = asked.client()
    found = client.get("/api/overview").json()
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["Monitoring"]["headline"] == "cannot be read"
    assert "file is not a database" in parts["Alerts"]["detail"]
    assert parts["Run"]["headline"] == "pushed", "the other parts are told"
    assert "cannot be read" in found["attention"]["attention"]
    page = client.get("/monitoring")
    assert page.status_code == 409 and "file is not a database" in page.text
