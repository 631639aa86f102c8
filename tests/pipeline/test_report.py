"""The HTML report of a run: every state, missing pieces, numbers, hostile names."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from models.errors import Reason
from pipeline.report.page import SECTIONS, write_report
from pipeline.workspace import Workspace
from tests.conftest import ROOT
from tests.pipeline import report_files as files
from tests.pipeline.report_files import Names, hostile_names
from tests.pipeline.report_runs import RUN_ID, STATES, MadeRun, make_run, report_of

TASKS = ("binary", "multiclass", "regression")
BROKEN = "could not be made"


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A pushed binary run with a champion, and its page."""
    made = make_run(tmp_path_factory.mktemp("pushed"), "pushed", champion=True)
    return made, report_of(made)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_report(tmp_path, state, task):
    made = make_run(tmp_path, state, task=task, champion=task == "regression")
    page = report_of(made)
    headline = {
        "pushed": "✓ Pushed",
        "not_blessed": "✗ Not blessed",
        "blocked_by_data": "✗ Blocked by data",
        "failed": "✗ Failed",
        "running": "… No verdict",
    }
    assert page.find("h1").text == headline[state]
    assert BROKEN not in page.text
    assert [s.attributes["id"] for s in page.find("main").find_all("section")] == [
        "verdict",
        *(section.id for section in SECTIONS),
        "artifacts",
    ]
    assert RUN_ID in page.find(id="verdict").text
    assert page.find(id="next").find_all("li")


REACHED = {
    "pushed": {"data", "validation", "curves", "distillation", "evaluation", "variants"},
    "not_blessed": {"data", "validation", "curves", "distillation", "evaluation", "variants"},
    "running": {"data", "validation", "curves", "distillation", "variants"},
    "failed": {"data", "validation", "curves"},
    "blocked_by_data": {"data", "validation"},
}


@pytest.mark.parametrize("state", STATES)
def test_what_was_not_reached_is_said(tmp_path, state):
    page = report_of(make_run(tmp_path, state))
    for section in ("data", "validation", "curves", "distillation", "evaluation", "variants"):
        found = page.find(id=section)
        if section in REACHED[state]:
            assert found.find_all("svg") or found.find_all("table"), section
        else:
            assert not found.find_all("svg") and not found.find_all("table"), section
            said = found.find(class_="absent").text
            assert re.search("Not reached|failed|not ended", said), said


def test_a_blocked_run_says_which_column_and_which_line(tmp_path):
    page = report_of(make_run(tmp_path, "blocked_by_data"))
    verdict = page.find(id="verdict")
    assert "COLUMN_MISSING" in verdict.text
    assert [c.text for c in verdict.find("tbody").find_all("td")] == [
        "fare",
        "a real number",
        "no such column",
    ]
    assert "features: {fare: ignore}" in page.find(id="next").text
    assert "flywheel run" in page.find(id="next").text
    gate = next(n for n in page.find_all("g", class_="node failed") if "DataGate" in n.text)
    assert "✗ failed" in gate.text
    assert "not reached" in page.find("g", class_="node absent").text


def test_a_refused_model_says_which_limit_and_what_helps(tmp_path):
    page = report_of(make_run(tmp_path, "not_blessed"))
    assert "WORSE_THAN_TEACHER" in page.find(id="verdict").text
    steps = page.find(id="next").text
    assert "Give the student more units." in steps
    assert "flywheel predict" not in steps
    failed = page.find("tr", class_="failed", data_limit="teacher", data_slice="all rows")
    assert failed.find_all("td")[-1].text == "✗ no"
    assert failed.numbers() == pytest.approx([-0.01, 0.8123 - 0.9349])


def test_next_steps_of_a_push_are_commands(pushed):
    _, page = pushed
    commands = [node.text for node in page.find(id="next").find_all("pre")]
    assert commands == [
        "flywheel predict FILE --output predictions.csv",
        "flywheel models verify",
        "flywheel models rollback aa11bb22cc33",
    ]


@pytest.mark.parametrize(
    ("champion", "sentence"),
    [(True, f"Version {files.CHAMPION} stays deployed."), (False, "Nothing is deployed yet.")],
)
@pytest.mark.parametrize("state", ["not_blessed", "blocked_by_data"])
def test_what_stays_deployed_is_said(tmp_path, state, champion, sentence):
    page = report_of(make_run(tmp_path, state, champion=champion))
    assert sentence in page.find(id="verdict").text


def test_data_refused_before_it_was_looked_up_what_is_deployed(tmp_path):
    """ExampleGen may refuse the data, too; then nobody knows more than that."""
    made = MadeRun(tmp_path)
    made.component("ExampleGen", "failed")
    reason = Reason("TYPE_CHANGED", "`fare` was a number.", severity="block")
    made.finish("blocked_by_data", (reason,))
    page = report_of(made)
    verdict = page.find(id="verdict").text
    assert "What is deployed stays as it was." in verdict and "TYPE_CHANGED" in verdict
    assert "ExampleGen failed" in page.find(id="data").text


def test_a_failed_run_names_the_component(tmp_path):
    page = report_of(make_run(tmp_path, "failed"))
    assert "failed in Distiller" in page.find(id="verdict").text
    assert "Nothing that is deployed was touched." in page.find(id="verdict").text


def test_no_baseline_is_not_called_no_drift(tmp_path):
    text = report_of(make_run(tmp_path, "pushed")).find(id="validation").text
    assert "NO_BASELINE" in text
    assert "No feature drifted" not in text


# Missing pieces


FILES = {
    "validation": ("SchemaValidator", "anomalies", "verdict.json"),
    "curves": ("Trainer", "model_run", "training.json"),
    "distillation": ("Distiller", "model_run", "distillation.json"),
    "variants": ("TFLiteQuantizer", "variants", "variants.json"),
    "evaluation": ("Evaluator", "evaluation", "verdict.json"),
}


@pytest.mark.parametrize("damage", ["gone", "cut", "not an object", "no bytes", "folder"])
@pytest.mark.parametrize("section", FILES)
def test_a_damaged_file_costs_its_section_only(tmp_path, section, damage):
    made = make_run(tmp_path, "pushed", champion=True)
    path = made.path(*FILES[section])
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "not an object":
        path.write_text("[1, 2]")
    elif damage == "no bytes":
        path.write_bytes(b"\xff\xfe\x00")
    elif damage == "folder":
        path.mkdir()
    page = report_of(made)
    assert page.find("h1").text == "✓ Pushed"
    for other in FILES.keys() - {section}:
        found = page.find(id=other)
        assert found.find_all("table") or found.find_all("svg"), other
    if damage != "not an object":
        assert str(path) in page.find(id="artifacts").text
    if section != "variants":  # these are in result.json as well
        assert "not where it was or cannot be read" in page.find(id=section).text


@pytest.mark.parametrize("section", FILES)
def test_a_file_of_another_shape_costs_its_section_only(tmp_path, section, caplog):
    made = make_run(tmp_path, "pushed", champion=True)
    path = made.path(*FILES[section])
    first = next(iter(json.loads(path.read_text())))
    path.write_text(json.dumps({first: 7, "something": ["else"]}))
    page = report_of(made)
    assert page.find("h1").text == "✓ Pushed"
    assert BROKEN in page.find(id=section).text
    for other in FILES.keys() - {section}:
        assert page.find(id=other).find_all("table") or page.find(id=other).find_all("svg"), other


@pytest.mark.parametrize("content", [None, b"", b"\xff\xff\xff\xff nonsense"])
def test_without_statistics_the_rows_are_still_told(tmp_path, content):
    made = make_run(tmp_path, "pushed")
    path = made.path("StatisticsGen", "statistics", "Split-train/FeatureStats.pb")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    section = report_of(made).find(id="data")
    assert "train 7,001, eval 1,500, test 1,501" in section.text
    assert not section.find_all("table")


def test_without_config_result_and_metadata(tmp_path):
    made = make_run(tmp_path, "pushed")
    made.folder.config.write_text(": not yaml: [")
    assert report_of(made).find("h1").text == "✓ Pushed"
    made.folder.config.unlink()
    assert "config of this run is gone" in report_of(made).text
    made.folder.result.write_text("{")
    page = report_of(made)
    assert page.find("h1").text == "✓ Pushed"  # ML Metadata knows
    assert "result.json cannot be read" in page.text
    made.workspace.metadata.unlink()
    page = report_of(made)
    assert page.find("h1").text == "… No verdict"
    assert page.find(id="data").text.endswith("Not reached: ExampleGen did not run.")


def test_a_worker_that_died_without_a_word(tmp_path):
    """The result that `launch.Worker.result` writes then has no seconds and no figures."""
    made = MadeRun(tmp_path)
    made.folder.write_result(
        {
            "run_id": RUN_ID,
            "state": "failed",
            "reasons": [{"code": "WORKER_DIED", "message": "gone", "severity": "block"}],
            "seconds": {"total": None, "components": {}},
            "components": {},
            "rows": {},
            "metrics": {},
            "variants": [],
            "pushed": None,
            "report": None,
            "log": "log.txt",
        }
    )
    page = report_of(made)
    assert page.find("h1").text == "✗ Failed"
    assert "WORKER_DIED" in page.find(id="verdict").text
    assert BROKEN not in page.text


def test_the_page_is_replaced_in_one_step(tmp_path, monkeypatch):
    made = make_run(tmp_path / "run", "pushed")
    target = tmp_path / "new" / "folder" / "r.html"
    write_report(made.workspace, RUN_ID, target)
    before = target.read_text("utf-8")
    assert "✓" in before
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(made.workspace, RUN_ID, target)
    assert [p.name for p in target.parent.iterdir()] == ["r.html"]
    assert target.read_text("utf-8") == before


# One file, light, safe


def test_nothing_is_fetched_and_only_our_script_may_run(pushed):
    _, page = pushed
    for node in page:
        assert node.tag not in ("link", "img", "iframe", "object", "embed", "base"), node.tag
        assert "src" not in node.attributes
        assert node.attributes.get("href", "#").startswith("#")
        assert "style" not in node.attributes, "the policy forbids inline styles"
    assert len(page.find_all("script")) == 1
    policy = page.find("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy


def test_a_wide_table_stays_small(tmp_path):
    assert len(report_of(make_run(tmp_path / "a", features=60)).text) > 1000
    small = (tmp_path / "a/runs" / RUN_ID / "report.html").stat().st_size
    assert small < 500_000
    page = report_of(make_run(tmp_path / "b", features=1000))
    assert (tmp_path / "b/runs" / RUN_ID / "report.html").stat().st_size < 1_500_000
    assert "The tables show 400 of 1,004 columns." in page.find(id="data").text


def test_pictures_and_tables_have_names_for_screen_readers(pushed):
    _, page = pushed
    ids = [node.attributes["id"] for node in page if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for picture in page.find_all("svg"):
        hidden = picture.attributes.get("aria-hidden") == "true"
        assert hidden or picture.attributes.get("aria-label"), picture.attributes
    for table in page.find_all("table"):
        for head in table.find("thead").find_all("th"):
            assert head.attributes.get("scope") == "col"
    for section in page.find_all("section"):
        assert section.attributes["aria-labelledby"] in ids
    levels = [int(n.tag[1]) for n in page if re.fullmatch("h[1-6]", n.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False)), levels


def test_looking_is_light(tmp_path):
    """Writing a report imports no TensorFlow, TFX, Beam, pandas or scikit-learn."""
    make_run(tmp_path, "pushed", champion=True)
    code = f"""
import pathlib, sys
from pipeline.report.page import write_report
from pipeline.workspace import Workspace
write_report(Workspace(pathlib.Path({str(tmp_path)!r})), {RUN_ID!r}, pathlib.Path("r.html"))
heavy = {{"tensorflow", "tf_keras", "tfx", "tensorflow_data_validation", "apache_beam",
         "tensorflow_model_analysis", "pandas", "sklearn", "pyarrow"}}
print(sorted(heavy & {{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("state", STATES)
def test_names_from_the_data_stay_text(tmp_path, state):
    names = hostile_names()
    made = make_run(tmp_path, state, task="multiclass", champion=True, names=names)
    page = report_of(made)
    assert BROKEN not in page.text
    plain = report_of(
        make_run(
            tmp_path / "plain",
            state,
            task="multiclass",
            champion=True,
            names=Names(values=tuple("abcde"), classes=("a", "b", "c")),
        )
    )
    assert {node.tag for node in page} <= {node.tag for node in plain}
    assert len(page.find_all("script")) == 1
    for node in page:
        for key in node.attributes:
            assert not key.startswith("on"), node.attributes
    assert names.label in page.find(id="verdict").text
    assert names.numeric in [
        n.attributes["data-feature"] for n in page if "data-feature" in n.attributes
    ]
    text = made.folder.report.read_text("utf-8")
    assert "49" not in page.find(id="data").find("tbody").text.split()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)


def test_half_a_character_is_no_obstacle(tmp_path):
    """JSON can hold a lone surrogate, a UTF-8 file cannot."""
    made = MadeRun(tmp_path)
    made.finish("failed", (Reason("COMPONENT_FAILED", "cell \ud800 of row 3", severity="block"),))
    assert "cell \N{REPLACEMENT CHARACTER} of row 3" in report_of(made).find(id="verdict").text


def test_the_workspace_may_be_empty(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.run(RUN_ID).path.mkdir(parents=True)
    write_report(workspace, RUN_ID, tmp_path / "r.html")
    assert "No verdict" in (tmp_path / "r.html").read_text("utf-8")
