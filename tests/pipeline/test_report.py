"""The HTML report of a run: every state, missing pieces, numbers, hostile names."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from models.errors import Reason
from pipeline.report import words
from pipeline.report.inputs import Inputs
from pipeline.report.page import SECTIONS, write_report
from pipeline.workspace import Workspace
from tests.conftest import ROOT
from tests.pipeline import report_dom
from tests.pipeline import report_files as files
from tests.pipeline.report_files import Names
from tests.pipeline.report_runs import RUN_ID, MadeRun, make_run

STATES = ("pushed", "not_blessed", "blocked_by_data", "failed", "running")
TASKS = ("binary", "multiclass", "regression")
BROKEN = "could not be made"


def report_of(made: MadeRun) -> report_dom.Node:
    write_report(made.workspace, RUN_ID, made.folder.report)
    return report_dom.parse(made.folder.report.read_text("utf-8"))


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


def test_a_failed_run_names_the_component(tmp_path):
    page = report_of(make_run(tmp_path, "failed"))
    assert "failed in Distiller" in page.find(id="verdict").text
    assert "Nothing that is deployed was touched." in page.find(id="verdict").text


def test_no_baseline_is_not_called_no_drift(tmp_path):
    text = report_of(make_run(tmp_path, "pushed")).find(id="validation").text
    assert "NO_BASELINE" in text
    assert "No feature drifted" not in text


# Numbers


def test_metrics_equal_the_verdict(pushed):
    made, page = pushed
    verdict = json.loads(made.path("Evaluator", "evaluation", "verdict.json").read_text("utf-8"))
    section = page.find(id="evaluation")
    for name, value in verdict["metrics"]["shipped"].items():
        if name == "example_count":
            continue
        row = section.find("tr", data_metric=name)
        for model in ("shipped", "teacher", "champion"):
            cell = row.find("td", data_model=model)
            assert cell.numbers() == [verdict["metrics"][model][name]]
            assert cell.text == words.metric(verdict["metrics"][model][name])
        deltas = [n.numbers()[0] for n in row.find_all("span") if n.find_all("data")]
        assert deltas == pytest.approx(
            [value - verdict["metrics"][m][name] for m in ("teacher", "champion")]
        )


def test_slices_and_limits_equal_the_verdict(pushed):
    made, page = pushed
    verdict = json.loads(made.path("Evaluator", "evaluation", "verdict.json").read_text("utf-8"))
    section = page.find(id="evaluation")
    for result in verdict["slices"]:
        row = section.find("tr", data_slice=words.slice_name(result["slice"]))
        assert row.numbers()[0] == result["rows"]
        for model in ("shipped", "teacher", "champion"):
            value = result["metrics"][model]["auc"]
            assert row.find("td", data_model=model).numbers() == ([] if value is None else [value])
        judged = "not judged" not in row.text
        assert judged == result["judged"]
    limits = [r.numbers() for r in section.find_all("tr") if "data-limit" in r.attributes]
    assert limits == [[t["limit"], t["value"]] for t in verdict["thresholds"]]


def test_confusion_matrix_equals_the_verdict(pushed):
    made, page = pushed
    verdict = json.loads(made.path("Evaluator", "evaluation", "verdict.json").read_text("utf-8"))
    rows = [r.numbers() for r in page.find_all("tr") if "data-actual" in r.attributes]
    assert rows == verdict["plots"]["shipped"]["confusion"]["matrix"]


def test_variants_equal_the_json(pushed):
    made, page = pushed
    report = json.loads(made.path("TFLiteQuantizer", "variants", "variants.json").read_text())
    section = page.find(id="variants")
    for variant in report["variants"]:
        row = section.find("tr", data_variant=variant["name"])
        keys = {
            "value": variant["metrics"].get("auc"),
            "bytes": variant["bytes"],
            "gzip_bytes": variant["gzip_bytes"],
            "p50": variant["latency_us"].get("p50"),
        }
        for key, value in keys.items():
            found = row.find("td", data_key=key).numbers()
            assert found == ([] if value is None else [value]), (variant["name"], key)
        assert variant["reason"] in row.text
        assert variant["state"] in row.text
    assert "1/5.5" in page.find(id="glance").text  # 84,288 / 15,200


def test_pareto_draws_every_variant_the_limit_and_what_fell_below(pushed):
    _, page = pushed
    for picture in page.find(id="variants").find_all("svg", class_="plot"):
        drawn = {n.text for n in picture.find_all("text")}
        assert {"float32", "int8_qat", "teacher float32", "int8_ptq (below)"} <= drawn
        assert "least allowed 0.9421" in drawn
        assert len(picture.find_all(class_="mark shipped")) == 1
        assert len(picture.find_all(class_="mark rejected")) == 1
        assert picture.find_all(class_="rule limit")


def test_data_equals_the_statistics(pushed):
    made, page = pushed
    inputs = Inputs.read(made.workspace, RUN_ID)
    stats = {s.path.step[0]: s for s in inputs.statistics.features}
    fare = page.find("tr", data_feature="fare")
    side = stats["fare"].num_stats
    assert fare.numbers() == [70 / 7001, side.mean, side.min, side.median, side.max]
    payment = page.find("tr", data_feature="payment_type")
    assert payment.numbers() == [7 / 7001, 3]
    top = stats["payment_type"].string_stats.rank_histogram.buckets[0]
    assert f"{top.label} {words.percent(top.sample_count / 6994)}" in payment.text
    assert page.find("tr", data_feature="tips").parent.parent.parent.parent.tag == "details"
    glance = page.find(id="glance").find("dd", class_="value")
    assert glance.numbers() == [sum(files.ROWS.values())]


def test_histogram_shows_the_shape_and_not_the_outlier(pushed):
    """Fares go to 4,000; the columns must lie where the fares are, highest first third."""
    _, page = pushed
    picture = page.find("tr", data_feature="fare").find("svg")
    tips = [t.text for t in picture.find_all("title")]
    last = float(tips[-1].split(" – ")[1].split(":")[0].replace(",", ""))
    assert last < 100
    heights = [
        float(re.search(r"v([\d.]+)", bar.attributes["d"])[1])
        for bar in picture.find_all("path", class_="bar")
    ]
    assert len(heights) == 24
    assert heights.index(max(heights)) < 8
    assert "of the values lie beyond" in picture.attributes["aria-label"]


def test_drift_equals_the_verdict(pushed):
    made, page = pushed
    verdict = json.loads(made.path("SchemaValidator", "anomalies", "verdict.json").read_text())
    fare = next(d for d in verdict["drift"] if d["feature"] == "fare")
    assert fare["drifted"]
    row = page.find("tr", data_drift="fare")
    assert row.numbers() == [fare["psi"], fare["noise"], fare["jsd"]]
    assert row.find_all("td")[0].text == "drifted"
    assert fare["words"].removeprefix("fare: ") in page.find("figure").text
    assert page.find("tr", data_drift="payment_type").find_all("td")[0].text == "no"
    tips = [t.text for t in page.find("figure").find_all("title")]
    for label, now in zip(fare["labels"], fare["current"], strict=True):
        if now > 0:
            assert any(
                t.startswith(f"{label}: ") and t.endswith(f"this run's data {words.percent(now)}")
                for t in tips
            ), label


def test_distillation_equals_the_json(pushed):
    made, page = pushed
    report = json.loads(made.path("Distiller", "model_run", "distillation.json").read_text())
    row = page.find("tr", data_network="control: labels only")
    network = report["networks"]["control"]
    assert row.find("td", data_metric="auc").numbers() == [network["metrics"]["auc"]]
    assert network["parameters"] in row.numbers()
    best = network["curves"]["best_epoch"]
    assert network["curves"]["eval_loss"][best - 1] in row.numbers()
    chosen = page.find(id="distillation").find("tr", class_="chosen")
    assert chosen.attributes["data-network"] == "distilled student"
    curves = page.find(id="curves").find_all("svg", class_="plot")
    assert len(curves) == 2
    assert len(curves[1].find_all("circle")) == 1  # the student's best epoch


def test_a_control_that_goes_on_is_not_called_distilled(tmp_path):
    made = make_run(tmp_path, "pushed")
    path = made.path("Distiller", "model_run", "distillation.json")
    report = json.loads(path.read_text())
    report.update(chosen="control", verdict="There is nothing to learn from the teacher.")
    path.write_text(json.dumps(report))
    page = report_of(made)
    section = page.find(id="distillation")
    assert "control goes on" in section.text
    assert section.find("tr", class_="chosen").attributes["data-network"] == "control: labels only"
    assert "the student trained on the labels goes on" in page.find(id="glance").text


def test_many_classes_become_a_list_of_mistakes(tmp_path):
    names = Names(classes=tuple(f"class {n}" for n in range(40)))
    section = report_of(make_run(tmp_path, task="multiclass", names=names)).find(id="evaluation")
    assert "40 classes: the most frequent mistakes" in section.text
    assert not section.find_all("table", class_="confusion")


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


HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "</title></style></script><svg onload=window.pwned=1>",
    "{{ 7 * 7 }}{% raw %}`'\"&amp;",
    "\u202egnp.exe \x00\x07\x1b[31m",
)


def hostile_names() -> Names:
    first, second, third, fourth, fifth = HOSTILE
    return Names(
        label=first,
        numeric=second,
        categorical=third,
        ignored=fourth + "x" * 5000,
        values=(first, second, third, fourth, fifth.replace("\x00", "")),
        classes=(second, third, fourth),
        data=third,
        version=second,
        message=f"{first} ` {second} {third} {fourth} {fifth}",
    )


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
