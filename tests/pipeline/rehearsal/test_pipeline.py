"""Flywheel's own pipeline: compiled, linted, rehearsed, and equal to a run on this machine."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from sklearn.datasets import load_breast_cancer

from pipeline.rehearsal import isolation
from tests.conftest import ROOT as PROJECT
from tests.conftest import Flywheel
from tests.pipeline.rehearsal.conftest import codes, states

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(isolation.namespaces() is None, reason="needs namespaces"),
]
_FEATURES = ("radius", "texture", "smoothness")
_SMALL = """
teacher: {epochs: 8}
student: {epochs: 40}
distillation: {teachers: [network]}
quantizer: {recipes: [float32, dynamic_range]}
evaluation: {max_drop_teacher: 0.1, max_drop_champion: 0.1}
kubeflow:
  data: /data/data.csv
  components:
    ExampleGen:
      volumes: [{claim: tables, mount: /data}]
"""


@pytest.fixture(scope="module")
def flywheel(tmp_path_factory: pytest.TempPathFactory) -> Flywheel:
    """The command in a folder with a table, its config, and the compiled pipeline."""
    command = Flywheel(tmp_path_factory.mktemp("tumours"))
    table = load_breast_cancer(as_frame=True).frame
    table = table[["mean radius", "mean texture", "mean smoothness", "target"]]
    table.columns = [*_FEATURES, "malignant"]
    table["malignant"] = 1 - table["malignant"]
    table.to_csv(command.folder / "data.csv", index=False)
    command("init", "data.csv", "--label", "malignant")
    with open(command.folder / "flywheel.yaml", "a", encoding="utf-8") as config:
        config.write(_SMALL)
    tables = command.folder / ".flywheel/rehearsal/volumes/tables"
    tables.mkdir(parents=True)
    shutil.copyfile(command.folder / "data.csv", tables / "data.csv")
    compiled = command.json("compile", "--output", "pipeline.yaml")
    assert compiled["clean"], compiled["findings"]
    return command


@pytest.fixture(scope="module")
def first(flywheel: Flywheel) -> dict[str, Any]:
    """The first rehearsal: nothing is deployed yet."""
    return flywheel.json("rehearse", "pipeline.yaml")


def _log(result: dict[str, Any], task: str) -> str:
    attempts = (pathlib.Path(result["log"]) / task).glob("attempt-*/log.txt")
    return max(attempts).read_text("utf-8")


def test_all_tasks_succeed_and_a_model_is_pushed(flywheel: Flywheel, first: dict[str, Any]) -> None:
    assert first["state"] == "pushed"
    assert set(states(first).values()) == {"succeeded"}
    assert "ExitHandler" in states(first)
    assert "NO_BASELINE" in codes(first)
    deployed = flywheel.folder / ".flywheel/rehearsal/volumes/flywheel-deployed"
    assert (deployed / "CURRENT").read_text("utf-8").strip() == first["pushed"]["version"]


def test_the_model_is_that_of_a_run_on_this_machine(
    flywheel: Flywheel, first: dict[str, Any]
) -> None:
    local = flywheel.json("run")
    assert local["state"] == "pushed"
    assert first["rows"] == local["rows"]
    assert first["metrics"] == local["metrics"]
    assert first["pushed"]["version"] == local["pushed"]["version"]  # a hash of its files
    chosen = [
        {key: variant[key] for key in ("name", "state", "bytes", "metrics")}
        for result in (first, local)
        for variant in result["variants"]
        if variant["state"] == "shipped"
    ]
    assert chosen[0] == chosen[1]


def test_a_second_one_killed_while_it_trains_meets_the_champion(
    flywheel: Flywheel, first: dict[str, Any]
) -> None:
    folder = flywheel.folder / ".flywheel/rehearsal"
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "rehearse", "pipeline.yaml"],
        cwd=flywheel.folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.DEVNULL,
    )
    while not list(folder.glob("runs/*/tasks/tfx-dag/Trainer/attempt-1/log.txt"))[1:]:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    result = flywheel.json("rehearse", "pipeline.yaml")
    assert result["state"] == "pushed"
    assert set(states(result).values()) == {"succeeded"}
    runs = sorted(path.name for path in (folder / "runs").iterdir())
    assert runs == [first["run_id"], result["run_id"]]
    tries = {
        path.name: len(list(path.glob("attempt-*")))
        for path in (folder / "runs" / result["run_id"] / "tasks/tfx-dag").iterdir()
    }
    assert tries.pop("Trainer") == 2
    assert set(tries.values()) == {1}
    assert "NO_BASELINE" not in codes(result)  # there is a champion now
    assert result["metrics"]["shipped"] == first["metrics"]["shipped"]


def test_a_failing_one_reaches_the_exit_handler(flywheel: Flywheel, first: dict[str, Any]) -> None:
    result = flywheel.json(
        "rehearse", "pipeline.yaml", "--parameter", "data_path=/data/absent.csv", check=None
    )
    assert result["state"] in ("failed", "blocked_by_data")
    assert states(result)["tfx-dag/ExampleGen"] == "failed"
    assert "NO_SUCH_FILE" in codes(result)
    assert states(result)["ExitHandler"] == "succeeded"
    assert "tfx-dag/Trainer" not in states(result)
    assert "FAILED" in _log(result, "ExitHandler")


def test_every_command_line_is_kept(first: dict[str, Any]) -> None:
    """What the container of a task would be started with can be read and repeated."""
    for task in states(first):
        words = json.loads(
            (pathlib.Path(first["log"]) / task / "attempt-1" / "command.json").read_text("utf-8")
        )
        assert words[:2] == ["python", "-m"]
        assert not any("{{$" in word for word in words)
