"""The columns of the prediction log, and how requests of any form become rows of them."""

from __future__ import annotations

import datetime
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from models import feeds
from models.spec import CategoricalFeature, ModelSpec, NumericFeature

_logger = logging.getLogger(__name__)
OK = "ok"
FEATURE = "feature."
TIME = pa.timestamp("us", tz="UTC")

_FIXED = [
    pa.field("request_id", pa.string()),
    pa.field("time", TIME),
    pa.field("version", pa.string()),
    pa.field("score", pa.list_(pa.float32())),
    pa.field("prediction", pa.string()),
    pa.field("latency_us", pa.int64()),
    pa.field("outcome", pa.string()),
    pa.field("unreadable", pa.list_(pa.string())),
]

#: Feature values: Arrow columns, arrays or lists by name, or one dict per row.
Features = pa.Table | pa.RecordBatch | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def tabular(spec: ModelSpec) -> tuple[NumericFeature | CategoricalFeature, ...]:
    """The features that are logged: numbers and categories; pictures are not."""
    return (*spec.numeric, *spec.categorical)


def schema(spec: ModelSpec) -> pa.Schema:
    """Columns and types of a log file for a model."""
    return pa.schema(
        [*_FIXED, *(pa.field(FEATURE + f.name, _feature_type(f)) for f in tabular(spec))]
    )


def rows(
    spec: ModelSpec,
    version: str,
    features: Features,
    scores: np.ndarray | None,
    *,
    request_ids: Sequence[str],
    times: Any,
    latency_us: Any = None,
    outcomes: str | Sequence[str] = OK,
) -> pa.Table:
    """Rows in the log's format.

    Args:
      spec: The model's contract.
      version: Of the model.
      features: As they came, in any type: what cannot be read is null and named in `unreadable`.
        Columns the model does not take are left out, absent ones are null.
      scores: `[n, 1]` or `[n, classes]`, as `Predictor.predict` answers; NaN rows are null. None
        when there was no answer.
      request_ids: `[n]`.
      times: `[n]` timestamps, or one for all; datetimes without a time zone are UTC.
      latency_us: `[n]` microseconds, or one for all.
      outcomes: `[n]`, or one for all.
    """
    table = _as_table(features, len(request_ids))
    n = len(request_ids)
    columns: dict[str, pa.Array] = {}
    bad = []
    for feature in tabular(spec):
        values, unreadable = read_column(feature, feeds.flat_column(table, feature.name))
        columns[FEATURE + feature.name] = values
        if unreadable.any():
            bad.append((feature.name, unreadable))
    answers = None if scores is None else np.asarray(scores, np.float32).reshape(n, -1)
    fixed = {
        "request_id": pa.array(request_ids, pa.string()),
        "time": as_times(times, n),
        "version": pa.array([version] * n, pa.string()).dictionary_encode().cast(pa.string()),
        "score": _score_lists(answers, n),
        "prediction": _predictions(spec, answers, n),
        "latency_us": pa.nulls(n, pa.int64())
        if latency_us is None
        else pa.array(np.broadcast_to(np.asarray(latency_us), n).astype(np.int64)),
        "outcome": pa.array([outcomes] * n if isinstance(outcomes, str) else outcomes, pa.string()),
        "unreadable": _unreadable_lists(bad, n),
    }
    return pa.table({**fixed, **columns}, schema=schema(spec))


def tables(
    spec: ModelSpec,
    version: str,
    requests: Iterable[tuple[Features, dict[str, Any]]],
    most: int = 1000,
) -> Iterator[pa.Table]:
    """Rows of many requests, in order; those of one that does not fit the log are left out.

    Small requests are put together: what Arrow costs per table is then paid once for all of them.

    Args:
      spec: The model's contract.
      version: Of the model.
      requests: Features, and the keyword arguments of `rows` for them.
      most: Requests put together; no step of the work keeps another thread waiting for long.
    """
    for form, group in itertools.groupby(requests, _form):
        several = list(group)
        size = 1 if form is None else most
        pending = [several[i : i + size] for i in range(0, len(several), size)][::-1]
        while pending:
            part = pending.pop()
            if len(part) > 1 and _mixed(row for features, _ in part for row in features):
                pending += [[entry] for entry in reversed(part)]
                continue
            features, details = part[0] if len(part) == 1 else _together(part)
            try:
                yield rows(spec, version, features, **details)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                if len(part) == 1:
                    _logger.exception("%d rows do not fit the log", len(details["request_ids"]))
                pending += [[entry] for entry in reversed(part)] if len(part) > 1 else []


def _form(entry: tuple[Features, dict[str, Any]]) -> Any:
    """What requests must share to be put together; None: they cannot be."""
    features, details = entry
    scores, latency = details["scores"], details["latency_us"]
    if (
        not isinstance(features, list)
        or not isinstance(details["times"], datetime.datetime)
        or not isinstance(latency, int | None)
        or (scores is not None and (scores.ndim != 2 or len(scores) != len(features)))
    ):
        return None
    return (None if scores is None else scores.shape[1]), latency is None


def _mixed(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a column has values of several types, which Arrow reads otherwise together."""
    types: dict[str, type] = {}
    return any(
        value is not None and types.setdefault(name, type(value)) is not type(value)
        for row in rows
        for name, value in row.items()
    )


def _together(part: Sequence[tuple[Features, dict[str, Any]]]) -> tuple[Features, dict[str, Any]]:
    """Requests of the same form as one."""
    details = [entry[1] for entry in part]
    counts = [len(each["request_ids"]) for each in details]
    scores, latency = details[0]["scores"], details[0]["latency_us"]
    together: dict[str, Any] = {
        "scores": None if scores is None else np.concatenate([d["scores"] for d in details]),
        "latency_us": None
        if latency is None
        else np.repeat([d["latency_us"] for d in details], counts),
        "request_ids": [],
        "times": [],
        "outcomes": [],
    }
    for n, each in zip(counts, details, strict=True):
        together["request_ids"] += each["request_ids"]
        together["times"] += [each["times"]] * n
        outcomes = each["outcomes"]
        together["outcomes"] += [outcomes] * n if isinstance(outcomes, str) else outcomes
    return [row for features, _ in part for row in features], together


def read_column(
    feature: NumericFeature | CategoricalFeature, column: pa.Array
) -> tuple[pa.Array, np.ndarray]:
    """One feature's cells in the log's type, and which of them could not be read.

    Returns:
      The values, null where missing or unreadable; bool `[n]`.
    """
    kind = _feature_type(feature)
    clean = np.zeros(len(column), bool)
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), kind), clean
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = column.cast(pa.string())
    if kind == pa.string():
        text = feeds.to_text(column)
        return pa.array(np.where(text == "", None, text), pa.string()), clean
    try:
        number = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        text = column.cast(pa.string()).to_pylist()
        number = pa.array([_number(value) for value in text], pa.float64())
        clean = np.asarray([v not in (None, "") for v in text]) & np.asarray(number.is_null())
    values = number.to_numpy(zero_copy_only=False)
    if kind == pa.float64():
        return pa.array(values, kind, from_pandas=True), clean
    finite = np.isfinite(values) & (np.abs(np.nan_to_num(values)) < 2.0**63)
    whole = finite & (np.floor(np.where(finite, values, 0.5)) == values)
    clean = clean | (~np.isnan(values) & ~whole)
    integers = np.where(whole, values, 0).astype(np.int64)
    return pa.array(integers, pa.int64(), mask=~whole), clean


def as_times(times: Any, n: int) -> pa.Array:
    """Timestamps in the log's type, from datetimes, numpy, Arrow, or one for all."""
    if isinstance(times, pa.ChunkedArray):
        times = times.combine_chunks()
    if isinstance(times, pa.Array):
        if pa.types.is_timestamp(times.type):
            return times.cast(pa.timestamp("us", tz=times.type.tz), safe=False).cast(TIME)
        return times.cast(pa.timestamp("us")).cast(TIME)
    if isinstance(times, (datetime.datetime, np.datetime64)):
        moment = np.datetime64(
            times if isinstance(times, np.datetime64) else utc(times).replace(tzinfo=None), "us"
        )
        return pa.array(np.full(n, moment)).cast(TIME)
    if isinstance(times, np.ndarray):
        return pa.array(times.astype("datetime64[us]")).cast(TIME)
    return pa.array([utc(moment) for moment in times], TIME)


def _feature_type(feature: NumericFeature | CategoricalFeature) -> pa.DataType:
    if isinstance(feature, NumericFeature):
        return pa.float64()
    return pa.int64() if feature.dtype == "integer" else pa.string()


def _as_table(features: Features, n: int) -> pa.Table | pa.RecordBatch:
    if isinstance(features, (pa.Table, pa.RecordBatch)):
        return features
    if not isinstance(features, Mapping):
        names = dict.fromkeys(name for row in features for name in row)
        features = {name: [row.get(name) for row in features] for name in names}
    return pa.table({name: _as_array(values) for name, values in features.items()} or {"": [0] * n})


def _as_array(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray):
        values = values.reshape(len(values))
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if v is None else str(v) for v in values], pa.string())


def _score_lists(answers: np.ndarray | None, n: int) -> pa.Array:
    if answers is None:
        return pa.nulls(n, pa.list_(pa.float32()))
    none = np.isnan(answers).all(axis=1)
    offsets = np.concatenate([[0], np.cumsum(~none) * answers.shape[1]]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets, mask=np.append(none, False)), pa.array(answers[~none].ravel())
    )


def _predictions(spec: ModelSpec, answers: np.ndarray | None, n: int) -> pa.Array:
    if answers is None or spec.task == "regression":
        return pa.nulls(n, pa.string())
    none = np.isnan(answers).all(axis=1)
    filled = np.where(none[:, None], 0.0, answers)
    index = (filled[:, 0] > 0.5).astype(int) if spec.task == "binary" else filled.argmax(axis=1)
    return pa.array(spec.classes, pa.string()).take(pa.array(index, mask=none))


def _unreadable_lists(bad: list[tuple[str, np.ndarray]], n: int) -> pa.Array:
    if not bad:
        return pa.array([[]] * n, pa.list_(pa.string()))
    names = [[] for _ in range(n)]
    for name, where in bad:
        for row in np.flatnonzero(where):
            names[row].append(name)
    return pa.array(names, pa.list_(pa.string()))


def _number(text: str | None) -> float | None:
    try:
        return None if text in (None, "") else float(text)
    except ValueError:
        return None


def utc(moment: datetime.datetime | None) -> datetime.datetime | None:
    if moment is None:
        return None
    utc = datetime.timezone.utc
    return moment.replace(tzinfo=utc) if moment.tzinfo is None else moment.astimezone(utc)
