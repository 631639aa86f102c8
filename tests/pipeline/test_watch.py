"""`flywheel run --watch`, as someone who edits the config and saves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from sklearn import datasets

from tests.conftest import ROOT, children

pytestmark = pytest.mark.slow


class Watching:
    """The command at work, with what it has said so far."""

    def __init__(self, folder):
        self.folder = folder
        self._said, self._results = folder / "said.txt", folder / "results.txt"
        with open(self._said, "wb") as said, open(self._results, "wb") as results:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "run", "--watch", "--json"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=results,
                stderr=said,
                # Whatever started the tests, Ctrl-C reaches it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    @property
    def results(self) -> list[dict]:
        return [json.loads(line) for line in self._results.read_text("utf-8").splitlines()]

    def said(self) -> str:
        return self._said.read_text("utf-8")

    def wait_until_it_watches(self, times: int) -> None:
        until = time.monotonic() + 180
        while self.said().count("Ctrl-C ends") < times:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.1)

    def edit(self, pattern: str, new: str) -> None:
        path = self.folder / "flywheel.yaml"
        text, count = re.subn(pattern, new, path.read_text("utf-8"))
        assert count
        path.write_text(text, encoding="utf-8")


def test_every_saved_change_is_a_run_and_a_mistake_is_told(flywheel):
    datasets.load_iris(as_frame=True).frame.to_csv(flywheel.folder / "iris.csv", index=False)
    flywheel("init", "iris.csv")
    path = flywheel.folder / "flywheel.yaml"
    path.write_text(path.read_text("utf-8") + "\ntrainer:\n  epochs: 2\n", encoding="utf-8")
    watching = Watching(flywheel.folder)
    try:
        watching.wait_until_it_watches(1)
        assert "✗" in watching.said(), "there is no such key, and it went on watching"
        assert watching.results == []
        watching.edit(r"\ntrainer:\n  epochs: 2\n", "\nevaluation:\n  min_slice_rows: 20\n")
        watching.wait_until_it_watches(2)
        first = watching.results[-1]
        assert {one["cache"] for one in first["cache"].values()} == {"miss"}
        assert not any(one["changed"] for one in first["cache"].values()), "nothing to reuse yet"
        watching.edit("min_slice_rows: 20", "min_slice_rows: 21")
        watching.wait_until_it_watches(3)
        assert len(watching.results) == 2
        second = watching.results[-1]
        assert second["run_id"] != first["run_id"]
        assert second["components"]["Trainer"] == "cached"
        assert second["components"]["Evaluator"] == "complete"
        assert second["cache"]["Evaluator"]["changed"] == ["`options.min_slice_rows` 20 → 21"]
        hits = [name for name, one in second["cache"].items() if one["cache"] == "hit"]
        assert {"ExampleGen", "Trainer", "Distiller", "TFLiteQuantizer"} <= set(hits)
        told = watching.said().splitlines()
        assert "MISS  `options.min_slice_rows` 20 → 21  Evaluator" in told
        assert any(line.startswith("HIT   ") and "Trainer" in line for line in told)
        [ready] = children(watching.process.pid)  # with everything imported, for the next change
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait(30) == 130
        until = time.monotonic() + 30
        while os.path.exists(f"/proc/{ready}"):
            assert time.monotonic() < until, "it outlived the one who held it ready"
            time.sleep(0.1)
    finally:
        watching.process.kill()
        watching.process.wait()
