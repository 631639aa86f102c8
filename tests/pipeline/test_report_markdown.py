"""The analysis of a run: what each technique bought, what is recommended, Markdown and JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from custom_components.tflite_quantizer import recipes
from pipeline.report import layers, markdown
from pipeline.report.analysis import analysis
from pipeline.report.champion import FILE
from pipeline.report.inputs import Inputs
from pipeline.report.recommendation import recommendation
from pipeline.report.waterfall import picture, waterfall
from tests.conftest import ROOT
from tests.pipeline.report_files import hostile_names
from tests.pipeline.report_runs import RUN_ID, STATES, make_run, report_of

TASKS = ("binary", "multiclass", "regression")


def variant(name: str, size: int, auc: float, state: str = "eligible", **fields) -> dict:
    drop = {"metric": "auc", "rows": 900, "drop": 0.95 - auc, "low": 0.949 - auc}
    overall = {**drop, "high": 0.951 - auc}
    return {
        "name": name,
        "recipe": name,
        "state": state,
        "bytes": size,
        "metrics": {"auc": auc},
        "quality": {"overall": overall, "slices": []},
        "picks": [],
        **fields,
    }


def report(*variants: dict, **fields) -> dict:
    return {
        "primary_metric": "auc",
        "teacher": {"bytes": 100_000, "metrics": {"auc": 0.951}},
        "variants": list(variants),
        "recipes": {v["recipe"]: recipes.get(v["recipe"]).to_dict() for v in variants},
        **fields,
    }


CHAIN = (
    variant("float32", 17_000, 0.95),
    variant("float32_compact", 10_000, 0.95),
    variant("pruned50_polynomial", 9_900, 0.948),
    variant("int8_qat", 6_700, 0.949),
    variant("dynamic_range", 6_500, 0.9485),
    variant("pruned50_int8", 6_600, 0.947),
    variant("dynamic_range_tables", 5_700, 0.9484),
)


def shipping(name: str, *without: str) -> dict:
    return report(
        *(
            {**v, "state": "shipped" if v["name"] == name else v["state"]}
            for v in CHAIN
            if v["name"] not in without
        )
    )


def test_each_step_changes_one_thing_and_they_add_up():
    found = waterfall(shipping("dynamic_range_tables"))
    assert [(s.name, s.file, s.saved) for s in found.steps] == [
        ("teacher", "teacher_float32", None),
        ("student", "float32", 83_000),
        ("compact graph", "float32_compact", 7_000),
        ("quantized", "dynamic_range", 3_500),
        ("tables reduced", "dynamic_range_tables", 800),
    ]
    assert sum(s.saved or 0 for s in found.steps) == 100_000 - 5_700
    assert sum(s.change or 0 for s in found.steps) == pytest.approx(0.9484 - 0.951)
    assert found.left_out == ("Not part of `dynamic_range_tables`: pruned, clustered.",)


def test_a_pruned_file_has_its_pruning_as_a_step():
    found = waterfall(shipping("pruned50_int8"))
    assert [s.file for s in found.steps[2:]] == [
        "float32_compact",
        "pruned50_polynomial",
        "pruned50_int8",
    ]


def test_a_step_without_a_file_of_its_own_goes_with_the_next_and_is_said():
    found = waterfall(shipping("dynamic_range_tables", "dynamic_range", "float32_compact"))
    assert [(s.name, s.file) for s in found.steps] == [
        ("teacher", "teacher_float32"),
        ("student", "float32"),
        ("compact graph + quantized + tables reduced", "dynamic_range_tables"),
    ]
    said = " ".join(found.left_out)
    assert "Compact graph has no step of its own" in said and "Quantized has no step" in said


def test_without_a_shipped_file_or_recipes_there_is_no_waterfall():
    assert not waterfall(report(*CHAIN)).steps
    assert not waterfall({}).steps
    assert not waterfall({**shipping("float32"), "recipes": {}}).steps
    assert picture(waterfall({}), "auc") == ""


def test_bars_are_as_long_as_the_files_are_large():
    drawn = str(picture(waterfall(shipping("dynamic_range_tables")), "auc"))
    wide = [float(x) for x in re.findall(r'd="M\d+ \S+?h([\d.]+)v[^"]*" class="bar"', drawn)]
    assert len(wide) == 5
    for width, size in zip(wide, (100_000, 17_000, 10_000, 6_500, 5_700), strict=True):
        assert width / wide[0] == pytest.approx(size / 100_000, abs=1e-3)
    assert drawn.count('class="bar faint"') == 4


def test_layers_are_drawn_with_their_intervals_and_the_bound():
    rows = [
        {"layer": "hidden_1", "quality": {"drop": 0.001, "low": 0.0, "high": 0.002}},
        {"layer": "logits", "quality": {"drop": 0.02, "low": 0.01, "high": 0.03}},
        {"layer": "embedding", "quality": {}, "reason": "crashed (SIGABRT)"},
    ]
    drawn = str(layers.picture(rows, 0.003, "auc"))
    assert drawn.count("<circle") == 2 and drawn.count("mark bad") == 1
    assert "rule limit" in drawn and "embedding" not in drawn
    assert layers.picture([rows[2]], 0.003, "auc") == ""


def test_two_sentences_say_what_ships_and_what_to_weigh():
    first, second = recommendation(shipping("dynamic_range"), "pushed", [])
    assert first.startswith("Keep `dynamic_range`, which is deployed: 6,500 bytes, 1/15.4 of")
    assert "loses 0.0015 of AUC (95 % interval of the loss +0.0005 to +0.0025)" in first
    assert "looks further" in second
    refused = [{"code": "WORSE_THAN_TEACHER", "severity": "block"}]
    first, _ = recommendation(shipping("dynamic_range"), "not_blessed", refused)
    assert first.startswith("Do not deploy `dynamic_range`") and "`WORSE_THAN_TEACHER`" in first
    assert recommendation(report(*CHAIN), "failed", []) == []


def test_the_second_sentence_names_the_other_pick_and_the_slice_to_watch():
    found = shipping("int8_qat")
    by_name = {v["name"]: v for v in found["variants"]}
    by_name["dynamic_range_tables"]["picks"] = ["compact"]
    by_name["int8_qat"]["quality"]["slices"] = [
        {"feature": "pay", "value": "Card", "rows": 895, "drop": 0.003, "high": 0.0066}
    ]
    _, second = recommendation(found, "pushed", [])
    assert "`quantizer: {pick: compact}` ships `dynamic_range_tables`, 1,000 bytes less" in second
    assert "watch the 895 rows where `pay` is Card, which may lose up to 0.0066." in second


def read(made) -> tuple[Inputs, dict]:
    inputs = Inputs.read(made.workspace, RUN_ID)
    return inputs, analysis(inputs)


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_markdown_report_that_is_well_formed(tmp_path, state, task):
    made = make_run(tmp_path, state, task=task, champion=task != "binary", names=hostile_names())
    text = markdown.render(*read(made))
    assert text.startswith("## ") and RUN_ID in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert bool(tables) == (state in ("pushed", "not_blessed", "running"))
    for table in tables:
        rows = [cells(line) for line in table.splitlines()]
        assert len({len(row) for row in rows}) == 1
        assert set("".join(rows[1])) <= set(" -:")
    # Nothing from the data is markup: outside of code, every `<` is escaped.
    outside = re.sub(r"`[^`\n]*`", "", text)
    assert not re.search(r"(?<!\\)<", outside) and not re.search(r"(?<!\\)!\[", outside)
    assert not re.search("[\x00-\x08\u202e]", text)


def test_the_table_shows_what_the_files_say(tmp_path):
    made = make_run(tmp_path, "pushed", champion=True)
    path = made.path("TFLiteQuantizer", "variants", "variants.json")
    found = json.loads(path.read_text("utf-8"))
    found["variants"][2]["quality"]["calibration"] = {"reference": 0.0142, "candidate": 0.0168}
    path.write_text(json.dumps(found), encoding="utf-8")
    inputs, data = read(made)
    lines = markdown.render(inputs, data).splitlines()
    [shipped] = [line for line in lines if line.startswith("| **`int8_qat`**")]
    assert "15,200" in shipped and "0.0142 → 0.0168" in shipped
    assert any(line.startswith("- `pruned` was skipped: The converter") for line in lines)
    assert any("0.9339 | 0.9311 | +0.0028" in line for line in lines)
    assert "0.0142 → 0.0168" in report_of(made).find(id="variants").text


def test_intervals_against_the_champion_are_shown_by_slice(tmp_path):
    made = make_run(tmp_path, "pushed", champion=True)
    inputs = Inputs.read(made.workspace, RUN_ID)
    drop = {"drop": -0.0028, "low": -0.005, "high": 0.001}
    given = {"rows": 1501, "slices": [{"slice": {}, "drop": drop}]}
    text = markdown.render(inputs, analysis(inputs, given))
    assert "| all rows | 1,501 | 0.9339 | 0.9311 | +0.0028 | −0.0010 to +0.0050 |" in text
    text = markdown.render(inputs, analysis(inputs, {"why": "the champion is gone"}))
    assert "No intervals: the champion is gone." in text


def test_the_command_writes_markdown_and_the_analysis(tmp_path):
    made = make_run(tmp_path / "state", "pushed")
    config = tmp_path / "flywheel.yaml"
    config.write_text(f"{made.folder.config.read_text('utf-8')}\nroot: {tmp_path / 'state'}\n")

    def flywheel(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "report", "--config", str(config), *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert flywheel("--markdown", "-").startswith("## ✓ Pushed")
    path = tmp_path / "report.md"
    answer = json.loads(flywheel("--json", "--markdown", str(path)).splitlines()[-1])
    assert answer["markdown"] == str(path) and path.read_text("utf-8").startswith("## ✓ Pushed")
    found = answer["analysis"]
    assert found["metric"] == "auc" and len(found["recommendation"]) == 2
    assert [v["name"] for v in found["variants"]] == ["float32", "int8_ptq", "int8_qat", "pruned"]
    assert found["champion"] == {} and not (made.folder.path / FILE).exists()


@pytest.mark.slow
def test_intervals_of_two_real_models_hold_the_evaluators_differences(taxi):
    """The teacher stands in for a champion; what the Evaluator found is what is asked for."""
    command, result = taxi
    uris = command.json("runs", "show", result["run_id"])["artifacts"]
    verdict = json.loads(open(f"{uris['Evaluator.evaluation']}/verdict.json").read())
    judged = [s for s in verdict["slices"] if s["judged"]]
    request = {
        "examples": f"{uris['ExampleGen.examples']}/Split-test",
        "shipped": uris["TFLiteQuantizer.chosen"],
        "champion": uris["Trainer.model"],
        "slices": [s["slice"] for s in judged],
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipeline.intervals"],
        input=json.dumps(request),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == verdict["rows"]["evaluated"]
    every = [{"slice": {}, "metrics": verdict["metrics"], "rows": found["rows"]}, *judged]
    assert len(found["slices"]) == len(every) > 3
    for one, row in zip(found["slices"], every, strict=True):
        assert one["slice"] == row["slice"] and one["drop"]["rows"] == row["rows"]
        wanted = row["metrics"]["teacher"]["auc"] - row["metrics"]["shipped"]["auc"]
        assert one["drop"]["drop"] == pytest.approx(wanted, abs=2e-4)  # TFMA bins scores
        assert one["drop"]["low"] < one["drop"]["drop"] < one["drop"]["high"]
