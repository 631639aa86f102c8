"""A small model, converted by the real converter and published in a registry of its own."""

from __future__ import annotations

import atexit
import functools
import pathlib
import shutil
import tempfile

import numpy as np

from models import golden
from models.predictor import Predictor
from models.registry import MODEL_FILE, Registry
from models.spec import SPEC_FILE
from tests.monitoring.log_files import SPEC


@functools.cache
def model() -> pathlib.Path:
    """Folder of a TFLite file whose score is logistic in the fare, converted once per process."""
    import tensorflow as tf

    folder = pathlib.Path(tempfile.mkdtemp(prefix="monitored-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    module = tf.Module()

    def tensor(name: str, kind: tf.DType) -> tf.TensorSpec:
        return tf.TensorSpec([None, 1], kind, name)

    @tf.function(
        input_signature=[
            tensor("fare", tf.float32),
            tensor("area", tf.float32),
            tensor("company", tf.string),
        ]
    )
    def answer(fare, area, company):
        known = tf.cast(tf.equal(company, "b"), tf.float32)
        return {"probability": tf.sigmoid((fare - 8.0) / 4.0 + 0.02 * area + 0.1 * known)}

    module.answer = answer
    signatures = {"serving_default": answer.get_concrete_function()}
    tf.saved_model.save(module, str(folder / "saved"), signatures=signatures)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    (folder / MODEL_FILE).write_bytes(converter.convert())
    SPEC.save(folder)
    return folder


def deploy(root: pathlib.Path) -> tuple[Registry, str]:
    """A registry with the model pushed to it."""
    folder = model()
    inputs = {
        "fare": np.array([[5.0], [20.0]], np.float32),
        "area": np.array([[1.0], [2.0]], np.float32),
        "company": np.array([[b"a"], [b"b"]], object),
    }
    root.mkdir(parents=True)
    registry = Registry(root)
    version, _ = registry.publish(
        {
            MODEL_FILE: folder / MODEL_FILE,
            SPEC_FILE: folder / SPEC_FILE,
            golden.GOLDEN_FILE: golden.record(Predictor.load(folder), inputs),
        },
        {"run_id": "r", "data_fingerprint": "f", "metrics": {"auc": 0.75, "accuracy": 0.7}},
    )
    return registry, version
