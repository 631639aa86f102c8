"""`flywheel monitor`, as a user types it: rows from elsewhere, late labels, the report."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, Flywheel
from tests.monitoring.deployed import deploy

pytestmark = pytest.mark.slow  # converts a model with TensorFlow


def rows(n: int, seed: int, factor: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    fare = rng.lognormal(2.0, 0.6, n) * factor
    chance = 1 / (1 + np.exp(-(fare - 8) / 4))
    return pd.DataFrame(
        {
            "fare": fare,
            "area": rng.integers(1, 4, n),
            "company": rng.choice(["a", "b"], n),
            "tips": np.where(rng.random(n) < chance, "yes", "no"),
        }
    )


def window(n: int, day: int, **options: object) -> pd.DataFrame:
    frame = rows(n, day, **options)
    moments = pd.date_range(f"2026-03-0{day}", periods=n, freq="40s", tz="UTC")
    frame.insert(0, "request_id", [f"d{day}-{i}" for i in range(n)])
    frame.insert(1, "time", moments.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return frame


@pytest.fixture
def site(flywheel: Flywheel) -> Flywheel:
    """A folder with a config and a deployed model."""
    deploy(flywheel.folder / "deployed")
    rows(6000, 0).to_csv(flywheel.folder / "base.csv", index=False)
    config = {
        "version": 1,
        "name": "rides",
        "data": {"path": "base.csv"},
        "task": {"label": "tips", "type": "binary"},
        "features": {"fare": "numeric", "area": "categorical", "company": "categorical"},
        "monitoring": {"reference": "base.csv", "slices": ["company"]},
    }
    (flywheel.folder / "flywheel.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return flywheel


def test_rows_labels_and_the_report(site: Flywheel) -> None:
    folder = site.folder
    first = window(1500, 2)
    first.drop(columns="tips").to_csv(folder / "day2.csv", index=False)
    found = site.json("monitor", "--log", "day2.csv")
    assert found["imported"]["rows"] == 1500 and found["imported"]["predicted"]
    (kept,) = found["windows"]
    assert kept["rows"] == 1500 and kept["state"] == "CLOSED" and kept["findings"] == []
    again = site.json("monitor", "--log", "day2.csv")  # the same file is there already
    assert again["read"]["rows"] == 0 and again["windows"] == []

    labels = first[["request_id", "tips"]].rename(columns={"tips": "label"})
    labels.to_json(folder / "labels.jsonl", orient="records", lines=True)
    found = site.json("monitor", "--labels", "labels.jsonl")
    (kept,) = found["windows"]
    assert kept["state"] == "REVISED"
    auc = next(m for m in kept["measures"] if m["statistic"] == "auc" and not m["slice"])
    assert auc["low"] < auc["value"] < auc["high"]

    window(1500, 3, factor=1.5).to_parquet(folder / "day3.parquet")
    done = site("monitor", "--log", "day3.parquet")
    assert "fare" in done.stdout and "→" in done.stdout
    assert "1 window measured" in done.stderr
    page = (folder / ".flywheel" / "monitoring" / "index.html").read_text("utf-8")
    assert "fare" in page and "http" not in page.split("<main>")[1].replace("http-equiv", "")
    pages = sorted(p.name for p in (folder / ".flywheel" / "monitoring").glob("*.html"))
    assert len(pages) == 3
    beside = json.loads(
        (folder / ".flywheel" / "monitoring" / "1d-2026-03-03T00-00.json").read_text("utf-8")
    )
    assert any(f["feature"] == "fare" for f in beside["findings"])


def test_predict_writes_the_log_and_monitor_reads_it(site: Flywheel) -> None:
    rows(300, 5).to_csv(site.folder / "new.csv", index=False)
    done = site.json("predict", "new.csv")
    assert done["log"] == str(site.folder / ".flywheel" / "predictions")
    found = site.json("monitor")
    assert found["read"]["rows"] == 300 and found["windows"] == []  # today is not over
    assert "1 window open" in found["summary"]
    assert site.json("predict", "new.csv", "--no-log")["log"] is None
    assert site.json("monitor")["read"]["rows"] == 0


def test_nothing_to_look_at_and_wrong_names(site: Flywheel) -> None:
    assert "nothing to look at" in site.json("monitor")["summary"]
    assert site.json("monitor", "--log", "no.csv", check=2)["reasons"][0]["code"] == "NO_FILES"
    (site.folder / "bad.csv").write_text("request_id,x\n1,2\n", encoding="utf-8")
    found = site.json("monitor", "--labels", "bad.csv", check=3)
    assert found["reasons"][0]["code"] == "NO_LABELS"
    config = yaml.safe_load((site.folder / "flywheel.yaml").read_text("utf-8"))
    config["monitoring"]["slices"] = ["fare"]
    (site.folder / "flywheel.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert site.json("monitor", check=2)["reasons"][0]["code"] == "UNKNOWN_SLICE"


def test_no_tensorflow_is_imported(site: Flywheel) -> None:
    window(500, 2).to_csv(site.folder / "day2.csv", index=False)
    program = (
        "import sys\n"
        "for name in ('tensorflow', 'tfx', 'tensorflow_data_validation', 'apache_beam'):\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['flywheel', 'monitor', '--log', 'day2.csv', '--json']\n"
        "from pipeline.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=site.folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(site.folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["windows"]


def test_the_folder_of_reports_is_made_of_whole_files(site: Flywheel) -> None:
    window(500, 2).to_csv(site.folder / "day2.csv", index=False)
    site("monitor", "--log", "day2.csv")
    names = [p.name for p in pathlib.Path(site.folder / ".flywheel" / "monitoring").iterdir()]
    assert names and not any(name.startswith(".") for name in names)
