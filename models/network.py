"""The networks: one shared embedding table, the numbers, a few dense layers.

Teacher and student differ in their options only.
"""

from __future__ import annotations

import tf_keras

from models.options import NetworkOptions
from models.spec import ModelSpec


def build_network(spec: ModelSpec, options: NetworkOptions, seed: int = 0) -> tf_keras.Model:
    """An untrained network `(numeric, ids) -> logits [batch, units]`.

    Args:
      spec: Fixes the widths of input and output.
      options: Embedding width, hidden layers, dropout.
      seed: Of the initial weights.
    """
    tf_keras.utils.set_random_seed(seed)
    layers = tf_keras.layers
    inputs, parts = [], []
    if spec.numeric:
        numeric = tf_keras.Input((len(spec.numeric),), name="numeric")
        inputs.append(numeric)
        parts.append(numeric)
    if spec.categorical:
        ids = tf_keras.Input((len(spec.categorical),), dtype="int32", name="ids")
        inputs.append(ids)
        x = layers.Embedding(spec.table_size, options.embedding, name="embedding")(ids)
        if options.dropout:
            x = layers.Dropout(options.dropout, name="embedding_dropout")(x)
        width = len(spec.categorical) * options.embedding
        parts.append(layers.Reshape((width,), name="embedded")(x))
    x = layers.Concatenate(name="features")(parts) if len(parts) > 1 else parts[0]
    for number, units in enumerate(options.hidden, 1):
        x = layers.Dense(units, activation="relu", name=f"hidden_{number}")(x)
        if options.dropout:
            x = layers.Dropout(options.dropout, name=f"dropout_{number}")(x)
    return tf_keras.Model(inputs, layers.Dense(spec.units, name="logits")(x))
