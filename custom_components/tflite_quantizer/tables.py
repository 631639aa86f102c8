"""Smaller tables: fewer categories, a narrower embedding, a layout that needs less graph.

In a small tabular model the vocabularies, the table and the operations per feature
outweigh the network.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import tf_keras

from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.student import Student
from models.network import build_network
from models.options import NetworkOptions
from models.rows import Rows
from models.spec import (
    MISSING_ID,
    OUT_OF_VOCABULARY_ID,
    RESERVED_IDS,
    CategoricalFeature,
    ModelSpec,
)

#: What a look-up table costs in the file beside its numbers: an operation and its tensors.
_LOOKUP_BYTES = 150
_WEIGHT_BYTES = {"float32": 4, "float16": 2, "int8": 1, "int4": 1}  # tables have 8 bits


def reduce(student: Student, recipe: Recipe) -> Student:
    """Does to the tables what the recipe says; fine-tunes when that changes the answers."""
    tables = recipe.tables
    if not student.spec.categorical:
        return student if tables.layout == "as_trained" else student.replace(layout="compact")
    if tables.coverage < 1.0:
        student = cut_vocabularies(student, tables.coverage, tables.buckets)
    if tables.width is not None and tables.width < student.options.embedding:
        student = narrow(student, tables.width)
    if tables.layout == "compact":
        student = compact(student, _WEIGHT_BYTES[recipe.weights])
    if tables.changes_network and recipe.ranges != "aware":
        student.fine_tune(student.network, "smaller tables")
    return student


def cut_vocabularies(student: Student, coverage: float, buckets: int | None = None) -> Student:
    """Keeps the most frequent text values that cover a share of train.

    The others share the out-of-vocabulary row, or by their hash one of the rows of the buckets.
    A shared row starts as the mean by frequency of those that share it.

    Args:
      student: Any.
      coverage: Of train's rows by the values that keep a row of their own.
      buckets: Rows for the others; None for the out-of-vocabulary row alone. A feature of
        which no more values than that are left keeps them all.
    """
    spec, [table] = student.spec, student.network.get_layer("embedding").get_weights()
    features, parts, remap, start = [], [], [], 0
    hashed: dict[str, dict[str, int]] = {}
    for column, (feature, offset) in enumerate(zip(spec.categorical, spec.offsets, strict=True)):
        rows = table[offset : offset + feature.size]
        counts = np.bincount(student.train.ids[:, column] - offset, minlength=feature.size)
        keep = len(feature.vocabulary)
        if feature.dtype == "string":
            known = counts[RESERVED_IDS:]
            # A vocabulary is ordered by frequency, so what is kept is its beginning.
            reached = np.cumsum(known) >= coverage * known.sum()
            keep = max(1, int(np.argmax(reached)) + 1)
        place = np.arange(feature.size)  # of each value among the feature's new rows
        place[RESERVED_IDS + keep :] = OUT_OF_VOCABULARY_ID
        vocabulary = feature.vocabulary[:keep]
        if buckets and feature.dtype == "string":
            rare = feature.vocabulary[keep:]
            found = _hashed(rare, RESERVED_IDS + keep, buckets)
            if len(set(found)) < len(rare):
                hashed[feature.name] = dict(zip(rare, found, strict=True))
                vocabulary += tuple(f"#{bucket}" for bucket in range(len(set(found))))
            else:  # nothing would be shared
                found = list(range(RESERVED_IDS + keep, feature.size))
                vocabulary = feature.vocabulary
            place[RESERVED_IDS + keep :] = found
        features.append(dataclasses.replace(feature, vocabulary=vocabulary))
        parts.append(_shared_rows(rows, counts, place, features[-1].size))
        remap.append(start + place)
        start += features[-1].size
    return _rebuild(
        student,
        dataclasses.replace(spec, categorical=tuple(features)),
        student.options,
        np.concatenate(parts),
        np.concatenate(remap),
    ).replace(hashed=hashed)


def _hashed(words: tuple[str, ...], first: int, buckets: int) -> list[int]:
    """The row of each word: `first` and on, one for every bucket that holds a word."""
    bucket = [zlib.crc32(word.encode("utf-8")) % buckets for word in words]
    filled = sorted(set(bucket))
    return [first + filled.index(b) for b in bucket]


def _shared_rows(rows: np.ndarray, counts: np.ndarray, place: np.ndarray, size: int) -> np.ndarray:
    """New rows `[size, width]`: where several old ones come together, their mean by frequency."""
    made = np.zeros((size, rows.shape[1]), rows.dtype)
    for row in range(size):
        [old] = np.nonzero(place == row)
        weights = counts[old] if counts[old].sum() else np.ones(len(old))
        # One that came alone, or that nobody had, stays as it was bit by bit.
        alone = len(old) == 1 or (row == OUT_OF_VOCABULARY_ID and not counts[old].sum())
        made[row] = rows[old[0]] if alone else np.average(rows[old], axis=0, weights=weights)
    return made


def narrow(student: Student, width: int) -> Student:
    """A narrower embedding: the best of its rank, the rest of it moved into the first layer.

    Eckart and Young (1936): the truncated singular value decomposition is the
    closest matrix of that rank.
    """
    [table] = student.network.get_layer("embedding").get_weights()
    u, s, v = np.linalg.svd(table, full_matrices=False)
    old = student.options.embedding
    kernel, *bias = _first_dense(student.network).get_weights()
    blocks = kernel[-len(student.spec.categorical) * old :].reshape(-1, old, kernel.shape[1])
    blocks = np.einsum("kw,fwu->fku", v[:width], blocks).reshape(-1, kernel.shape[1])
    others = kernel[: -len(student.spec.categorical) * old]
    return _rebuild(
        student,
        student.spec,
        student.options.model_copy(update={"embedding": width}),
        (u * s)[:, :width],
        np.arange(len(table)),
        first=[np.concatenate([others, blocks]), *bias],
    )


def compact(student: Student, weight_bytes: int) -> Student:
    """The same function, laid out so that `compact.Preprocessor` needs few operations.

    Integer categories come first, so that nothing has to be put in order. Where it
    takes fewer bytes every whole number of their range gets a row of its own, so that
    the row is found by arithmetic and not in a table.

    Args:
      student: Any.
      weight_bytes: Per number of the embedding table in the file.
    """
    spec, [table] = student.spec, student.network.get_layer("embedding").get_weights()
    order = sorted(range(len(spec.categorical)), key=lambda i: _is_text(spec.categorical[i]))
    integers = [f for f in spec.categorical if not _is_text(f)]
    spans = [_bounds(f)[1] - _bounds(f)[0] + 1 for f in integers]
    more = sum(span + 1 - len(f.vocabulary) for f, span in zip(integers, spans, strict=True))
    direct = more * table.shape[1] * weight_bytes <= 4 * sum(spans) + _LOOKUP_BYTES
    features, sources, copies = [], [], []
    remap, start = np.zeros(len(table), int), 0
    for position in order:
        feature, offset = spec.categorical[position], spec.offsets[position]
        source = np.arange(feature.size)
        place = source
        if direct and not _is_text(feature):
            low, high = _bounds(feature)
            vocabulary = tuple(str(v) for v in range(low, high + 2))  # the last: all above
            source = np.full(RESERVED_IDS + len(vocabulary), OUT_OF_VOCABULARY_ID)
            source[MISSING_ID] = MISSING_ID
            values = np.array([int(v) for v in feature.vocabulary])
            place = np.concatenate([np.arange(RESERVED_IDS), RESERVED_IDS + values - low])
            source[place] = np.arange(feature.size)
            feature = dataclasses.replace(feature, vocabulary=vocabulary)
            repeated = np.setdiff1d(np.arange(feature.size), place)
            copies.extend((start + row, start + OUT_OF_VOCABULARY_ID) for row in repeated)
        features.append(feature)
        sources.append(offset + source)
        remap[offset : offset + len(place)] = start + place
        start += feature.size
    width = student.options.embedding
    kernel, *bias = _first_dense(student.network).get_weights()
    others = len(kernel) - len(order) * width
    rows = [others + position * width + np.arange(width) for position in order]
    return _rebuild(
        student,
        dataclasses.replace(spec, categorical=tuple(features)),
        student.options,
        table[np.concatenate(sources)],
        remap,
        order,
        [kernel[np.concatenate([np.arange(others), *rows])], *bias],
    ).replace(copies=np.array(copies, int).reshape(-1, 2), layout="direct" if direct else "compact")


def _is_text(feature: CategoricalFeature) -> bool:
    return feature.dtype == "string"


def _bounds(feature: CategoricalFeature) -> tuple[int, int]:
    values = [int(v) for v in feature.vocabulary]
    return min(values), max(values)


def _first_dense(network: tf_keras.Model) -> tf_keras.layers.Layer:
    return next(x for x in network.layers if isinstance(x, tf_keras.layers.Dense))


def _lean(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Flatten knows its width; Reshape asks for the batch size, in three operations."""
    if isinstance(layer, tf_keras.layers.Reshape):
        return tf_keras.layers.Flatten(name=layer.name)
    return layer.__class__.from_config(layer.get_config())


def _rebuild(
    student: Student,
    spec: ModelSpec,
    options: NetworkOptions,
    table: np.ndarray,
    remap: np.ndarray,
    order: list[int] | None = None,
    first: list[np.ndarray] | None = None,
) -> Student:
    """A student on other tables.

    Args:
      student: The one before.
      spec, options: After.
      table: Embedding `[spec.table_size, options.embedding]`.
      remap: Old row of the table to new row.
      order: Old position of each categorical feature.
      first: Weights of the first dense layer where they change.
    """
    network = tf_keras.models.clone_model(build_network(spec, options), clone_function=_lean)
    weights = {layer.name: layer.get_weights() for layer in student.network.layers}
    weights["embedding"] = [table]
    if first is not None:
        weights[_first_dense(network).name] = first
    for layer in network.layers:
        layer.set_weights(weights[layer.name])

    def moved(rows: Rows) -> Rows:
        ids = remap[rows.ids].astype(np.int32)
        return dataclasses.replace(rows, ids=ids if order is None else ids[:, order])

    return student.replace(
        spec=spec,
        options=options,
        network=network,
        train=moved(student.train),
        valid=moved(student.valid),
    )
