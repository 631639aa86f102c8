"""The configs of the golden files, and their compilation. Imports TFX."""

from __future__ import annotations

import pathlib

from pipeline import config as config_module
from pipeline.config import Config
from pipeline.kubeflow.compile import compile_config
from pipeline.kubeflow.document import Document

HERE = pathlib.Path(__file__).parent
#: Golden file to its config and target.
GOLDEN = {
    "plain.kfp.yaml": ("plain.yaml", "kfp"),
    "full.kfp.yaml": ("full.yaml", "kfp"),
    "vertex.json": ("vertex.yaml", "vertex"),
}


def config(name: str) -> Config:
    """One of the configs."""
    return config_module.load(HERE / "configs" / name)


def compiled(golden: str) -> Document:
    """The document that a golden file holds."""
    name, target = GOLDEN[golden]
    return compile_config(config(name), target)  # type: ignore[arg-type]
