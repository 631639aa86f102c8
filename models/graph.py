"""The graph that turns raw features into what the network sees, and what it says into an answer.

Built-in TFLite operations only. All numbers go through one chain of operations
(concatenated first), all categories through one shared table (each feature's
ids start at its own offset): in small tabular models the operations per feature
outweigh the network.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.spec import MISSING_ID, OUT_OF_VOCABULARY_ID, RESERVED_IDS, ModelSpec


class Preprocessor(tf.Module):
    """Raw features to `(numeric, ids)`.

    `numeric` is float32 `[batch, numeric features]`, standardised; `ids` is
    int32 `[batch, categorical features]`, rows of the shared embedding table.
    """

    def __init__(self, spec: ModelSpec):
        super().__init__(name="preprocessor")
        self._spec = spec
        self._integers = [
            (f, o)
            for f, o in zip(spec.categorical, spec.offsets, strict=True)
            if f.dtype == "integer"
        ]
        self._strings = [
            (f, o)
            for f, o in zip(spec.categorical, spec.offsets, strict=True)
            if f.dtype == "string"
        ]
        self._tables = [_string_table(f.vocabulary, offset) for f, offset in self._strings]

    def __call__(self, inputs: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return self._numeric(inputs), self._ids(inputs)

    def _numeric(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        features = self._spec.numeric
        if not features:
            return _empty(inputs, tf.float32)
        constant = {
            key: tf.constant([[getattr(f, key) for f in features]], tf.float32)
            for key in ("impute", "low", "high", "mean")
        }
        scale = tf.constant([[1.0 / f.std for f in features]], tf.float32)
        x = _concat([inputs[f.name] for f in features])
        x = tf.where(tf.not_equal(x, x), constant["impute"], x)
        x = tf.minimum(tf.maximum(x, constant["low"]), constant["high"])
        # Not x * (1/std) - mean/std: that loses up to 0.6 standard deviations in float16.
        return (x - constant["mean"]) * scale

    def _ids(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        if not self._spec.categorical:
            return _empty(inputs, tf.int32)
        parts: dict[str, tf.Tensor] = {}
        if self._integers:
            ids = self._integer_ids(_concat([inputs[f.name] for f, _ in self._integers]))
            if not self._strings:
                return ids
            if [f for f, _ in self._integers] == list(
                self._spec.categorical[: len(self._integers)]
            ):
                return tf.concat([ids, self._string_ids(inputs)], axis=1)
            for column, (feature, _) in enumerate(self._integers):
                parts[feature.name] = ids[:, column : column + 1]
        if self._strings:
            ids = self._string_ids(inputs)
            if not self._integers:
                return ids
            for column, (feature, _) in enumerate(self._strings):
                parts[feature.name] = ids[:, column : column + 1]
        return _concat([parts[f.name] for f in self._spec.categorical])

    def _integer_ids(self, x: tf.Tensor) -> tf.Tensor:
        """One look-up for all integer features, each in its own stretch of one table.

        A stretch reads: missing, below the range, every whole number of the
        range, above it.
        """
        table, starts, lows, spans = [], [], [], []
        for feature, offset in self._integers:
            values = [int(v) for v in feature.vocabulary]
            low, span = min(values), max(values) - min(values)
            stretch = np.full(span + 4, offset + OUT_OF_VOCABULARY_ID, np.int32)
            stretch[0] = offset + MISSING_ID
            for position, value in enumerate(values):
                stretch[value - low + 2] = offset + RESERVED_IDS + position
            starts.append(float(len(table)))
            lows.append(float(low - 2))
            spans.append(float(span + 3))
            table.extend(stretch)
        index = tf.minimum(tf.maximum(x - tf.constant([lows]), 1.0), tf.constant([spans]))
        index = tf.where(tf.not_equal(x, x), tf.zeros([1, 1]), index) + tf.constant([starts])
        return tf.gather(tf.constant(table, tf.int32), tf.cast(index, tf.int32))

    def _string_ids(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        found = [
            table.lookup(inputs[feature.name])
            for table, (feature, _) in zip(self._tables, self._strings, strict=True)
        ]
        return tf.cast(_concat(found), tf.int32)


def _string_table(vocabulary: tuple[str, ...], offset: int) -> tf.lookup.StaticHashTable:
    keys = ["", *vocabulary]
    ids = [MISSING_ID, *range(RESERVED_IDS, RESERVED_IDS + len(vocabulary))]
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(keys), tf.constant([i + offset for i in ids], tf.int64)
        ),
        default_value=offset + OUT_OF_VOCABULARY_ID,
    )


def _concat(tensors: list[tf.Tensor]) -> tf.Tensor:
    return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis=1)


def _empty(inputs: dict[str, tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    return tf.zeros([tf.shape(next(iter(inputs.values())))[0], 0], dtype)


def input_signature(spec: ModelSpec, rows: int | None = None) -> dict[str, tf.TensorSpec]:
    """One `[rows, 1]` tensor per column and the pixels of the image, by the tensor's name."""
    strings = {f.name for f in spec.categorical if f.dtype == "string"}
    signature = {
        tensor: tf.TensorSpec([rows, 1], tf.string if name in strings else tf.float32, tensor)
        for name, tensor in spec.tensors.items()
    }
    if spec.image:
        tensor = spec.tensors[spec.image.name]
        signature[tensor] = tf.TensorSpec([rows, *spec.image.shape], tf.uint8, tensor)
    return signature


def answer(spec: ModelSpec, logits: tf.Tensor) -> tf.Tensor:
    """Logits `[batch, units]` to probabilities, or to a value in the label's own unit."""
    if spec.task == "binary":
        return tf.sigmoid(logits)
    if spec.task == "multiclass":
        return tf.nn.softmax(logits)
    return logits * spec.target_std + spec.target_mean


class Serving(tf.Module):
    """Raw features in, prediction out: what is exported and converted.

    Args:
      spec: The model's contract.
      network: `(numeric, ids) -> logits`.
      preprocessor: Shared with training when there is one already.
    """

    def __init__(self, spec: ModelSpec, network, preprocessor: Preprocessor | None = None):
        super().__init__(name="serving")
        self.spec = spec
        self.preprocessor = preprocessor or Preprocessor(spec)
        # Behind a function and a list of its weights: a Keras model as an attribute would make
        # saving trace every one of its layers, for seconds and for nothing.
        self._weights = network.weights
        self._network = lambda inputs: network(inputs, training=False)

    def predict(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inside = self.preprocessor(inputs)
        image = tf.cast(inputs[self.spec.image.name], tf.float32) if self.spec.image else None
        logits = self._network(network_inputs(self.spec, *inside, image))
        return {self.spec.output: answer(self.spec, logits)}

    def function(self, rows: int | None = None):
        """The concrete function over raw features, one keyword per tensor."""

        def serve(**inputs):
            return self.predict({name: inputs[t] for name, t in self.spec.tensors.items()})

        return tf.function(serve, autograph=False).get_concrete_function(
            **input_signature(self.spec, rows)
        )


def network_inputs(spec: ModelSpec, numeric, ids, image=None) -> list:
    """The inputs the network has: a spec without numeric features has no such input.

    Args:
      spec: The contract.
      numeric, ids, image: As in `rows.Rows`, arrays or tensors.
    """
    parts = ((spec.numeric, numeric), (spec.categorical, ids), (spec.image, image))
    return [part for has, part in parts if has]
