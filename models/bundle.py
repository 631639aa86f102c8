"""A trained network on disk: contract, shape and weights, from which every export is made.

model.json                the contract (models.spec)
network.json              the options the network was built with
weights.npz               its weights, in the network's own order
Format-Serving/           SavedModel: `serving_default` takes serialised tf.Examples,
                          `raw` takes one [batch, 1] tensor per feature
"""

from __future__ import annotations

import math
import pathlib

import numpy as np
import tensorflow as tf
import tf_keras

from models import images
from models.graph import Serving
from models.network import build_network
from models.options import NetworkOptions
from models.predictor import RAW_SIGNATURE, SERVING_FOLDER, SIGNATURE
from models.spec import CategoricalFeature, Feature, ImageFeature, ModelSpec

NETWORK_FILE = "network.json"
WEIGHTS_FILE = "weights.npz"


def save(folder: str, spec: ModelSpec, options: NetworkOptions, network: tf_keras.Model) -> None:
    """Writes all of the above."""
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    spec.save(path)
    (path / NETWORK_FILE).write_text(
        options.model_dump_json(include=set(NetworkOptions.model_fields)), encoding="utf-8"
    )
    np.savez(path / WEIGHTS_FILE, *network.get_weights())
    export_saved_model(Serving(spec, network), str(path / SERVING_FOLDER))


def load(folder: str) -> tuple[ModelSpec, NetworkOptions, tf_keras.Model]:
    """Rebuilds the network with its weights."""
    path = pathlib.Path(folder)
    spec = ModelSpec.load(path)
    options = NetworkOptions.model_validate_json((path / NETWORK_FILE).read_text("utf-8"))
    network = build_network(spec, options)
    with np.load(path / WEIGHTS_FILE) as weights:
        network.set_weights([weights[name] for name in weights.files])
    return spec, options, network


def export_saved_model(serving: Serving, folder: str) -> None:
    """Writes a SavedModel that TFMA, TF Serving and plain TensorFlow can call."""
    spec = serving.spec
    raw = serving.function()

    def from_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, _parsing(spec))
        return serving.predict({f.name: _as_input(f, parsed[f.name]) for f in spec.features})

    examples = tf.function(from_examples, autograph=False).get_concrete_function(
        tf.TensorSpec([None], tf.string, "examples")
    )
    tf.saved_model.save(serving, folder, signatures={SIGNATURE: examples, RAW_SIGNATURE: raw})


_NO_INTEGER = tf.int64.min


def _parsing(spec: ModelSpec) -> dict[str, tf.io.FixedLenFeature]:
    """How each column stands in a tf.Example, with what marks a missing cell."""
    kinds = {
        "integer": tf.io.FixedLenFeature([1], tf.int64, _NO_INTEGER),
        "real": tf.io.FixedLenFeature([1], tf.float32, math.nan),
        "text": tf.io.FixedLenFeature([1], tf.string, ""),
    }
    parsing = {f.name: kinds[f.column_type] for f in (*spec.numeric, *spec.categorical)}
    if spec.image:
        parsing[spec.image.name] = tf.io.FixedLenFeature([], tf.string, "")
    return parsing


def _pixels(feature: ImageFeature, files: tf.Tensor) -> tf.Tensor:
    """Decoded images, uint8 `[batch, height, width, channels]`.

    Of the model's size they are what `models.images` decodes, as ExampleGen wrote them; others
    are resized by TensorFlow, whose filter differs from Pillow's in the last digit.
    """
    height, width, channels = feature.shape
    black = images.encode(images.black(feature.shape))

    def one(content: tf.Tensor) -> tf.Tensor:
        content = tf.where(tf.equal(content, ""), black, content)
        picture = tf.io.decode_image(content, channels=channels, expand_animations=False)
        picture = tf.image.resize(picture, [height, width], antialias=True)
        return tf.cast(tf.round(tf.clip_by_value(picture, 0.0, 255.0)), tf.uint8)

    return tf.ensure_shape(
        tf.map_fn(one, files, fn_output_signature=tf.uint8), [None, height, width, channels]
    )


def _as_input(feature: Feature, x: tf.Tensor) -> tf.Tensor:
    """A parsed column as the model's input."""
    if isinstance(feature, ImageFeature):
        return _pixels(feature, x)
    text = isinstance(feature, CategoricalFeature) and feature.dtype == "string"
    if x.dtype != tf.int64:
        return x
    missing = tf.equal(x, _NO_INTEGER)
    if text:
        return tf.where(missing, "", tf.strings.as_string(x))
    return tf.where(missing, math.nan, tf.cast(x, tf.float32))
