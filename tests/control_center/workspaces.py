"""Folders with a config, a table, and runs as the pipeline leaves them."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import yaml

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
