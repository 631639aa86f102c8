"""What the report shows is what the run's files hold, figure by figure."""

from __future__ import annotations

import json
import re

import pytest

from pipeline.report import words
from pipeline.report.inputs import Inputs
from tests.pipeline import report_files as files
from tests.pipeline.report_files import Names
from tests.pipeline.report_runs import RUN_ID, make_run, report_of


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    """A pushed binary run with a champion, and its page."""
    made = make_run(tmp_path_factory.mktemp("pushed"), "pushed", champion=True)
    return made, report_of(made)


def test_metrics_equal_the_verdict(pushed):
    made, page = pushed
    verdict = json.loads(made.path("Evaluator", "evaluation", "verdict.json").read_text("utf-8"))
    section = page.find(id="evaluation")
    for name, value in verdict["metrics"]["shipped"].items():
        if name == "example_count":
            continue
        row = section.find("tr", data_metric=name)
        for model in ("shipped", "student", "teacher", "champion"):
            cell = row.find("td", data_model=model)
            assert cell.numbers() == [verdict["metrics"][model][name]]
            assert cell.text == words.metric(verdict["metrics"][model][name])
        deltas = [n.numbers()[0] for n in row.find_all("span") if n.find_all("data")]
        assert deltas == pytest.approx(
            [value - verdict["metrics"][m][name] for m in ("student", "teacher", "champion")]
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
    for threshold in verdict["thresholds"]:
        if threshold["kind"] == "bound":
            continue
        row = section.find("tr", data_slice=words.slice_name(threshold["slice"]))
        least = words.metric(threshold["reference"] + threshold["limit"])
        tick = row.find("path", class_=f"tick {threshold['kind']}")
        assert tick.text == f"change against the {threshold['kind']}, at least: {least}"
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
            found = row.find(data_key=key).numbers()
            assert found == ([] if value is None else [value]), (variant["name"], key)
        assert variant["reason"].replace("`", "") in row.text
        assert variant["state"] in row.text
    assert "1/5.5" in page.find(id="glance").text  # 84,288 / 15,200


def test_layers_equal_the_json(pushed):
    _, page = pushed
    rows = [r for r in page.find(id="variants").find_all("tr") if "data-layer" in r.attributes]
    assert [row.find("th").text for row in rows] == ["hidden_1", "logits"]
    assert "1,088" in rows[0].text and "crashed (SIGABRT)" in rows[1].text


def test_trials_of_a_search_are_drawn_and_listed(tmp_path):
    made = make_run(tmp_path, "pushed")
    path = made.path("TFLiteQuantizer", "variants", "variants.json")
    report = json.loads(path.read_text())
    shipped = next(v for v in report["variants"] if v["state"] == "shipped")
    found = {"state": "made", "full": True, "latency_us": {}, "violations": [], "gzip_bytes": 9}
    trials = [
        {**found, "name": shipped["name"], "bytes": shipped["bytes"], "best": True,
         "quality": shipped["quality"]},
        {**found, "name": "narrow", "bytes": 4321, "best": False, "quality": shipped["quality"],
         "violations": ["may lose more than 0.003 of auc"]},
        {**found, "name": "cheap_look", "full": False, "bytes": 1, "best": False, "quality": {}},
    ]  # fmt: skip
    report["search"] = {"objective": "bytes", "recipes": 7, "stopped": "minutes", "best": "narrow"}
    path.write_text(json.dumps(report))
    (path.parent / "trials.json").write_text(json.dumps({"trials": trials}))
    section = report_of(made).find(id="variants")
    assert "7 recipes" in section.text and "the time was over" in section.text
    rows = [r for r in section.find_all("tr") if "data-trial" in r.attributes]
    assert [row.find("th").text for row in rows] == ["narrow", shipped["name"]]
    assert "may lose more than 0.003" in rows[0].text and "yes" in rows[1].text
    assert len(section.find("svg", class_="plot").find_all(class_="mark trial")) == 1


def test_pareto_draws_every_variant_the_limit_and_what_fell_below(pushed):
    _, page = pushed
    for picture in page.find(id="variants").find(class_="plots").find_all("svg", class_="plot"):
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
