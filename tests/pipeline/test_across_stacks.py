"""What one stack wrote, the other reads and goes on with: both ways.

Needs the other stack on this machine, as a Python that has it:
  FLYWHEEL_OTHER_PYTHON   a command, e.g. `sh scripts/debian13.sh --here python`
  .venv-legacy, .venv-modern   what `make install STACK=...` made
"""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pytest

from models import stack
from models.predictor import Predictor
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

OTHER = stack.LEGACY if stack.current() is stack.MODERN else stack.MODERN


class Side:
    """One stack's Python in a folder that both see."""

    def __init__(self, python: list[str], folder: pathlib.Path):
        self.python, self.folder = python, folder

    def run(self, *arguments: str, check: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.python, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert check is None or done.returncode == check, f"{done.stdout}\n{done.stderr}"
        return done

    def flywheel(self, *arguments: str, check: int | None = 0) -> dict:
        """The object that the command ends with."""
        done = self.run("-m", "pipeline", *arguments, "--json", check=check)
        return json.loads(done.stdout.splitlines()[-1])

    def digest(self) -> dict:
        done = self.run("-m", "tests.pipeline.artifact_digest", str(self.folder))
        return json.loads(done.stdout.splitlines()[-1])


def other_python() -> list[str]:
    command = os.environ.get("FLYWHEEL_OTHER_PYTHON")
    if command:
        return shlex.split(command)
    beside = ROOT / f".venv-{OTHER.name}" / "bin" / "python"
    if beside.exists():
        return [str(beside)]
    pytest.skip(f"the {OTHER.name} stack is not on this machine")


@pytest.fixture(scope="module", params=["from this stack to the other", "from the other to this"])
def exchange(request, tmp_path_factory):
    """A run by one side, in a folder where the other takes over: `(writer, reader, result)`."""
    folder = tmp_path_factory.mktemp("across")
    sides = [Side([sys.executable], folder), Side(other_python(), folder)]
    writer, reader = sides if request.param.startswith("from this") else reversed(sides)
    writer.flywheel("init", "demo:chicago-taxi")
    return writer, reader, writer.flywheel("run")


def test_the_sides_are_of_different_stacks():
    script = "from models import stack; print(stack.current().name)"
    other = Side(other_python(), ROOT).run("-c", script).stdout.strip()
    assert other == OTHER.name != stack.current().name


def test_every_artifact_reads_the_same(exchange):
    writer, reader, _ = exchange
    written, read = writer.digest(), reader.digest()
    assert {"teacher network", "teacher SavedModel", "int8_qat.tflite"} <= set(read["answers"])
    for name, answers in written.pop("answers").items():
        np.testing.assert_allclose(read["answers"][name], answers, rtol=0, atol=2e-4, err_msg=name)
    read.pop("answers")
    assert read.pop("means") == pytest.approx(written.pop("means"))
    assert read == written


def test_runs_reports_and_versions_are_read(exchange):
    _, reader, result = exchange
    assert [run["run_id"] for run in reader.flywheel("runs")] == [result["run_id"]]
    assert reader.flywheel("runs", "show", result["run_id"])["metrics"] == result["metrics"]
    report = pathlib.Path(reader.flywheel("report")["report"])
    assert result["pushed"]["version"] in report.read_text("utf-8")
    assert reader.flywheel("models", "verify")["largest_difference"] < 1e-5


def test_the_deployed_model_answers_the_same(exchange):
    writer, reader, result = exchange
    version = result["pushed"]["version"]
    answers = []
    for side in (writer, reader):
        target = writer.folder / f"{len(answers)}.csv"
        side.flywheel("predict", "demo:chicago-taxi", "--output", str(target))
        lines = target.read_text("utf-8").splitlines()
        answers.append(np.array([float(line.rsplit(",", 1)[1]) for line in lines[1:]]))
    np.testing.assert_allclose(answers[1], answers[0], rtol=0, atol=1e-5)
    assert len(answers[0]) > 15_000
    assert Predictor.load(writer.folder / "deployed" / "versions" / version).spec.task == "binary"


def test_the_other_stack_goes_on_from_there(exchange):
    """The champion is the other stack's: judged against, and replaced or kept, with reasons."""
    _, reader, first = exchange
    second = reader.flywheel("run", check=None)
    assert second["state"] in ("pushed", "not_blessed"), second
    codes = {reason["code"] for reason in second["reasons"]}
    assert "NO_BASELINE" not in codes
    # Other versions beneath are other code: nothing of the first run is taken for the second.
    assert second["components"]["Trainer"] == "complete"
    primary = "auc"
    for model in ("shipped", "teacher"):
        assert second["metrics"][model][primary] == pytest.approx(
            first["metrics"][model][primary], abs=0.005
        )
    sizes = [
        next(v["bytes"] for v in run["variants"] if v["state"] == "shipped")
        for run in (first, second)
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
