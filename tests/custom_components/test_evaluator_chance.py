"""Drops that chance explains, and what that does to a verdict."""

from __future__ import annotations

import numpy as np
import pytest
from test_evaluator_fixtures import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    WEIGHTS,
    make_examples,
    make_model,
    make_table,
    run_evaluator,
)

from models import standard_error
from tests.models.test_standard_error import quality

SPECS = {spec.task: spec for spec in (BINARY, MULTICLASS, REGRESSION)}


def _nudged(spec, table) -> np.ndarray:
    """Weights that cost a little on exactly these rows, and less than a standard error."""
    inputs = np.nan_to_num(np.stack([table["x"].to_numpy(), table["y"].to_numpy()], 1), nan=0.0)
    labels = table[spec.label].to_numpy()
    offset = 20.0 if spec.task == "regression" else 0.0
    if spec.task != "regression":
        labels = np.asarray([spec.classes.index(value) for value in labels])
    weights, rng = WEIGHTS[spec.task], np.random.default_rng(2)
    before = inputs @ weights + offset
    for _ in range(1000):
        nudge = weights * rng.normal(1.0, 0.1, weights.shape).astype(np.float32)
        after = inputs @ nudge + offset
        drop = quality(spec.task, labels, before) - quality(spec.task, labels, after)
        if 0.002 < drop < standard_error.of_difference(spec.task, labels, after, before):
            return nudge
    raise AssertionError("no such weights")


@pytest.mark.parametrize("task", SPECS)
def test_a_small_drop_on_few_rows_is_no_reason(tmp_path, task):
    spec = SPECS[task]
    table = make_table(spec, 60, 4, noise=8.0 if task == "regression" else 2.0)
    teacher = make_model(tmp_path / "teacher", spec, saved_model=True)
    model = make_model(tmp_path / "model", spec, _nudged(spec, table))
    examples = make_examples(tmp_path / "examples", {"test": table})
    letter = run_evaluator(
        tmp_path / "letter",
        examples,
        model,
        teacher,
        spec=spec,
        confidence=0.0,
        max_drop_teacher=0.0,
    )
    assert letter.codes == {"WORSE_THAN_TEACHER", "NO_BASELINE"}
    run = run_evaluator(tmp_path / "run", examples, model, teacher, spec=spec, max_drop_teacher=0.0)
    assert run.verdict.blessed
    assert run.reason("WITHIN_CHANCE").severity == "warn"
    (threshold,) = [t for t in run.verdict.thresholds if t.kind == "teacher"]
    assert threshold.passed and threshold.chance > -threshold.value > 0
    assert threshold.limit == pytest.approx(-threshold.chance)


def test_the_same_drop_on_many_rows_is_a_reason(tmp_path):
    worse = np.array([[2.0], [-1.0]], np.float32)
    model = make_model(tmp_path / "model", BINARY, worse)
    champion = make_model(tmp_path / "champion", BINARY)
    teacher = make_model(tmp_path / "teacher", BINARY, worse, saved_model=True)
    champion.set_int_custom_property("present", 1)
    states = {}
    for rows in (120, 8000):
        examples = make_examples(tmp_path / str(rows), {"test": make_table(BINARY, rows, 12)})
        run = run_evaluator(
            tmp_path / f"run-{rows}", examples, model, teacher, champion, max_drop_champion=0.0
        )
        states[rows] = run.verdict.blessed, run.codes
    assert states[120] == (True, {"WITHIN_CHANCE"})
    assert states[8000] == (False, {"WORSE_THAN_CHAMPION"})
