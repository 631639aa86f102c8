"""What the deployed model was asked and what it answered, and what turned out to be true.

    <log>/version=<version>/hour=<YYYY-MM-DDTHH>/<writer>-<n>.parquet
    <log>/labels/<YYYY-MM-DD>/<writer>-<n>.parquet

A file of predictions holds one row per request:

  request_id   string, unique; what a label comes back with
  time         timestamp[us, UTC]
  version      string, of the model
  score        list<float32>, the model's output row; null when it gave none
  prediction   string, the class; null for regression and where there is no score
  latency_us   int64, null where it was not measured
  outcome      string, `ok` or a reason code
  unreadable   list<string>, features whose value could not be read as their type; their cells
               are null
  feature.<x>  per feature: double (numeric), int64 (integer categories), string (the others)

and a file of labels `request_id`, `label` (string) and `time` (when it became known). Hours and
days are UTC. A file appears under its name when it is whole, by a rename, and never changes: a
reader that has seen a name has seen all of it. The folder is local or mounted.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import os
import pathlib
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models import feeds
from models.spec import ModelSpec
from monitoring.log_rows import OK, TIME, Features, as_times, tables, utc

LABELS = "labels"
_SPAN = "span-"
READ_ROWS = 65_536

_LABEL_SCHEMA = pa.schema(
    [pa.field("request_id", pa.string()), pa.field("label", pa.string()), pa.field("time", TIME)]
)
_logger = logging.getLogger(__name__)


class LogWriter:
    """Appends predictions to a log without ever making a caller wait.

    Rows are handed to a thread, which starts with the first of them and writes a file per
    hour of the rows' time when `rows_per_file` wait or the oldest has waited `seconds_per_file`.
    When more than `max_bytes` wait in memory, because the disk is slow or full, further rows are
    dropped and counted: an answer is worth more than its record.

    Args:
      folder: The log.
      spec: The model's contract.
      version: Of the model.
      rows_per_file: Most rows that wait.
      seconds_per_file: Longest a row waits.
      max_bytes: Most memory that waiting rows take.

    Attributes:
      written: Rows in finished files.
      dropped: Rows that were not logged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        spec: ModelSpec,
        version: str,
        *,
        rows_per_file: int = 50_000,
        seconds_per_file: float = 60.0,
        max_bytes: int = 64 << 20,
    ):
        self.folder = pathlib.Path(folder)
        self.spec, self.version = spec, version
        self.written = self.dropped = 0
        self._limits = (rows_per_file, seconds_per_file, max_bytes)
        self._state = threading.Condition()
        self._waiting: list[tuple[Features, dict[str, Any]]] = []
        self._waiting_rows = self._waiting_bytes = self._appended = self._files = 0
        self._oldest = 0.0
        self._flushing = self._closed = self._busy = False
        self._thread: threading.Thread | None = None
        self._name = ""

    def append(
        self,
        features: Features,
        scores: np.ndarray | None = None,
        *,
        request_ids: Sequence[str] | None = None,
        times: Any = None,
        latency_us: Any = None,
        outcomes: str | Sequence[str] = OK,
    ) -> list[str]:
        """Hands rows over; see `rows` for the arguments.

        Args:
          request_ids: Default: made here, unique.
          times: Default: now.

        Returns:
          The rows' request ids, also when the rows had to be dropped.
        """
        n = _count(features)
        size = _size(features, n)
        scores = None if scores is None else np.array(scores, np.float32)
        if times is None:
            times = datetime.datetime.now(datetime.timezone.utc)
        with self._state:
            self._start()
            if request_ids is None:
                first = self._appended
                request_ids = [f"{self._name}-{first + i:x}" for i in range(n)]
            self._appended += n
            if self._closed or self._waiting_bytes + size > self._limits[2]:
                self.dropped += n
                return list(request_ids)
            details = {
                "scores": scores,
                "request_ids": list(request_ids),
                "times": times,
                "latency_us": latency_us,
                "outcomes": outcomes,
            }
            first = not self._waiting
            if first:
                self._oldest = time.monotonic()
            self._waiting.append((features, details))
            self._waiting_rows += n
            self._waiting_bytes += size
            # Between the first row of a file and the last there is nothing for the thread to do.
            if first or self._due():
                self._state.notify_all()
        return list(request_ids)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until everything appended so far is in finished files; False on timeout."""
        with self._state:
            self._flushing = True
            self._state.notify_all()
            return self._state.wait_for(
                lambda: self._thread is None or not (self._waiting or self._busy), timeout
            )

    def close(self, timeout: float | None = None) -> None:
        """Writes what waits and ends the thread; rows appended later are dropped."""
        with self._state:
            self._closed = True
            self._state.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        if self._thread is None and not self._closed:
            # Only now: a server forks its workers after this object was made.
            self._name = secrets.token_hex(6)
            self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)
            self._thread.start()

    def _due(self) -> bool:
        most_rows, most_seconds, _ = self._limits
        return self._closed or bool(
            self._waiting
            and (
                self._flushing
                or self._waiting_rows >= most_rows
                or time.monotonic() - self._oldest >= most_seconds
            )
        )

    def _work(self) -> None:
        while True:
            with self._state:
                while not self._due():
                    self._flushing = self._flushing and bool(self._waiting)
                    left = self._oldest + self._limits[1] - time.monotonic()
                    self._state.wait(max(left, 0.0) if self._waiting else None)
                taken, count = self._waiting, self._waiting_rows
                if not taken:
                    return  # closed, and all is written
                self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
                self._busy = True
            try:
                written = self._write(taken)
            except Exception:  # whatever it was, the next rows get their chance
                written = 0
                _logger.exception("%d predictions could not be logged in %s", count, self.folder)
            with self._state:
                self.written += written
                self.dropped += count - written
                self._busy = self._flushing = False
                self._state.notify_all()

    def _write(self, taken: list[tuple[Features, dict[str, Any]]]) -> int:
        parts = list(tables(self.spec, self.version, taken))
        if not parts:
            return 0
        table = pa.concat_tables(parts)
        self._files += 1
        write_rows(self.folder, table, f"{self._name}-{self._files}")
        return table.num_rows


def write_rows(
    folder: str | os.PathLike[str], table: pa.Table, name: str, *, sparse: bool = False
) -> list[pathlib.Path]:
    """Writes rows in the log's format (`rows`), one file per hour.

    Args:
      folder: The log.
      table: Rows of one version.
      name: Of the files, without suffix; new in the log.
      sparse: Rows that would make many files of few rows share one per day or month, which lies
        in the folder of its first hour and is called `span-…`.
    """
    if not table.num_rows:
        return []
    version = table.column("version")[0].as_py()
    written = []
    unit = _period(table) if sparse else "h"
    name = name if unit == "h" else _SPAN + name
    for period, part in _by_period(table, unit):
        hour = np.datetime64(period, "h")
        path = pathlib.Path(folder) / f"version={version}" / f"hour={hour}" / f"{name}.parquet"
        _write_file(part, path)
        written.append(path)
    return written


def write_labels(
    folder: str | os.PathLike[str],
    ids: Sequence[str] | pa.Array,
    labels: Sequence[Any] | np.ndarray | pa.Array,
    times: Any = None,
    *,
    name: str | None = None,
) -> list[pathlib.Path]:
    """Adds what turned out to be true.

    Args:
      folder: The log.
      ids: Request ids; an id may come again, the newest label counts.
      labels: Classes or values, in any type; None is left out.
      times: When each became known. Default: now.
      name: Of the files, without suffix. Default: a new one.

    Returns:
      The new files.
    """
    column = labels if isinstance(labels, pa.Array) else pa.array(labels, from_pandas=True)
    text = pa.array(feeds.to_text(column), pa.string())
    if times is None:
        times = datetime.datetime.now(datetime.timezone.utc)
    table = pa.table(
        [pa.array(ids, pa.string()), text, as_times(times, len(text))], schema=_LABEL_SCHEMA
    ).filter(text.is_valid())
    name = name or f"{secrets.token_hex(6)}-1"
    written = []
    for day, part in _by_period(table, "D"):
        path = pathlib.Path(folder) / LABELS / day / f"{name}.parquet"
        _write_file(part, path)
        written.append(path)
    return written


@dataclasses.dataclass(frozen=True, order=True)
class LogFile:
    """One finished file of predictions.

    Attributes:
      hour: Start of its hour, UTC.
      name: Path within the log; never used again for other rows.
      version: Of the model.
    """

    hour: datetime.datetime
    name: str
    version: str

    @property
    def spans(self) -> bool:
        """Whether it holds rows of later hours too."""
        return self.name.rsplit("/", 1)[-1].startswith(_SPAN)


def files(folder: str | os.PathLike[str]) -> list[LogFile]:
    """Finished files, by hour and name."""
    root = pathlib.Path(folder)
    found = []
    for path in root.glob("version=*/hour=*/*.parquet"):
        if path.name.startswith("."):
            continue
        try:
            hour = datetime.datetime.strptime(path.parent.name, "hour=%Y-%m-%dT%H")
        except ValueError:
            continue
        version = path.parent.parent.name.removeprefix("version=")
        name = path.relative_to(root).as_posix()
        found.append(LogFile(hour.replace(tzinfo=datetime.timezone.utc), name, version))
    return sorted(found)


def label_files(folder: str | os.PathLike[str]) -> list[str]:
    """Finished files of labels: paths within the log, by day and name."""
    root = pathlib.Path(folder)
    return sorted(
        path.relative_to(root).as_posix()
        for path in (root / LABELS).glob("*/*.parquet")
        if not path.name.startswith(".")
    )


def read(
    folder: str | os.PathLike[str],
    start: datetime.datetime | None = None,
    end: datetime.datetime | None = None,
    *,
    version: str | None = None,
    columns: Sequence[str] | None = None,
    batch_rows: int = READ_ROWS,
) -> Iterator[pa.Table]:
    """Logged rows, hour by hour, a batch at a time.

    Args:
      folder: The log.
      start, end: Of the rows' time; start included, end not. Without a time zone: UTC.
      version: Of one model only.
      columns: These only.
      batch_rows: Most rows of a table.

    Yields:
      Tables of one version each. Their columns differ where the models' features do.
    """
    start, end = utc(start), utc(end)
    hour = datetime.timedelta(hours=1)
    for file in files(folder):
        if version is not None and file.version != version:
            continue
        if end and file.hour >= end:
            continue
        if start and file.hour + hour <= start and not file.spans:
            continue
        wanted = None if columns is None else list(dict.fromkeys([*columns, "time"]))
        for table in read_file(pathlib.Path(folder) / file.name, wanted, batch_rows):
            keep = None
            if start is not None:
                keep = pc.greater_equal(table.column("time"), pa.scalar(start, TIME))
            if end is not None:
                before = pc.less(table.column("time"), pa.scalar(end, TIME))
                keep = before if keep is None else pc.and_(keep, before)
            table = table if keep is None else table.filter(keep)
            if table.num_rows:
                yield table if columns is None else table.select(list(columns))


def read_file(
    path: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    batch_rows: int = READ_ROWS,
) -> Iterator[pa.Table]:
    """The rows of one file, a batch at a time; columns it does not have are left out."""
    with pq.ParquetFile(path) as file:
        wanted = None
        if columns is not None:
            wanted = [name for name in file.schema_arrow.names if name in set(columns)]
        for batch in file.iter_batches(batch_rows, columns=wanted):
            yield pa.Table.from_batches([batch])


def read_labels(
    folder: str | os.PathLike[str], names: Iterable[str] | None = None
) -> Iterator[pa.Table]:
    """Labels file by file; those named, or all."""
    for name in label_files(folder) if names is None else names:
        yield pq.read_table(pathlib.Path(folder) / name, schema=_LABEL_SCHEMA)


def _period(table: pa.Table) -> str:
    """The shortest of hour, day and month that makes files of a thousand rows."""
    moments = table.column("time").cast(pa.int64()).to_numpy().astype("datetime64[us]")
    for unit in ("h", "D"):
        if len(table) >= 1000 * len(np.unique(moments.astype(f"datetime64[{unit}]"))):
            return unit
    return "M"


def _by_period(table: pa.Table, unit: str) -> Iterator[tuple[str, pa.Table]]:
    """Parts of a table by hour or day of `time`: ISO text and rows."""
    moments = table.column("time").cast(pa.int64()).to_numpy().astype("datetime64[us]")
    periods, part = np.unique(moments.astype(f"datetime64[{unit}]"), return_inverse=True)
    for index, period in enumerate(periods):
        yield str(period), table if len(periods) == 1 else table.filter(pa.array(part == index))


def _write_file(table: pa.Table, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        pq.write_table(table, temporary, compression="zstd")
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _count(features: Features) -> int:
    if isinstance(features, (pa.Table, pa.RecordBatch)):
        return features.num_rows
    if isinstance(features, Mapping):
        return len(next(iter(features.values()), ()))
    return len(features)


def _size(features: Features, n: int) -> int:
    """About how much memory waiting rows take."""
    if isinstance(features, (pa.Table, pa.RecordBatch)):
        return features.nbytes + 100 * n
    width = len(features) if isinstance(features, Mapping) else max(map(len, features), default=0)
    return n * (100 + 60 * width)
