"""Thresholds for a deployed version, learnt from its reference once and kept beside it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import secrets
from collections.abc import Collection

import numpy as np
import pyarrow as pa

from models import feeds, metrics
from models.predictor import Predictor
from monitoring.decisions.blocks import Blocks
from monitoring.decisions.importance import importance
from monitoring.decisions.learn import learn
from monitoring.decisions.options import ThresholdOptions
from monitoring.decisions.performance import learn_performance, with_performance
from monitoring.decisions.power import detectable_all
from monitoring.decisions.thresholds import Threshold, Thresholds
from monitoring.log_rows import FEATURE
from monitoring.measure import LABEL, PREDICTION
from monitoring.measures import features
from monitoring.reference import NO_TIME, SAMPLE_ROWS, Reference, Rows, Thinned, Times
from monitoring.shipped import features_of
from monitoring.window_summary import flat, kind_of

_IMPORTANCE_ROWS = 2000
#: Rows of a window that nothing is known about, for the smallest change that it shows.
_USUAL_ROWS = 1000
#: Rises when thresholds are learnt in another way, so that kept ones are learnt anew.
_METHOD = 3
#: Fewer labelled rows say too little about what is usual.
_LEAST_HELD_OUT = 200


def learnt(
    reference: Reference,
    folder: pathlib.Path,
    options: ThresholdOptions,
    *,
    window_blocks: int = 1,
    window_rows: int | None = None,
    held_out: Rows | None = None,
    times: Times | None = None,
    cache: pathlib.Path | None = None,
    cache_key: str = "",
) -> Thresholds:
    """Thresholds of every feature, of the prediction, and of realised performance.

    Args:
      reference: Counts, and rows where there are any: whole days of timed rows make the null.
        Without rows, the laws for independent rows are used with the reference's counts.
      folder: The version's, to see what the model looks at.
      options: The rate of false alarms, floors.
      window_blocks: Days per window.
      window_rows: Rows per window, for performance where rows have no time.
      held_out: Opens labelled rows that the model was not trained on; without them realised
        performance is measured and not judged.
      times: When each of these rows was.
      cache: Folder to keep them in.
      cache_key: Identity of the held-out rows.
    """
    place = None
    if cache is not None:
        given = json.dumps(
            [
                _METHOD,
                reference.layout.key,
                reference.summary.rows,
                options.model_dump(),
                window_blocks,
                window_rows,
                held_out is not None,
                cache_key,
            ]
        )
        place = cache / f"thresholds-{hashlib.sha256(given.encode()).hexdigest()[:16]}.json"
        if place.exists():
            return Thresholds.from_dict(json.loads(place.read_text("utf-8")))
    blocks = blocks_of(reference)
    made = learn(
        blocks,
        options,
        window_blocks=window_blocks,
        importance=importance_of(reference, folder),
    )
    rows = _USUAL_ROWS if window_rows is None else window_rows
    if blocks.timed:
        rows = round(blocks.rows / blocks.blocks * window_blocks)
    numeric = {column.name: column for column in blocks.columns if column.kind == "numeric"}
    made = detectable_all(
        made,
        rows,
        options.power,
        _numbers(reference, numeric),
        numeric,
    )
    if held_out is not None:
        performance = performance_of(
            reference,
            folder,
            options,
            held_out,
            times,
            window_blocks=window_blocks,
            window_rows=window_rows,
        )
        made = with_performance(made, performance)
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}-{secrets.token_hex(4)}")
        temporary.write_text(made.to_json(), encoding="utf-8")
        os.replace(temporary, place)
    return made


def blocks_of(reference: Reference) -> Blocks:
    """The reference as `monitoring/decisions` counts it: in the very cells of the measures."""
    columns = {
        name: features.column_of(name, counts)
        for name, counts in reference.summary.features.items()
        if name in (PREDICTION, LABEL) or not name.startswith("(")
    }
    sample = reference.sample
    timed = sample is not None and _timed(sample)
    held = {} if sample is None else set(sample.column_names)
    if sample is not None and all(FEATURE + name in held for name in columns if name != PREDICTION):
        arrays = {name: _column(reference, sample, name) for name in columns}
        times = sample.column("time").cast(pa.int64()).to_numpy().astype("datetime64[us]")
        return Blocks.of(
            arrays,
            {name: column.kind for name, column in columns.items()},
            times if timed else None,
            columns=tuple(columns.values()),
        )
    counts = {
        name: features.cells_of(reference.summary.features[name])[None, :] for name in columns
    }
    nonzero = {
        name: features.nonzero_of(reference.summary.features[name])[None, :]
        for name, column in columns.items()
        if column.mostly_zero
    }
    return Blocks(tuple(columns.values()), counts, nonzero, False)


def importance_of(reference: Reference, folder: pathlib.Path) -> dict[str, float] | None:
    """What the model looks at, from reference rows; None without them."""
    if reference.sample is None or reference.spec.image is not None:
        return None
    step = max(len(reference.sample) // _IMPORTANCE_ROWS, 1)
    rows = reference.sample.take(np.arange(0, len(reference.sample), step))
    predictor = Predictor.load(folder)
    inputs = feeds.encode(reference.spec, features_of(reference.spec, rows))
    return importance(predictor.predict_inputs, inputs)


def performance_of(
    reference: Reference,
    folder: pathlib.Path,
    options: ThresholdOptions,
    held_out: Rows,
    times: Times | None,
    *,
    window_blocks: int,
    window_rows: int | None,
) -> dict[tuple[str, str], Threshold]:
    """Thresholds of realised metrics, from rows the model was not trained on."""
    predictor, spec = Predictor.load(folder), reference.spec
    kept = Thinned(SAMPLE_ROWS)
    for batch in held_out():
        if not batch.num_rows:
            continue
        label = feeds.flat_column(batch, spec.label)
        columns = {
            "truth": pa.array(np.asarray(feeds.label_index(spec, label), np.float64)),
            "scores": pa.array(list(np.asarray(predictor.predict(batch), np.float64))),
        }
        moments = None if times is None else times(batch)
        if moments is not None:
            columns["time"] = pa.array(moments.astype("datetime64[us]").astype(np.int64))
        kept.add(pa.table(columns))
    rows = kept.table()
    if rows is None:
        return {}
    truth = rows.column("truth").to_numpy()
    scores = np.stack(rows.column("scores").to_numpy())
    known = np.isfinite(truth) & np.isfinite(scores).all(axis=1)
    if known.sum() < _LEAST_HELD_OUT:
        return {}
    moments = None
    if "time" in rows.column_names:
        moments = rows.column("time").to_numpy().astype("datetime64[us]")[known]
    return learn_performance(
        truth[known],
        scores[known],
        functools.partial(metrics.score, spec.task),
        options,
        times=moments,
        window_blocks=window_blocks,
        window_rows=window_rows,
    )


def _timed(sample: pa.Table) -> bool:
    first = sample.column("time").cast(pa.int64()).to_numpy()
    return bool((first != NO_TIME.astype(np.int64)).any())


def _numbers(reference: Reference, names: Collection[str]) -> dict[str, np.ndarray]:
    """The reference's rows of these features, where it has rows."""
    sample = reference.sample
    if sample is None:
        return {}
    held = {name for name in names if FEATURE + name in sample.column_names}
    return {name: _column(reference, sample, name) for name in held}


def _column(reference: Reference, sample: pa.Table, name: str) -> np.ndarray:
    if name == PREDICTION:
        if kind_of(reference.spec, name) == "categorical":
            return flat(sample.column("prediction")).to_numpy(zero_copy_only=False)
        scores = flat(sample.column("score"))
        return scores.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    if name == LABEL:
        column = flat(sample.column("label"))
        if kind_of(reference.spec, name) == "numeric":
            return feeds.to_float(column, name).astype(np.float64)
        return column.to_numpy(zero_copy_only=False)
    column = flat(sample.column(FEATURE + name))
    if kind_of(reference.spec, name) == "numeric":
        values = column.to_numpy(zero_copy_only=False).astype(np.float64)
        cells = reference.layout.cells[name]
        return values.astype(np.float32).astype(np.float64) if cells.single else values
    return column.cast(pa.string()).to_numpy(zero_copy_only=False)
