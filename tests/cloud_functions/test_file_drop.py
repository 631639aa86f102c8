"""A file is dropped into a folder, and its model serves: nothing in between is of this test."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys

import httpx
import pytest
import yaml

from cloud_functions.local import free_port
from cloud_functions.predict.client import Client
from models.registry import Registry
from tests.cloud_functions.test_predict import wait_until
from tests.conftest import ROOT


def orders(seed: int, rows: int = 1500) -> list[dict]:
    """Orders that come back when they are large and paid by invoice, more or less."""
    draw = random.Random(seed)
    made = []
    for _ in range(rows):
        amount, paid = draw.gammavariate(2.0, 20.0), draw.choice(["card", "cash", "invoice"])
        odds = 0.85 if amount > 40 and paid == "invoice" else 0.15
        back = "yes" if draw.random() < odds else "no"
        made.append({"amount": round(amount, 2), "paid": paid, "returned": back})
    return made


@pytest.mark.slow
def test_a_dropped_file_becomes_the_model_that_serves(flywheel):
    folder = flywheel.folder
    settings = {
        "version": 1,
        "name": "orders",
        "data": {"path": "not there yet.csv", "split": {"by": "hash"}},
        "task": {"label": "returned", "type": "binary"},
        "features": {"amount": "numeric", "paid": "categorical"},
        "teacher": {"epochs": 25},
        "student": {"epochs": 25},
        "quantizer": {"recipes": ["float32", "dynamic_range"]},
        "serving": {"port": free_port(), "reload_seconds": 0.2},
        "automation": {"data": {"pattern": "*.csv", "quiet_seconds": 2}, "check_seconds": 600},
    }
    (folder / "flywheel.yaml").write_text(yaml.safe_dump(settings))
    with open(folder / "up.log", "wb") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "functions", "up", "--inbox", "drops"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{settings['serving']['port']}"
    try:
        with Client(url, "orders") as client:
            wait_until(lambda: answers(url), 120)
            assert client.ready() is None  # nothing has been deployed
            drop = folder / "drops" / "monday"
            drop.mkdir(parents=True)
            (drop / "note.txt").write_text("no data")
            with open(drop / "orders.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, ["amount", "paid", "returned"])
                writer.writeheader()
                writer.writerows(orders(7))
            wait_until(lambda: client.ready() or up.poll() is not None, 600)
            registry = Registry(folder / "deployed")
            large, small = {"amount": 90.0, "paid": "invoice"}, {"amount": 5.0, "paid": "cash"}
            answer = client.predict([large, small])
        assert answer.version == registry.current()
        assert [p["prediction"] for p in answer.predictions] == ["yes", "no"]
        wait_until(lambda: flywheel.json("functions", "status")["brakes"]["ended"], 60)
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0, (folder / "up.log").read_text()
    status = flywheel.json("functions", "status")
    [start], [end] = status["brakes"]["starts"], status["brakes"]["ended"]
    assert start["job"] == end["job"] and end["state"] == "pushed"
    assert start["why"].startswith("New data: 1 files") and str(drop) in start["why"]
    assert status["brakes"]["in_flight"] is None and not status["dead_letters"]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False
