"""The report's section on distillation: reference, gains, seeds, search and calibration."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from models import calibration
from models.gain import Gain, over_seeds
from models.search import Candidate
from models.spec import ModelSpec
from pipeline.report import words
from tests.pipeline import report_files as files
from tests.pipeline.report_runs import make_run, report_of

DIFFERENCES = [0.004, 0.006, 0.003]


def everything() -> dict[str, Any]:
    """What the Distiller writes when all its options are on."""
    report = files.distillation("binary")
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (4000, 1)).astype(np.float32)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-logits[:, 0] / 2))).astype(np.float32)
    spec = ModelSpec("binary", "t", ("no", "yes"), (), ())
    trees = Gain("auc", 0.0071, 0.0012, 0.013, "rows", 1, files.ROWS["eval"])
    candidates = [
        Candidate(2, (8,), 400, [(4, 0.26)]),
        Candidate(4, (16, 8), 1181, [(4, 0.24), (None, 0.2213)], chosen=True),
        Candidate(4, (), 300, [(4, 0.25), (None, 0.2313)]),
    ]
    values = [0.9451, 0.9449, 0.9447]
    report.update(
        teachers={
            "labels": ["network", "trees"],
            "eval_loss": {"network": 0.2311, "trees": 0.2307, "mean": 0.2299},
        },
        reference={
            "kind": "gradient-boosted trees",
            "rounds": 62,
            "rows": 500_000,
            "rows_available": 620_001,
            "metrics": files.metrics_of("binary", 0.9526),
            "eval_loss": 0.2307,
            "gain_over": {
                "teacher": trees.to_dict(),
                "shipped": Gain("auc", 0.0, -0.001, 0.001, "rows", 1, 9).to_dict(),
            },
            "warning": "A simpler model is better on eval: trees beat the teacher.",
        },
        gain={
            "control": over_seeds("auc", DIFFERENCES, files.ROWS["eval"]).to_dict(),
            "control_dropout": Gain("auc", None, None, None, "seeds", 0, 9).to_dict(),
        },
        seeds=[
            {
                "seed": 5 + i,
                "chosen": i == 1,
                "networks": {
                    "distilled": {"metrics": {"auc": value}, "eval_loss": 0.2},
                    "control": {"metrics": {"auc": value - gained}, "eval_loss": 0.2},
                    "control_dropout": {"metrics": {}, "eval_loss": 0.2},
                },
            }
            for i, (value, gained) in enumerate(zip(values, DIFFERENCES, strict=True))
        ],
        search=[candidate.to_dict() for candidate in candidates],
        calibration=calibration.calibrate(spec, logits, labels).to_dict(),
    )
    return report


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The section, and the JSON it is made from."""
    made = make_run(tmp_path_factory.mktemp("run"), "pushed")
    report = everything()
    path = made.path("Distiller", "model_run", "distillation.json")
    path.write_text(json.dumps(report))
    return report_of(made).find(id="distillation"), report


def test_the_reference_stands_beside_the_teacher(shown):
    section, report = shown
    row = section.find("tr", data_network="boosted trees, for reference")
    assert row.find("td", data_metric="auc").numbers() == [report["reference"]["metrics"]["auc"]]
    assert report["reference"]["eval_loss"] in row.numbers()
    assert "boosted trees are better" in section.text
    assert "500,000 of the 620,001 train rows" in section.text


def test_who_labelled_is_said_with_every_loss(shown):
    section, _ = shown
    assert "the mean of the teacher network and the boosted trees, by the lowest loss" in (
        section.text
    )
    for loss in ("0.2311", "0.2307", "0.2299"):
        assert loss in section.text


def test_gains_have_their_interval_and_its_kind(shown):
    section, report = shown
    gain = report["gain"]["control"]
    row = section.find("tr", data_gain="distilled student − control: labels only")
    assert row.numbers() == [gain["value"], gain["low"], gain["high"]]
    assert "yes, better" in row.text and "Student’s t over seeds" in row.text
    row = section.find("tr", data_gain="boosted trees − student that goes on")
    assert [cell.text for cell in row.find_all("td")][2:] == [
        "no",
        "paired over the rows of eval",
    ]
    row = section.find("tr", data_gain="distilled student − control: labels, dropout")
    assert row.numbers() == [] and words.NOTHING in row.text


def test_seeds_and_shapes_are_listed_and_the_chosen_ones_marked(shown):
    section, report = shown
    table = section.find("table", class_="seeds")
    assert table.find("tr", class_="chosen").attributes["data-seed"] == "6"
    assert table.find("tr", data_seed="5").numbers() == [0.9451, 0.9451 - 0.004]
    table = section.find("table", class_="search")
    rows = [
        r.attributes["data-shape"] for r in table.find_all("tr") if "data-shape" in r.attributes
    ]
    assert rows == ["4: 16, 8", "4: none", "2: 8"]
    assert table.find("tr", class_="chosen").numbers() == [1181, 0.24, 0.2213]


def test_calibration_says_what_it_did(shown):
    section, report = shown
    found = report["calibration"]
    assert found["applied"]
    line = section.find("p", class_="calibration")
    assert "is folded into the weights" in line.text
    assert found["temperature"] in line.numbers()
    assert found["log_loss"]["before"] in line.numbers()
    assert found["calibration_error"]["after"] in line.numbers()


def test_a_report_of_before_has_none_of_it(tmp_path):
    section = report_of(make_run(tmp_path, "pushed")).find(id="distillation")
    assert "Distillation helps here, by +0.0046." in section.text
    assert "boosted trees" not in section.text and not section.find_all("table", class_="gains")
    assert not section.find_all("p", class_="calibration")
