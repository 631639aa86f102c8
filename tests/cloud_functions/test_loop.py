from __future__ import annotations

import json

import pytest

from models.registry import Registry
from monitoring import prediction_log


@pytest.mark.slow
def test_the_loop_closes_by_itself(flywheel):
    """Replayed trips drift, the alert's run pushes, and its version serves: all of it real."""
    summary = flywheel.json("functions", "loop", "--folder", "loop", timeout=900)
    assert summary["closed"] and summary["first"] != summary["last"]
    folder = flywheel.folder / "loop"
    registry = Registry(folder / "deployed")
    assert registry.current() == summary["last"] == summary["run"]["version"]
    assert [entry["to"] for entry in registry.history()] == [summary["first"], summary["last"]]
    assert set(summary["by_version"]) == {summary["first"], summary["last"]}
    assert sum(summary["by_version"].values()) == summary["replayed"][1]
    log = folder / ".flywheel" / "predictions"
    rows = sum(table.num_rows for table in prediction_log.read(log))
    labels = sum(table.num_rows for table in prediction_log.read_labels(log))
    assert rows == labels == summary["replayed"][1]
    told = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    assert any("rift" in message["title"] for message in told)
    status = flywheel.json("functions", "status", "--config", "loop/flywheel.yaml")
    assert status["brakes"]["in_flight"] is None and not status["dead_letters"]
    assert [end["state"] for end in status["brakes"]["ended"]] == ["pushed"]
