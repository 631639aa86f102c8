"""Processes that wait for their run."""

from __future__ import annotations

import os
import pathlib

import psutil
import pytest

from control_center.runs_index import RunsIndex
from control_center.standby import Standby
from pipeline import config as config_module
from pipeline.config import Config
from pipeline.launch import Prepared, Worker
from pipeline.workspace import Workspace
from tests.control_center import workspaces


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.fixture
def config(tmp_path: pathlib.Path) -> Config:
    workspaces.write_config(tmp_path)
    return config_module.load(tmp_path / "flywheel.yaml")


def test_a_worker_without_a_run_ends_with_whoever_held_it():
    prepared = Prepared("local")
    assert prepared.fits("local")
    assert not prepared.fits("beam"), "it imports other things"
    prepared.process.stdin.close()
    assert prepared.process.wait(60) == 0
    assert not prepared.fits("local")
    prepared.close()
    assert not os.path.exists(prepared.scratch.name)


def test_a_prepared_worker_takes_the_run_and_is_found_by_it(config):
    prepared = Prepared("local")
    worker = Worker(config, prepared)
    found = RunsIndex(Workspace(pathlib.Path(config.root))).workers()
    assert found == {worker.folder.id: prepared.process.pid}
    worker.stop()
    [reason] = worker.result()["reasons"]
    assert reason["code"] == "INTERRUPTED"


def test_one_that_does_not_fit_makes_room_for_one_that_does(config):
    prepared = Prepared("beam")
    worker = Worker(config, prepared)
    assert prepared.process.poll() is not None
    worker.stop()


def test_a_supervisor_waits_until_it_is_taken_or_let_go(tmp_path):
    standby = Standby()
    before = children()
    standby.prepare(tmp_path, "local")
    standby.prepare(tmp_path, "local")
    [waiting] = children() - before
    taken = standby.take(tmp_path, "local")
    assert taken.pid == waiting
    taken.stdin.close()  # there will be no run
    standby.prepare(tmp_path, "local")
    [other] = children() - before - {waiting}
    standby.close()
    assert taken.wait(60) == 0
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(other).wait(60)
        psutil.Process(other)
