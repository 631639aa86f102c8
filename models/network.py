"""The networks: one shared embedding table, the numbers, a few dense layers; convolutions.

Teacher and student differ in their options only. A picture goes through blocks of convolutions
and the mean over its places joins the other features.
"""

from __future__ import annotations

import math

import tensorflow as tf
import tf_keras

from models.options import NetworkOptions
from models.spec import ModelSpec

_FREQUENCY_SCALE = 1.0
_PERIODIC_WIDTH = 8
#: Of the moving moments: Keras's 0.99 takes hundreds of steps to forget where it began.
_MOMENTUM = 0.9


@tf_keras.utils.register_keras_serializable("flywheel")
class PeriodicEmbedding(tf_keras.layers.Layer):
    """Each number as a small vector, through sines and cosines of learnt frequencies.

    Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in
    Tabular Deep Learning" (2022), section 3.3: ReLU(Linear([sin(2πcx), cos(2πcx)])),
    frequencies c and linear map per feature. It lets a network draw the sharp
    steps that trees draw.

    Input `[batch, features]`, output `[batch, features * width]`.

    Args:
      frequencies: Learnt frequencies per feature.
      width: Length of each feature's vector.
    """

    def __init__(self, frequencies: int, width: int = _PERIODIC_WIDTH, **kwargs):
        super().__init__(**kwargs)
        self.frequencies, self.width = frequencies, width

    def build(self, shape):
        features = int(shape[-1])
        self.c = self.add_weight(
            "frequencies",
            (features, 1, self.frequencies),
            initializer=tf_keras.initializers.RandomNormal(0.0, _FREQUENCY_SCALE),
        )
        self.kernel = self.add_weight(
            "kernel", (features, 2 * self.frequencies, self.width), initializer="glorot_uniform"
        )
        self.bias = self.add_weight("bias", (features, 1, self.width), initializer="zeros")
        super().build(shape)

    def call(self, x):
        by_feature = tf.transpose(x)[:, :, tf.newaxis]  # [features, batch, 1]
        angles = 2 * math.pi * by_feature * self.c
        waves = tf.concat([tf.sin(angles), tf.cos(angles)], axis=2)
        vectors = tf.nn.relu(tf.matmul(waves, self.kernel) + self.bias)
        features = vectors.shape[0]
        return tf.reshape(tf.transpose(vectors, [1, 0, 2]), [-1, features * self.width])

    def compute_output_shape(self, shape):
        return (shape[0], shape[1] * self.width)

    def get_config(self):
        return {**super().get_config(), "frequencies": self.frequencies, "width": self.width}


def build_network(spec: ModelSpec, options: NetworkOptions, seed: int = 0) -> tf_keras.Model:
    """An untrained network `(numeric, ids, image) -> logits [batch, units]`, as the spec has them.

    Args:
      spec: Fixes the widths of input and output.
      options: Embedding width, hidden layers, dropout, frequencies.
      seed: Of the initial weights.
    """
    tf_keras.utils.set_random_seed(seed)
    layers = tf_keras.layers
    inputs, parts = [], []
    if spec.numeric:
        numeric = tf_keras.Input((len(spec.numeric),), name="numeric")
        inputs.append(numeric)
        parts.append(numeric)
        if options.frequencies:
            x = PeriodicEmbedding(options.frequencies, name="periodic")(numeric)
            if options.dropout:
                x = layers.Dropout(options.dropout, name="periodic_dropout")(x)
            parts.append(x)
    if spec.categorical:
        ids = tf_keras.Input((len(spec.categorical),), dtype="int32", name="ids")
        inputs.append(ids)
        x = layers.Embedding(spec.table_size, options.embedding, name="embedding")(ids)
        if options.dropout:
            x = layers.Dropout(options.dropout, name="embedding_dropout")(x)
        width = len(spec.categorical) * options.embedding
        parts.append(layers.Reshape((width,), name="embedded")(x))
    if spec.image:
        image = tf_keras.Input(spec.image.shape, name="image")
        inputs.append(image)
        parts.insert(0, _picture(image, options))
    x = layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
    for number, units in enumerate(options.hidden, 1):
        x = layers.Dense(units, activation="relu", name=f"hidden_{number}")(x)
        if options.dropout:
            x = layers.Dropout(options.dropout, name=f"dropout_{number}")(x)
    return tf_keras.Model(inputs, layers.Dense(spec.units, name="logits")(x))


def _picture(image: tf.Tensor, options: NetworkOptions) -> tf.Tensor:
    """Pixels 0 to 255, `[batch, height, width, channels]`, to one value per filter.

    Always convolution, batch normalisation, ReLU, each a layer: converters fold the second into
    the first, and quantization-aware training knows the three as one in this order only. What is
    normalised does not depend on the scale of the pixels, so nothing is divided by 255.
    Separable blocks: Howard et al., "MobileNets" (2017), section 3.1.
    """
    layers = tf_keras.layers
    x = image
    for number, filters in enumerate(options.blocks(*image.shape[1:3]), 1):
        # Halved between blocks, not before the first: small pictures have nothing to spare.
        strides = 1 if number == 1 else 2
        name = f"block_{number}"
        if options.convolution == "full" or number == 1:
            x = _convolution(x, layers.Conv2D, name, strides, filters=filters, kernel_size=3)
        else:
            x = _convolution(x, layers.DepthwiseConv2D, f"{name}_depthwise", strides, kernel_size=3)
            x = _convolution(x, layers.Conv2D, name, 1, filters=filters, kernel_size=1)
        if options.convolution == "full":
            x = _convolution(x, layers.Conv2D, f"{name}_second", 1, filters=filters, kernel_size=3)
    return layers.GlobalAveragePooling2D(name="pooled")(x)


def _convolution(x: tf.Tensor, kind: type, name: str, strides: int, **shape) -> tf.Tensor:
    layers = tf_keras.layers
    x = kind(strides=strides, padding="same", use_bias=False, name=name, **shape)(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
