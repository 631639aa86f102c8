"""The Evaluator's light modules: thresholds of a config, and the verdict as data."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.evaluator.options import EvaluationOptions
from custom_components.evaluator.thresholds import METRICS, QUALITY, bounds, check_thresholds
from custom_components.evaluator.verdict import VERDICT_FILE, SliceResult, Threshold, Verdict
from models.errors import ConfigError, Reason


def _refused(task: str, **thresholds: float) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        check_thresholds(EvaluationOptions(thresholds=thresholds), task)
    return error.value


@pytest.mark.parametrize(
    ("task", "name", "bound", "says"),
    [
        ("binary", "auc", 1.2, "always between 0 and 1, so a bound of 1.2 can never hold"),
        ("binary", "auc", -0.1, "can never fail"),
        ("binary", "log_loss", -0.5, "always at least 0, so a bound of -0.5 can never hold"),
        ("regression", "rmse", -1.0, "can never hold"),
        ("regression", "r2", 1.01, "always at most 1, so a bound of 1.01 can never hold"),
        ("binary", "acuracy", 0.8, "did you mean `accuracy`?"),
        ("binary", "AUC", 0.8, "did you mean `auc`?"),
        ("regression", "auc", 0.8, "no metric of a regression model"),
        ("multiclass", "zebra", 0.8, "there is no such metric"),
        ("binary", "calibration", 1.0, "no better direction"),
        ("binary", "auc", math.nan, "nan is no bound"),
        ("regression", "mae", math.inf, "inf is no bound"),
    ],
)
def test_thresholds_that_cannot_work_are_refused(task, name, bound, says):
    error = _refused(task, **{name: bound})
    assert error.reason.code == "THRESHOLD_INVALID"
    assert error.exit_code == 2
    assert says in str(error)
    assert error.reason.cases[0]["metric"] == name


def test_all_bad_thresholds_are_named_at_once():
    error = _refused("binary", auc=2.0, los=0.3, accuracy=0.8)
    assert [case["metric"] for case in error.reason.cases] == ["auc", "los"]


@given(st.sampled_from(sorted(METRICS)), st.data())
def test_possible_thresholds_are_accepted(task, data):
    name = data.draw(st.sampled_from(sorted(METRICS[task])))
    metric = METRICS[task][name]
    bound = data.draw(
        st.floats(
            metric.low if math.isfinite(metric.low) else None,
            metric.high if math.isfinite(metric.high) else None,
            allow_nan=False,
            allow_infinity=False,
        )
    )
    check_thresholds(EvaluationOptions(thresholds={name: bound}), task)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(any))
def test_default_accuracy_bound_is_missed_by_a_constant_answer_and_met_by_one_row_more(counts):
    rows, largest = sum(counts), max(counts)
    bound = bounds(EvaluationOptions(), "multiclass", tuple(map(float, counts)))["accuracy"]
    assert largest / rows < bound or largest == rows
    assert bound <= 1.0
    if largest < rows:
        assert (largest + 1) / rows >= bound


def test_a_configured_bound_replaces_the_default_of_the_same_metric_only():
    assert bounds(EvaluationOptions(), "binary") == {"auc": 0.55}
    assert bounds(EvaluationOptions(thresholds={"auc": 0.9}), "binary") == {"auc": 0.9}
    options = EvaluationOptions(thresholds={"mae": 3.0})
    assert bounds(options, "regression") == {"r2": 0.0, "mae": 3.0}
    assert all(QUALITY[task] in METRICS[task] for task in METRICS)


def test_verdict_round_trip(tmp_path):
    verdict = Verdict(
        blessed=False,
        reasons=(Reason("BELOW_BOUND", "auc is low", ({"metric": "auc"},), "more rows", "block"),),
        task="binary",
        label="tip",
        classes=("no", "yes"),
        quality="auc",
        rows={"evaluated": 10, "label_missing": 1, "label_unknown": 0},
        metrics={"shipped": {"auc": 0.5, "precision": None}},
        slices=(SliceResult({"hour": 3, "payment": "Bär"}, 4, False, {"shipped": {"auc": 0.4}}),),
        thresholds=(Threshold("auc", "bound", {}, 0.55, 0.5, False),),
        plots={"shipped": {"roc": [{"fpr": 0.0, "tpr": 0.0, "threshold": 1.0}]}},
        engine={"requested": "local", "ran": "local", "why": "as configured"},
    )
    (tmp_path / VERDICT_FILE).write_text(verdict.to_json(), encoding="utf-8")
    assert Verdict.load(tmp_path) == verdict


@given(st.floats())
def test_verdict_is_strict_json_whatever_the_numbers(value):
    verdict = Verdict(
        blessed=True,
        reasons=(),
        task="regression",
        label="y",
        classes=(),
        quality="r2",
        rows={},
        metrics={"shipped": {"r2": value}},
        slices=(),
        thresholds=(),
        plots={},
        engine={},
    )

    def refuse(constant: str):
        raise AssertionError(constant)

    read = json.loads(verdict.to_json(), parse_constant=refuse)["metrics"]["shipped"]["r2"]
    assert read == (value if math.isfinite(value) else None)


def test_light_modules_import_nothing_heavy():
    code = (
        "import sys\n"
        "import custom_components.evaluator.thresholds, custom_components.evaluator.verdict\n"
        "heavy = {'tensorflow', 'tfx', 'tensorflow_model_analysis', 'apache_beam', 'numpy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_model_that_never_says_yes_is_warned_about():
    from types import SimpleNamespace

    from custom_components.evaluator import reasons
    from models.spec import ModelSpec

    spec = ModelSpec("binary", "y", ("no", "yes"), (), ())
    for recall, expected in ((0.0, ["NEVER_POSITIVE"]), (0.1, [])):
        overall = SimpleNamespace(
            slice={}, rows=100, metrics={"shipped": {"auc": 0.8, "recall": recall}}
        )
        found = reasons.of_measurement({}, [overall], (), spec)
        assert [r.code for r in found] == expected
