"""What one would do with the teacher by hand, following the tutorials of TensorFlow Lite and TFMOT.

Each function gets a teacher's folder and rows and answers with the bytes of a TFLite
file. They run in a process of their own: the converter may abort.
"""

from __future__ import annotations

import dataclasses
import tempfile

import numpy as np
import tensorflow as tf
import tf_keras

from models import bundle
from models.graph import Serving
from models.predictor import SIGNATURE
from models.rows import Rows
from models.training import fit

_REPRESENTATIVE = 100
_QAT_EPOCHS = 5


@dataclasses.dataclass(frozen=True)
class Job:
    """What a conversion by hand needs.

    Attributes:
      way: Key of `WAYS`.
      bundle: Folder of the teacher.
      rows: `.npz` as the recipes' conversions get it.
      output: Where the TFLite file goes.
    """

    way: str
    bundle: str
    rows: str
    output: str


def _converter(serving: Serving, folder: str) -> tf.lite.TFLiteConverter:
    tf.saved_model.save(serving, folder, signatures={SIGNATURE: serving.function()})
    return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])


def plain(spec, options, network, data) -> bytes:
    """`TFLiteConverter.convert()`."""
    with tempfile.TemporaryDirectory() as folder:
        return _converter(Serving(spec, network), folder).convert()


def default(spec, options, network, data) -> bytes:
    """The same with `Optimize.DEFAULT`: dynamic range."""
    with tempfile.TemporaryDirectory() as folder:
        converter = _converter(Serving(spec, network), folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def full_integer(spec, options, network, data) -> bytes:
    """The same with 100 representative rows, as in the post-training integer tutorial."""
    inputs = {n.removeprefix("input:"): data[n] for n in data.files if n.startswith("input:")}

    def rows():
        for row in range(_REPRESENTATIVE):
            yield SIGNATURE, {name: x[row : row + 1] for name, x in inputs.items()}

    with tempfile.TemporaryDirectory() as folder:
        converter = _converter(Serving(spec, network), folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = rows
        return converter.convert()


def aware(spec, options, network, data) -> bytes:
    """Quantization-aware training, then `Optimize.DEFAULT`: TFMOT's guide.

    Of all dense layers, and of all that a network of convolutions has.
    """
    import tensorflow_model_optimization as tfmot

    quantize, layers = tfmot.quantization.keras, tf_keras.layers
    known = (
        layers.Dense,
        layers.Conv2D,
        layers.BatchNormalization,
        layers.ReLU,
        layers.GlobalAveragePooling2D,
    )

    def annotate(layer):
        return quantize.quantize_annotate_layer(layer) if isinstance(layer, known) else layer

    copy = tf_keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    aware_network = quantize.quantize_apply(
        tf_keras.models.clone_model(copy, clone_function=annotate), scheme=_scheme()
    )
    train, valid = (
        Rows(
            **{key: data[f"{split}:{key}"] for key in ("numeric", "ids", "labels")},
            image=data[f"{split}:image"] if spec.image else None,
        )
        for split in ("train", "eval")
    )
    fit(
        aware_network,
        spec,
        train,
        valid,
        options.model_copy(update={"epochs": _QAT_EPOCHS, "dropout": 0.0}),
        name="by hand",
        usual_epochs=_QAT_EPOCHS,
    )
    with tempfile.TemporaryDirectory() as folder:
        converter = _converter(Serving(spec, aware_network), folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def _scheme():
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme,
    )

    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


WAYS = {
    "teacher": plain,
    "teacher, Optimize.DEFAULT": default,
    "teacher, full integer": full_integer,
    "teacher, QAT": aware,
}


def convert(job: Job) -> None:
    """Writes the TFLite file of a job."""
    spec, options, network = bundle.load(job.bundle)
    with np.load(job.rows, allow_pickle=True) as data:
        content = WAYS[job.way](spec, options, network, data)
    with open(job.output, "wb") as file:
        file.write(content)
