"""Rows without labels that the teacher labels: a table, or what the deployed model was asked.

A prediction log (`.flywheel/predictions/version=*/hour=*/*.parquet`) holds each request's
features as `feature.<name>`, and whether it was answered. It is told by these columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from custom_components.example_gen.files import DataFile, find_files
from custom_components.example_gen.reader import open_dataset

_PREFIX, _OUTCOME, _ANSWERED = "feature.", "outcome", "ok"


def batches(path: str, kinds: Mapping[str, str] | None = None) -> Iterator[pa.RecordBatch]:
    """Rows with the features under their own names.

    Args:
      path: A file, a folder, a glob, as `data.path` takes them.
      kinds: As in `open_dataset`.

    Raises:
      ConfigError: NO_SUCH_FILE.
      DataError: the files cannot be read as a table.
    """
    files = find_files(path)
    logged = [file for file in files if _is_log(file)]
    if logged:
        yield from _asked(logged)
    else:
        yield from open_dataset(path, kinds=kinds).batches()


def _is_log(file: DataFile) -> bool:
    if file.format != "parquet":
        return False
    names = pq.read_schema(file.path).names
    return _OUTCOME in names and any(name.startswith(_PREFIX) for name in names)


def _asked(files: Sequence[DataFile]) -> Iterator[pa.RecordBatch]:
    """The features of requests that were answered: of the others some cannot be trusted."""
    for file in files:
        with pq.ParquetFile(file.path) as log:
            names = [n for n in log.schema_arrow.names if n.startswith(_PREFIX)]
            for batch in log.iter_batches(columns=[_OUTCOME, *names]):
                column = batch.column(batch.schema.names.index(_OUTCOME))
                kept = batch.filter(pc.equal(column, _ANSWERED))
                if kept.num_rows:
                    yield pa.RecordBatch.from_arrays(
                        [kept.column(kept.schema.names.index(name)) for name in names],
                        names=[name.removeprefix(_PREFIX) for name in names],
                    )
