"""Folders with a config, a table, and runs as the pipeline leaves them."""

from __future__ import annotations

import datetime
import pathlib

import numpy as np
import pandas as pd
import yaml

from monitoring.store import Store
from monitoring.store.incidents import Incident
from monitoring.store.windows import FindingRow, MeasureRow, Window
from tests.pipeline.report_files import Names
from tests.pipeline.report_runs import MadeRun, make_run


def write_table(path: pathlib.Path, rows: int = 900) -> None:
    """Three kinds of flowers by two measures."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, rows)
    table = pd.DataFrame(
        {
            "petal_length": (1.5 + 1.8 * kind + rng.normal(0, 0.4, rows)).round(2),
            "petal_width": (0.2 + 0.9 * kind + rng.normal(0, 0.2, rows)).round(2),
            "garden": rng.choice(["north", "south"], rows),
            "species": np.array(["setosa", "versicolor", "virginica"])[kind],
        }
    )
    table.to_csv(path, index=False)


def write_config(folder: pathlib.Path, **more: object) -> None:
    """A config whose run takes seconds, beside its table."""
    write_table(folder / "iris.csv")
    config = {
        "version": 1,
        "name": "iris",
        "data": {"path": "iris.csv"},
        "task": {"label": "species", "type": "multiclass"},
        "features": {
            "petal_length": "numeric",
            "petal_width": "numeric",
            "garden": "categorical",
        },
        "teacher": {"epochs": 8},
        "student": {"epochs": 8},
        "distillation": {"teachers": ["network"]},
        "quantizer": {"recipes": ["float32", "dynamic_range"]},
        **more,
    }
    (folder / "flywheel.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")


def add_run(
    folder: pathlib.Path, state: str = "pushed", names: Names | None = None, **options
) -> MadeRun:
    """A run in the folder's workspace, made of real metadata and files."""
    made = make_run(folder / ".flywheel", state, names=names, **options)
    made.folder.events.write_text("")
    made.folder.log.write_text("2026-03-01 INFO the log\n")
    return made


def deploy(folder: pathlib.Path, run_id: str) -> str:
    """A small real version in the folder's registry, as if that run had pushed it; its name."""
    from models import golden
    from models.predictor import Predictor
    from models.registry import MODEL_FILE, Registry
    from models.spec import SPEC_FILE
    from tests.monitoring import deployed

    made = deployed.model()
    inputs = {
        "fare": np.array([[5.0], [20.0]], np.float32),
        "area": np.array([[1.0], [2.0]], np.float32),
        "company": np.array([[b"a"], [b"b"]], object),
    }
    files = {
        MODEL_FILE: made / MODEL_FILE,
        SPEC_FILE: made / SPEC_FILE,
        golden.GOLDEN_FILE: golden.record(Predictor.load(made), inputs),
    }
    (folder / "deployed").mkdir()
    about = {"run_id": run_id, "data_fingerprint": "f", "metrics": {"auc": 0.75}}
    return Registry(folder / "deployed").publish(files, about)[0]


def watch(folder: pathlib.Path, version: str, feature: str, text: str) -> None:
    """Two windows of a version in the monitor's store: one quiet, one with a drift and an alert."""
    now = datetime.datetime.now(datetime.timezone.utc)
    store = Store(f"sqlite:///{folder / '.flywheel/monitoring.sqlite'}")
    finding = {"feature": feature, "severity": "warning", "words": text, "kind": "drift"}
    with store.session() as session:
        for number, psi in enumerate((0.01, 0.4)):
            identity = f"iris/time/{number}"
            start = now - datetime.timedelta(hours=2 - number)
            session.add(
                Window(
                    id=identity, scope="iris", kind="time", number=number, start=start,
                    end=start + datetime.timedelta(hours=1), state="CLOSED", rows=900,
                    versions={version: 900}, measured_at=now,
                )
            )  # fmt: skip
            session.flush()
            for name, statistic, family, against, value in (
                (feature, "psi", "distance", "training", psi),
                ("(prediction)", "auc", "performance", "training", 0.9 - psi),
                ("(prediction)", "estimated_auc", "estimate", "training", 0.88),
                ("(prediction)", "psi", "distance", "training", 0.05),
                ("(window)", "latency_p99_ms", "quality", "none", 4.0),
            ):
                session.add(
                    MeasureRow(
                        window_id=identity, feature=name, statistic=statistic, family=family,
                        against=against, value=value, n=900, reference_n=900, words=text,
                    )
                )  # fmt: skip
        session.add(FindingRow(window_id="iris/time/1", content=finding))
        session.add(
            Incident(
                key=f"drift/{feature}", kind="drift", severity="warning", state="open",
                title=text, features=[feature], findings=[finding], windows=1, clean=0,
                escalated=False,
                first_window="iris/time/1", last_window="iris/time/1", opened_at=now, seen_at=now,
                comments=[{"time": now.isoformat(), "who": text, "text": text}], pending="",
            )
        )  # fmt: skip
    store.close()
