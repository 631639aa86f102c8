"""From columns to the tensors a model is fed with: one array per feature, `[n, 1]` or pixels.

The encoding is the one `models.spec` describes; training, evaluation, batch
prediction and monitoring all come through here, so they cannot differ. Imports
no TensorFlow.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.errors import DataError
from models.spec import CategoricalFeature, Feature, ImageFeature, ModelSpec


def flat_column(table: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    """The column as one flat array with nulls; all null when the table lacks it.

    Columns read from tf.Examples are lists of at most one value; a null or
    empty list is a missing cell.
    """
    if name not in table.schema.names:
        return pa.nulls(table.num_rows)
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = (
                pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(table.num_rows)
            )
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        if lengths.size and lengths.max() > 1:
            raise DataError(
                "SEVERAL_VALUES",
                f"Column `{name}` holds several values in one row; Flywheel reads tables with one "
                "value per cell.",
                next="Split the column, or set it to `ignore` in flywheel.yaml.",
            )
        values = column.flatten()
        if len(values) == len(column):
            return values
        indices = np.where(lengths > 0, np.cumsum(lengths) - 1, 0)
        return values.take(pa.array(indices, mask=lengths == 0))
    return column


def to_float(column: pa.Array, name: str = "") -> np.ndarray:
    """Float32 values of shape `[n]`, NaN where missing.

    Raises:
      DataError: TYPE_CHANGED when text does not read as numbers.
    """
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan, np.float32)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.string())
    try:
        return np.asarray(
            column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float32
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        text = column.cast(pa.string()).to_pylist()
        bad = [(row, value) for row, value in enumerate(text) if not _is_number(value)]
        raise DataError(
            "TYPE_CHANGED",
            f"Column `{name}` was a number when the model was trained and holds text now: "
            f"{len(bad):,} of {len(text):,} values are not numbers, e.g. {bad[0][1]!r}.",
            next="Mend the values, or declare the column categorical in flywheel.yaml and run "
            "again.",
            cases=[{"row": row, "column": name, "value": value} for row, value in bad[:20]],
        ) from error


def _is_number(value: str | None) -> bool:
    if value is None:
        return True
    try:
        float(value)
    except ValueError:
        return False
    return True


def to_text(column: pa.Array) -> np.ndarray:
    """Values as an object array of `str`, shape `[n]`, None where missing.

    Whole numbers read the same whatever type they came in: 3, 3.0 and "3" are
    all "3"; truth values are "true" and "false".
    """
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False).astype(np.float64)
        finite = np.isfinite(values)
        whole = np.zeros_like(finite)
        whole[finite] = values[finite] == np.floor(values[finite])
        text = np.full(len(values), None, dtype=object)
        text[whole] = values[whole].astype(np.int64).astype(str)
        rest = finite & ~whole
        text[rest] = [repr(float(v)) for v in values[rest]]
        return text
    if pa.types.is_null(column.type):
        return np.full(len(column), None, dtype=object)
    return column.cast(pa.string()).to_numpy(zero_copy_only=False)


def encode(spec: ModelSpec, table: pa.Table | pa.RecordBatch) -> dict[str, np.ndarray]:
    """The model's inputs for every row of the table.

    Args:
      spec: The model's contract.
      table: Flat columns, or lists of at most one value as read from tf.Examples;
        columns the model does not know are ignored, absent ones fed as missing.

    Returns:
      Feature name to array `[n, 1]`: float32 with NaN, or object (bytes) with b''; an image's is
      uint8 `[n, height, width, channels]`.

    Raises:
      DataError: TYPE_CHANGED when a numeric feature holds text; UNREADABLE_IMAGE.
    """
    return {f.name: encode_column(f, flat_column(table, f.name)) for f in spec.features}


def encode_column(feature: Feature, column: pa.Array) -> np.ndarray:
    """One feature's input of shape `[n, 1]`, or pixels, from its flat column."""
    if isinstance(feature, ImageFeature):
        from models import images  # Pillow, which a model of tables does not need

        return images.decode_all(column.to_pylist(), *feature.shape, feature.name)
    if isinstance(feature, CategoricalFeature):
        if feature.dtype == "string":
            return _to_bytes(column).reshape(-1, 1)
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            # Text in an integer category: what is no number is an unknown value, not an error.
            values = [v if _is_number(v) else "-1e9" for v in column.cast(pa.string()).to_pylist()]
            column = pa.array(values, pa.string())
    return to_float(column, feature.name).reshape(-1, 1)


def _to_bytes(column: pa.Array) -> np.ndarray:
    """Object array of bytes, b'' where missing."""
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        column = pa.array(to_text(column), pa.string())
    encoded = pc.fill_null(column.cast(pa.binary()), b"")
    return encoded.to_numpy(zero_copy_only=False).astype(object)


def label_index(spec: ModelSpec, column: pa.Array) -> np.ndarray:
    """The label as the model sees it.

    Returns:
      Classification: float32 `[n]` holding the class index, NaN where missing or
      unknown. Regression: float32 `[n]` in the label's own unit, NaN where missing.
    """
    if spec.task == "regression":
        return to_float(column, spec.label)
    if pa.types.is_binary(column.type):
        column = column.cast(pa.string())
    index = {name: float(i) for i, name in enumerate(spec.classes)}
    unique, inverse = np.unique(
        np.asarray([v if v is not None else "\0" for v in to_text(column)], dtype=object).astype(
            str
        ),
        return_inverse=True,
    )
    return np.asarray([index.get(value, np.nan) for value in unique], np.float32)[inverse]
