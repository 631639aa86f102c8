"""Predictions and labels from elsewhere, brought into the prediction log.

CSV (also .gz), Parquet, JSON lines, and what BigQuery exports (any of these). Columns, by name:

  request_id or id                             else made from the file's content and the row
  time, timestamp, or the config's time column  else the moment of the import
  score; probability; probability_CLASS; value  else the rows are predicted here
  latency_us, outcome, and the features, also as feature.NAME
  label, or the label's own name               becomes a label of its own, where it is given

A file imported twice is there once: what is written is named by the file's content.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from custom_components.example_gen.timestamps import parse_times
from models import feeds
from models.errors import ConfigError, DataError
from models.predictor import Predictor
from models.spec import ModelSpec
from monitoring import log_rows, prediction_log
from monitoring.log_rows import FEATURE

_IDS, _TIMES = ("request_id", "id"), ("time", "timestamp")
_JSON = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")


@dataclasses.dataclass(frozen=True)
class Imported:
    """What was brought in.

    Attributes:
      rows, labels: How many.
      predicted: Whether the scores were made here.
      untimed: Whether the rows got the moment of the import.
    """

    rows: int
    labels: int
    predicted: bool
    untimed: bool


def bring_in(
    path: str,
    log: pathlib.Path,
    predictor: Predictor,
    version: str,
    *,
    derived: dict[str, str] | None = None,
    time_column: str | None = None,
) -> Imported:
    """Imports rows that were predicted, or are to be, by a version.

    Args:
      path: File, folder or glob.
      log: The prediction log.
      predictor: Of the version.
      version: Its name.
      derived: Columns to compute, as `data.derive`.
      time_column: Name of a further column that tells the time.
    """
    spec = predictor.spec
    key = fingerprint(path)
    rows = labels = number = 0
    predicted = untimed = False
    for batch in open_rows(path, spec, derived):
        n = batch.num_rows
        if not n:
            continue
        number += 1
        names = set(batch.schema.names)
        id_column = next((c for c in _IDS if c in names), None)
        ids = (
            [f"{key}-{rows + i}" for i in range(n)]
            if id_column is None
            else feeds.to_text(feeds.flat_column(batch, id_column)).tolist()
        )
        times = times_of(batch, (*_TIMES, *([time_column] if time_column else [])))
        untimed = untimed or times is None
        scores = _scores(spec, batch)
        if scores is None:
            predicted = True
            scores = predictor.predict(_plain(batch))
        latency = (
            np.nan_to_num(feeds.to_float(feeds.flat_column(batch, "latency_us"))).astype(np.int64)
            if "latency_us" in names
            else None
        )
        outcomes = (
            [x or log_rows.OK for x in feeds.to_text(feeds.flat_column(batch, "outcome"))]
            if "outcome" in names
            else log_rows.OK
        )
        table = log_rows.rows(
            spec, version, _plain(batch), scores, request_ids=ids,
            times=datetime.datetime.now(datetime.timezone.utc) if times is None else times,
            latency_us=latency, outcomes=outcomes,
        )  # fmt: skip
        prediction_log.write_rows(log, table, f"import-{key}-{number}", sparse=True)
        rows += n
        label = next((c for c in ("label", spec.label) if c in names), None)
        if label is not None:
            values = pa.array(feeds.to_text(feeds.flat_column(batch, label)), pa.string())
            labels += len(values) - values.null_count
            prediction_log.write_labels(log, ids, values, name=f"import-{key}-{number}")
    return Imported(rows, labels, predicted, untimed)


def bring_in_labels(path: str, log: pathlib.Path, label: str) -> int:
    """Imports labels: `request_id` (or `id`), `label` (or the label's own name), `time`.

    Returns:
      How many there were.

    Raises:
      DataError: NO_LABELS when a column is missing.
    """
    key, count, number = fingerprint(path), 0, 0
    for batch in open_rows(path, None, None):
        names = batch.schema.names
        ids = next((c for c in _IDS if c in names), None)
        values = next((c for c in ("label", label) if c in names), None)
        if ids is None or values is None:
            raise DataError(
                "NO_LABELS",
                f"`{path}` has the columns {', '.join(names)}: labels need `request_id` and "
                f"`label` (or `{label}`).",
                next="Rename the columns; the ids are those of the prediction log.",
            )
        number += 1
        text = pa.array(feeds.to_text(feeds.flat_column(batch, values)), pa.string())
        prediction_log.write_labels(
            log,
            feeds.to_text(feeds.flat_column(batch, ids)).tolist(),
            text,
            times_of(batch, _TIMES),
            name=f"import-{key}-{number}",
        )
        count += len(text) - text.null_count
    return count


def is_json(path: str) -> bool:
    """Whether a file holds one JSON object per line."""
    return path.lower().endswith(_JSON)


def open_rows(
    path: str, spec: ModelSpec | None, derived: dict[str, str] | None
) -> Iterator[pa.RecordBatch]:
    """The rows, a batch at a time; JSON lines are read as pyarrow reads them."""
    if is_json(path):
        import pyarrow.json

        try:
            table = pyarrow.json.read_json(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(
                "UNREADABLE_ROWS",
                f"`{path}` cannot be read as JSON lines: {error}.",
                next="One JSON object per line is expected.",
            ) from None
        yield from table.to_batches(max_chunksize=prediction_log.READ_ROWS)
        return
    from custom_components.example_gen.reader import open_dataset
    from pipeline.predictions import read_as

    kinds = {} if spec is None else read_as(spec)
    try:
        dataset = open_dataset(path, kinds=kinds, derived=derived)
    except ConfigError as error:
        # What a label is computed from comes later than the rows.
        needed = {n: e for n, e in (derived or {}).items() if spec is None or n != spec.label}
        if error.reason.code != "COLUMN_MISSING" or needed == derived:
            raise
        dataset = open_dataset(path, kinds=kinds, derived=needed)
    yield from dataset.batches()


def times_of(batch: pa.RecordBatch | pa.Table, names: Iterable[str]) -> np.ndarray | None:
    """datetime64[us] `[n]` of the first of these columns that is there; None without one.

    Numbers are seconds since 1970, or milli- or microseconds when they are that large.

    Raises:
      DataError: NO_TIME when a cell tells none.
    """
    name = next((c for c in names if c in batch.schema.names), None)
    if name is None:
        return None
    column = feeds.flat_column(batch, name)
    if pa.types.is_timestamp(column.type):
        moments = log_rows.as_times(column, len(column))
        found = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
        missing = np.asarray(moments.is_null())
        found = np.nan_to_num(found).astype(np.int64).astype("datetime64[us]")
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        missing = ~np.isfinite(values)
        size = np.nanmax(np.abs(values)) if not missing.all() else 0.0
        scale = 1e6 if size < 1e11 else 1e3 if size < 1e14 else 1.0
        found = (np.nan_to_num(values) * scale).astype(np.int64).astype("datetime64[us]")
    else:
        text = column.cast(pa.string())
        missing = np.asarray(text.is_null())
        found = np.zeros(len(text), "datetime64[us]")
        read = next(
            (
                t
                for form in ("iso", "any")
                if (t := parse_times(text.drop_null(), form)) is not None
            ),
            None,
        )
        if read is None:
            raise DataError(
                "NO_TIME",
                f"Column `{name}` does not read as times, e.g. {text.drop_null()[0].as_py()!r}.",
                next="ISO 8601 always does: 2026-03-01T12:30:00Z.",
            )
        found[~missing] = (read // 1000).astype("datetime64[us]")
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise DataError(
            "NO_TIME",
            f"Column `{name}` tells no time in {int(missing.sum()):,} of {len(missing):,} rows, "
            f"first in row {row + 1}: {column[row].as_py()!r}.",
            next="Mend those rows, or take the column out: rows without one get the moment of "
            "the import.",
        )
    return found


def fingerprint(path: str) -> str:
    """Differs when the content does: of one file's bytes, or of a folder's or glob's files."""
    digest = hashlib.sha256()
    for file in _files(path):
        with open(file, "rb") as content:
            for block in iter(lambda: content.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:12]


def _files(path: str) -> Sequence[str]:
    if path.startswith("demo:"):
        from custom_components.example_gen.files import find_files

        return [str(file.path) for file in find_files(path)]
    place = pathlib.Path(path)
    if place.is_file():
        return [path]
    if place.is_dir():
        return sorted(str(f) for f in place.rglob("*") if f.is_file())
    import glob

    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise ConfigError(
            "NO_FILES",
            f"There is nothing at `{path}`.",
            next="Name a prediction log, or a file of rows (CSV, Parquet, JSON lines).",
        )
    return [name for name in found if pathlib.Path(name).is_file()]


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Columns by their feature's name, with or without the log's prefix."""
    names = [
        name.removeprefix(FEATURE)
        if name.startswith(FEATURE) and name.removeprefix(FEATURE) not in batch.schema.names
        else name
        for name in batch.schema.names
    ]
    return pa.RecordBatch.from_arrays(list(batch.columns), names=names)


def _scores(spec: ModelSpec, batch: pa.RecordBatch) -> np.ndarray | None:
    """Scores that the rows bring; None when they bring none."""
    names = set(batch.schema.names)
    if "score" in names and pa.types.is_list(
        batch.column(batch.schema.get_field_index("score")).type
    ):
        column = batch.column(batch.schema.get_field_index("score"))
        return np.asarray(column.flatten()).reshape(batch.num_rows, -1).astype(np.float32)
    if spec.task == "multiclass":
        wanted = [f"probability_{name}" for name in spec.classes]
        if not names.issuperset(wanted):
            return None
    else:
        known = ("score", "probability", "value") if spec.task == "binary" else ("score", "value")
        if spec.task == "regression" and "prediction" in names:
            known = (*known, "prediction")
        wanted = [next((c for c in known if c in names), "")]
        if not wanted[0]:
            return None
    return np.column_stack([feeds.to_float(feeds.flat_column(batch, c), c) for c in wanted])
