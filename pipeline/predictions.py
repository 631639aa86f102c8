"""A table with its predictions beside it."""

from __future__ import annotations

import datetime
import os
import pathlib
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from models import feeds
from models.predictor import Predictor
from models.spec import ModelSpec
from monitoring import log_rows, prediction_log


def add_predictions(
    predictor: Predictor, batch: pa.RecordBatch, answers: np.ndarray | None = None
) -> pa.Table:
    """The batch with `prediction` and its probabilities as further columns.

    Columns of the batch that carry one of these names give way; pixels are left out.
    `answers` are what the predictor said of these rows, if it was asked already.
    """
    answers = predictor.predict(batch) if answers is None else answers
    spec = predictor.spec
    added = {"prediction": pa.array(predictor.labels(answers))}
    if spec.task == "binary":
        added["probability"] = pa.array(answers[:, 0])
    elif spec.task == "multiclass":
        for index, name in enumerate(spec.classes):
            added[f"probability_{name}"] = pa.array(answers[:, index])
    left_out = {*added, *([spec.image.name] if spec.image else [])}
    kept = [name for name in batch.schema.names if name not in left_out]
    columns = [batch.column(name) for name in kept]
    return pa.table([*columns, *added.values()], names=[*kept, *added])


def log_predictions(
    log: str, spec: ModelSpec, version: str, batch: pa.RecordBatch, answers: np.ndarray, key: str
) -> None:
    """Adds a batch to the prediction log; ids are its `request_id` or `id`, else made of `key`."""
    names = [name for name in ("request_id", "id") if name in batch.schema.names]
    ids = (
        feeds.to_text(feeds.flat_column(batch, names[0])).tolist()
        if names
        else [f"{key}-{row}" for row in range(batch.num_rows)]
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    table = log_rows.rows(spec, version, batch, answers, request_ids=ids, times=now)
    prediction_log.write_rows(log, table, key)


def read_as(spec: ModelSpec) -> dict[str, str]:
    """The kind each feature's column is read as, so that the model sees what it knows."""
    return {
        **{f.name: "numeric" for f in spec.numeric},
        **{f.name: "text" if f.column_type == "text" else "categorical" for f in spec.categorical},
        **({spec.image.name: "image"} if spec.image else {}),
    }


class PredictionWriter:
    """Writes CSV or Parquet batch by batch; the file appears when it is whole.

    Args:
      path: Ends in `.csv` or `.parquet`.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._writer: pyarrow.csv.CSVWriter | pyarrow.parquet.ParquetWriter | None = None

    def __enter__(self) -> PredictionWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=self._path.parent, prefix=f".{self._path.stem}-", suffix=self._path.suffix
        )
        os.close(handle)
        self._temporary = pathlib.Path(name)
        return self

    def write(self, table: pa.Table) -> None:
        """Appends rows; the first call fixes the columns."""
        if self._writer is None:
            make = (
                pyarrow.csv.CSVWriter
                if self._path.suffix == ".csv"
                else pyarrow.parquet.ParquetWriter
            )
            self._writer = make(str(self._temporary), table.schema)
        self._writer.write_table(table)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        if kind is None:
            os.chmod(self._temporary, 0o644)
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink(missing_ok=True)
