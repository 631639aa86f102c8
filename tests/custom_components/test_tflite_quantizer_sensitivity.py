"""One layer in 8 bits at a time, with the real converter."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow.lite.tools import flatbuffer_utils

from custom_components.tflite_quantizer import recipes, sensitivity
from custom_components.tflite_quantizer.convert import Job
from custom_components.tflite_quantizer.sensitivity import LayerDrop, LayerJob
from models import comparison, isolation
from models.predictor import Predictor, TFLiteRunner
from tests.custom_components import test_tflite_quantizer_recipes as real


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> real.Workshop:
    isolation.warm_up(["custom_components.tflite_quantizer.convert"])
    return real.Workshop(tmp_path_factory.mktemp("shop"))


def job(shop, output) -> Job:
    return Job(recipes.get("float32_compact"), shop.bundle, str(output), shop.rows, 1, 0)


def answers(content: bytes, shop) -> np.ndarray:
    return Predictor(real.SPEC, TFLiteRunner(content)).predict_inputs(shop.valid.inputs)


def integers(content: bytes) -> dict[str, bool]:
    """Whether each layer is stored in 8 bits."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    hidden, logits = (kind == "INT8" for kind, _ in real.dense_weights(model))
    return {"embedding": real.embedding(model)[0] == "INT8", "hidden_1": hidden, "logits": logits}


def test_each_file_has_that_layer_in_8_bits_and_no_other(shop, tmp_path):
    names = sensitivity.layers(real.SPEC, real.OPTIONS)
    assert names == ("embedding", "hidden_1", "logits")
    for position, name in ((None, None), (None, "embedding"), (0, "hidden_1"), (1, "logits")):
        path = tmp_path / str(name)
        sensitivity.convert_layer(LayerJob(job(shop, path), name, position))
        content = path.read_bytes()
        assert integers(content) == {layer: layer == name for layer in names}
        off = np.abs(answers(content, shop) - shop.reference).max()
        assert off < 2e-6 if name is None else 1e-4 < off < 0.3


@pytest.mark.slow
def test_drops_with_intervals_for_every_layer(shop, tmp_path):
    seen = []

    def judge(content):
        seen.append(len(np.unique(answers(content, shop))))
        found = comparison.drop("binary", shop.labels, shop.reference, answers(content, shop))
        return found.to_dict()

    found = sensitivity.sensitivity(
        job(shop, tmp_path / "out"),
        real.SPEC,
        real.OPTIONS,
        judge,
        seconds=120,
        memory_mb=8192,
    )
    by_layer = {d.layer: d for d in found}
    assert list(by_layer) == ["embedding", "hidden_1", "logits"]
    assert by_layer["embedding"].bytes_saved > 500
    for drop in found:
        assert drop.quality["low"] <= drop.quality["drop"] <= drop.quality["high"]
        assert drop.to_dict()["quality"]["metric"] == "auc"
    # In 8 bits the last layer gives 256 answers at most.
    assert seen[2] <= 256 < min(seen[:2])
    assert not list(tmp_path.iterdir())  # the files were for this only


def test_what_aborts_or_hangs_is_one_row(shop, tmp_path, monkeypatch):
    made = isolation.run_isolated

    def fails_for_hidden(function, argument, **bounds):
        if argument.layer == "hidden_1":
            raise isolation.Isolated("crashed (SIGABRT)")
        made(function, argument, **bounds)

    monkeypatch.setattr(isolation, "run_isolated", fails_for_hidden)
    found = sensitivity.sensitivity(
        job(shop, tmp_path / "out"),
        real.SPEC,
        real.OPTIONS,
        lambda content: {"high": 0.0},
        seconds=120,
        memory_mb=8192,
        workers=2,
    )
    assert [d.reason for d in found] == ["", "crashed (SIGABRT)", ""]
    assert found[1].bytes_saved is None and found[1].quality == {}


def test_layers_that_may_lose_too_much_stay_float_the_worst_first():
    found = [
        LayerDrop("embedding", 10, {"high": 0.004}),
        LayerDrop("hidden_1", 10, {"high": 0.001}),
        LayerDrop("hidden_2", reason="crashed (SIGABRT)"),
        LayerDrop("logits", -3, {"high": 0.02}),
        LayerDrop("logits_2", -3, {"high": None}),
    ]
    assert sensitivity.least_tolerant(found, 0.003) == ("logits_2", "logits", "embedding")
    assert sensitivity.least_tolerant(found, 1.0) == ("logits_2",)
