"""What pages say, for every way a run can have ended, and for nothing at all."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from control_center import forecast as forecasts
from control_center import look
from control_center.comparison import difference, standard_error
from pipeline import config as config_module
from pipeline.reuse import Execution
from tests.conftest import ROOT
from tests.control_center import workspaces
from tests.control_center.conftest import Asked
from tests.control_center.test_security import PAGES, run_pages
from tests.pipeline.report_runs import RUN_ID


def test_an_empty_folder_says_what_to_do(tmp_path):
    client = Asked(tmp_path).client()
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code == 200, page
    home = client.get("/").text
    assert "Run this demo" in home and "flywheel init DATA" in home
    assert client.get("/api/overview").json()["attention"]["name"] == "Data"
    assert "flywheel predict FILE" in client.get("/monitoring").text
    assert "No runs yet" in client.get("/runs").text
    assert not (tmp_path / "flywheel.yaml").exists(), "looking writes no config"
    assert not (tmp_path / ".flywheel" / "monitoring.sqlite").exists()
    assert not (tmp_path / ".flywheel" / "ledger.sqlite").exists()


def test_a_wrong_config_is_named(tmp_path):
    (tmp_path / "flywheel.yaml").write_text("version: 1\nnmae: x\n")
    client = Asked(tmp_path).client()
    assert "nmae" in client.get("/").text
    assert client.get("/run").status_code == 422
    assert client.post("/api/runs", json={}).status_code == 422


@pytest.mark.parametrize("state", ["pushed", "not_blessed", "blocked_by_data", "failed", "running"])
def test_every_end_of_a_run(folder, state):
    workspaces.add_run(folder, state)
    client = Asked(folder).client()
    for page in run_pages():
        assert client.get(page).status_code == 200, page
    row = client.get("/api/runs").json()["runs"][0]
    assert row["state"] == ("lost" if state == "running" else state)
    text = client.get(f"/runs/{RUN_ID}").text
    if row["state"] in ("failed", "lost", "blocked_by_data"):
        assert "Resume from where it stopped" in text
    first = client.get("/api/overview").json()["attention"]
    assert (first is None) == (state == "pushed") or first["name"] != "Run"


def test_unreadable_files_cost_their_section_only(folder):
    made = workspaces.add_run(folder)
    for name, output, file in (
        ("Evaluator", "evaluation", "verdict.json"),
        ("TFLiteQuantizer", "variants", "variants.json"),
        ("StatisticsGen", "statistics", "Split-train/FeatureStats.pb"),
    ):
        made.path(name, output, file).write_bytes(b"\xff{")
    made.folder.config.write_bytes(b"\xff\xfe: [")
    client = Asked(folder).client()
    for page in run_pages():
        assert client.get(page).status_code == 200, page
    made.folder.result.write_text("{", "utf-8")
    assert Asked(folder).client().get("/").status_code == 200


def test_the_sections_are_those_of_the_report(folder):
    workspaces.add_run(folder)
    client = Asked(folder).client()
    assert "Quality against size" in client.get(f"/runs/{RUN_ID}/variants").text
    assert "Learning curves" in client.get(f"/runs/{RUN_ID}/training").text
    assert "Anomalies and drift" in client.get(f"/runs/{RUN_ID}/data").text


def test_config_is_checked_as_a_whole(folder):
    client = Asked(folder).client()
    text = (folder / "flywheel.yaml").read_text()

    def check(config):
        return client.post("/api/config/check", json={"config": config}).json()

    right = check(text)
    assert right["ok"] and {f["cache"] for f in right["forecast"]} == {"miss"}
    wrong = check(text.replace("epochs: 8", "epochs: -1") + "\nsead: 1\n")
    said = str(wrong["problem"])
    assert not wrong["ok"]
    assert "teacher.epochs" in said and "student.epochs" in said and "seed" in said, "all at once"
    missing = check(text.replace("petal_width: numeric", "petal_widht: numeric"))
    assert not missing["ok"] and "petal_widht" in missing["problem"]["message"]
    assert "line" in str(check("a: [1")["problem"]["cases"])


def execution(state="complete", **properties):
    code = {"flywheel_code": "c", "fingerprint": "d", "version": ""}
    return Execution(state, {**code, **properties}, {}, ())


def forecast(folder, change, **facts):
    config = config_module.load(folder / "flywheel.yaml")
    past = config.model_dump(mode="json")
    for path, value in change.items():
        section, _, key = path.partition(".")
        past[section] = {**past[section], key: value} if key else value
    executions = {name: execution() for name in forecasts.READS}
    rows = forecasts.forecast(
        config,
        **{"data": "d", "code": "c", "deployed": "", **facts},
        past=[("20260101-000000-0000", past, executions)],
    )
    return {r["component"]: r for r in rows}


def test_the_forecast_follows_what_changed(folder):
    def run(change=None, **facts):
        rows = forecast(folder, change or {}, **facts)
        return {name for name, row in rows.items() if row["cache"] == "miss"}

    everything = set(forecasts.READS)
    assert run() == {"Pusher"}
    assert run(code="other") == everything
    assert run(data="other") == everything - {"DeployedModel"}
    assert run({"student.epochs": 3}) == {"Distiller", "TFLiteQuantizer", "Evaluator", "Pusher"}
    assert run({"quantizer.max_drop": 0.1}) == {"TFLiteQuantizer", "Evaluator", "Pusher"}
    assert run({"seed": 7}) == {"Trainer", "Distiller", "TFLiteQuantizer", "Evaluator", "Pusher"}
    changed = forecast(folder, {"student.epochs": 3})
    assert changed["Distiller"]["why"] == "`student.epochs` 3 → 8"
    assert changed["Trainer"]["why"] == "as in run 20260101-000000-0000"


@pytest.mark.parametrize(
    "past, text",
    [
        (0, "just now"), (42, "42 s ago"), (120, "2 min ago"), (7200, "2 h ago"),
        (3 * 86400, "3 days ago"), (-3600, "in 60 min"), (100 * 86400, "3 months ago"),
    ],
)  # fmt: skip
def test_times_as_people_say_them(past, text):
    now = time.time()
    assert look.relative(now - past, now).replace("\N{NO-BREAK SPACE}", " ") == text


def test_times_are_exact_on_hover():
    shown = look.ago("2026-03-01T12:30:05+00:00")
    assert 'title="2026-03-01 12:30:05 UTC"' in shown
    assert look.ago(None) == look.ago("nonsense") == "–"


def test_intervals_of_differences():
    a = {"accuracy": 0.9, "auc": 0.9, "example_count": 1000, "mean_label": 0.5, "log_loss": 0.3}
    assert standard_error("accuracy", a) == pytest.approx((0.9 * 0.1 / 1000) ** 0.5)
    # Hanley and McNeil 1982, table II: area .90, 50 normal and 50 abnormal: SE about .0312
    small = {**a, "example_count": 100}
    assert standard_error("auc", small) == pytest.approx(0.0312, abs=0.002)
    assert standard_error("log_loss", a) is None
    found = difference("accuracy", a, {**a, "accuracy": 0.95})
    assert found["low"] < 0.05 < found["high"] and found["low"] > 0
    assert difference("log_loss", a, a) == {"change": 0.0, "low": None, "high": None}
    assert difference("r2", a, a) is None


def test_compare(folder):
    made = workspaces.add_run(folder)
    other = made.workspace.run("20260302-123005-ab12")
    other.path.mkdir()
    other.config.write_text(made.folder.config.read_text().replace("name: chicago", "name: other"))
    other.write_result({"state": "failed", "reasons": [], "metrics": {}, "rows": {}})
    client = Asked(folder).client()
    found = client.get("/api/compare", params={"run": [RUN_ID, other.id]}).json()
    assert {"key": "name", "values": ["chicago-taxi", "other-taxi"]} in found["config"]
    assert client.get("/compare", params={"run": [RUN_ID, other.id]}).status_code == 200
    assert client.get("/api/compare", params={"run": [RUN_ID]}).status_code == 422
    assert client.get("/api/compare", params={"run": [RUN_ID, "nope"]}).status_code == 404


def test_components_say_what_they_read(folder):
    made = workspaces.add_run(folder)
    connection = mlmd.ConnectionConfig()
    connection.sqlite.filename_uri = str(folder / ".flywheel/metadata.sqlite")
    store = metadata_store.MetadataStore(connection)
    context = store.get_context_by_type_and_name("pipeline_run", made.folder.id)
    executions = store.get_executions_by_context(context.id)
    examples, reader = (
        next(e.id for e in executions if e.type.rsplit(".", 1)[-1] == name)
        for name in ("ExampleGen", "StatisticsGen")
    )
    written = store.get_events_by_execution_ids([examples])[0].artifact_id
    read = mlmd.Event(type=mlmd.Event.INPUT, execution_id=reader, artifact_id=written)
    read.path.steps.add().key = "examples"
    store.put_events([read])
    page = Asked(folder).client().get(f"/runs/{RUN_ID}").text
    link = f'<a href="/runs/{RUN_ID}/files#ExampleGen" title="made by ExampleGen">examples</a>'
    assert link in page


def test_attempts_are_a_chain(folder):
    made = workspaces.add_run(folder, "failed")
    later = made.workspace.run("20260302-123005-ab12")
    later.path.mkdir()
    later.write_result({"state": "failed"})
    (later.path / "started.json").write_text(json.dumps({"user": "ann", "resumes": RUN_ID}))
    asked = Asked(folder)
    for run_id in (RUN_ID, later.id):
        assert [r.id for r in asked.center.runs.attempts(run_id)] == [RUN_ID, later.id]
    assert "Attempts" in asked.client().get(f"/runs/{RUN_ID}").text


def test_schedules(asked):
    client = asked.client()
    assert client.post("/api/schedules", json={"cron": "every day"}).status_code == 422
    made = client.post("/api/schedules", json={"cron": "30 4 * * mon"}).json()
    assert made["next"] > time.time()
    url = f"/api/schedules/{made['id']}"
    assert client.post(f"{url}/pause", json={"paused": True}).json()["paused"]
    assert client.get("/api/automation").json()["schedules"][0]["next"] is None
    assert "30 4 * * mon" in client.get("/automation").text
    assert client.delete(url).status_code == 204
    assert client.delete(url).status_code == 404
    actions = [e["action"] for e in asked.center.audit.read()]
    assert actions[:3] == ["schedule.delete", "schedule.pause", "schedule.create"]


def test_a_due_schedule_is_started_once_and_a_missed_one_is_said(asked, monkeypatch):
    from control_center import schedules, supervision

    started = []
    monkeypatch.setattr(
        supervision, "start", lambda standby, config, user: started.append(user) or "run-1"
    )
    mine, other = schedules.Schedules(asked.center), schedules.Schedules(asked.center)
    made = mine.create("* * * * *", "run", "ann")
    assert mine.fire(made["next"] - 1) == []
    assert [d["last"]["outcome"] for d in mine.fire(made["next"] + 1)] == ["run-1"]
    assert other.fire(made["next"] + 1) == [], "another process sees that it was done"
    assert len(started) == 1
    late = mine.list()[0]["next"] + 3600
    assert [d["last"]["outcome"] for d in mine.fire(late)] == ["missed"]
    assert len(started) == 1


def test_looking_is_light(folder):
    """Every page, with what the process has imported then."""
    workspaces.add_run(folder)
    code = (
        "import sys, pathlib\n"
        "from tests.control_center.conftest import Asked\n"
        "from tests.control_center.test_security import PAGES, run_pages\n"
        "client = Asked(pathlib.Path(sys.argv[1])).client()\n"
        "for page in (*PAGES, *run_pages()): assert client.get(page).status_code == 200\n"
        "heavy = {'tensorflow', 'tfx', 'tf_keras', 'apache_beam', 'tensorflow_data_validation',\n"
        "         'tensorflow_model_analysis'}\n"
        "print(sorted(heavy & {m.split('.')[0] for m in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr


def test_nothing_comes_from_elsewhere():
    """No page, style or script names another host."""
    here = pathlib.Path(ROOT, "control_center")
    for path in (*here.glob("templates/*.html"), *here.glob("static/*.*s")):
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        text = text.replace('startswith(("http://", "https://"))', "")
        assert "http://" not in text and "https://" not in text and "//cdn" not in text, path.name


def test_the_store_is_the_monitors():
    from control_center import watching
    from pipeline import monitoring_run

    assert watching.STORE_FILE == monitoring_run.STORE_FILE


def test_what_is_not_there_is_said_on_a_page(asked):
    """A person who mistyped an address sees a page; a program sees the API's form."""
    client = asked.client()
    page = client.get("/nowhere", headers={"accept": "text/html"})
    assert page.status_code == 404 and "There is no such page" in page.text
    assert "<nav" in page.text
    answer = client.get("/api/nowhere", headers={"accept": "text/html"})
    assert answer.json()["error"]["code"] == "NOT_FOUND"


def test_a_mistake_of_ours_is_said_on_a_page(asked, monkeypatch):
    from control_center import trail

    def broken(*_):
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(trail, "trail", broken)
    client = asked.client(errors=False)
    page = client.get("/why", headers={"accept": "text/html"})
    assert page.status_code == 500 and "made a mistake" in page.text
    assert "secret of the inside" not in page.text
    assert client.get("/why").json()["error"]["code"] == "INTERNAL"
