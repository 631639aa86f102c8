"""From the log to windows: every row counted once, whatever happens in between.

Files of the log never change and are read in order. What a file adds to the windows, and the
note that it has been read, are one transaction: a monitor that is killed at any point leaves
both or neither. A window is OPEN while rows are expected; CLOSED when its time is over (and the
grace), its rows are complete, or its batch is read; REVISED when rows or labels came after that.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import logging
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import orm

from monitoring import prediction_log
from monitoring.log_rows import FEATURE
from monitoring.options import WindowOptions
from monitoring.prediction_log import LogFile
from monitoring.store import Store
from monitoring.store.windows import CLOSED, OPEN, REVISED, Part, ReadFile, SummaryRow, Window
from monitoring.window_summary import Layout, WindowSummary, flat

UTC = datetime.timezone.utc
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
#: 1970-01-01 was a Thursday; weeks start on Monday.
_MONDAY = 4 * 86_400
#: Rows whose counts are kept in memory before they are written.
_TRANSACTION_ROWS = 500_000
_logger = logging.getLogger(__name__)

#: The layout that rows of a version are counted by; None when there is no reference for it.
Layouts = Callable[[str], Layout | None]


@dataclasses.dataclass(frozen=True)
class Read:
    """What one look at the log found.

    Attributes:
      files, rows: Newly read.
      late_rows: Of these, rows of windows that had been closed.
      unknown: Rows by version for which there is no reference; counted by number only.
      closed, revised: Windows that became so.
    """

    files: int = 0
    rows: int = 0
    late_rows: int = 0
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    closed: tuple[str, ...] = ()
    revised: tuple[str, ...] = ()


def seconds(duration: str) -> int:
    """`15m`, `1h`, `1d`, `2w` in seconds."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def start_of(moments: np.ndarray, length: str) -> np.ndarray:
    """Starts of the windows that moments fall into; int64 seconds since 1970."""
    offset = _MONDAY if length.endswith("w") else 0
    whole = moments.astype("datetime64[s]").astype(np.int64)
    size = seconds(length)
    return (whole - offset) // size * size + offset


class Windows:
    """The windows of one log.

    Args:
      store: Where they are kept.
      scope: Name of the pipeline.
      log: Folder of the prediction log.
      options: How rows are put into windows.
      layouts: How rows of a version are counted.
      slices: Categorical features by whose values rows are counted separately.
      max_slices: Most values of each.
    """

    def __init__(
        self,
        store: Store,
        scope: str,
        log: str | pathlib.Path,
        options: WindowOptions,
        layouts: Layouts,
        slices: Sequence[str] = (),
        max_slices: int = 20,
    ):
        self.store, self.scope, self.options = store, scope, options
        self.log = pathlib.Path(log)
        self._layouts, self._slices, self._max_slices = layouts, tuple(slices), max_slices

    def read(self, now: datetime.datetime | None = None) -> Read:
        """Counts what is new in the log and closes what is over."""
        now = now or datetime.datetime.now(UTC)
        with self.store.session() as session:
            known = set(
                session.scalars(sa.select(ReadFile.name).where(ReadFile.scope == self.scope))
            )
        new = [file for file in prediction_log.files(self.log) if file.name not in known]
        total, revised = Read(), set()
        unknown: dict[str, int] = {}
        for group in _groups(self.log, new):
            with self.store.session() as session:
                counted = _Transaction(self, session)
                for file in group:
                    counted.file(file)
                counted.finish()
            revised |= counted.revised
            for version, rows in counted.unknown.items():
                unknown[version] = unknown.get(version, 0) + rows
            total = dataclasses.replace(
                total,
                files=total.files + len(group),
                rows=total.rows + counted.rows,
                late_rows=total.late_rows + counted.late,
            )
        return dataclasses.replace(
            total, unknown=unknown, revised=tuple(sorted(revised)), closed=self._close(now)
        )

    def _close(self, now: datetime.datetime) -> tuple[str, ...]:
        grace = datetime.timedelta(seconds=seconds(self.options.grace))
        closed = []
        with self.store.session() as session:
            found = session.scalars(
                sa.select(Window)
                .where(Window.scope == self.scope, Window.state == OPEN)
                .order_by(Window.number)
            )
            for window in found:
                over = {
                    "time": window.end + grace <= now,
                    "count": window.rows >= self.options.rows,
                    "batch": True,
                }[window.kind]
                if over:
                    window.state = CLOSED
                    closed.append(window.id)
        return tuple(closed)

    def all(self) -> list[Window]:
        """In order of their time."""
        with self.store.session() as session:
            query = sa.select(Window).where(Window.scope == self.scope)
            return list(session.scalars(query.order_by(Window.start, Window.number)))

    def summary(self, window: Window, version: str, layout: Layout, slice: str = ""):
        """The summary of a slice of a window; None where there is none in this layout."""
        with self.store.session() as session:
            row = session.get(SummaryRow, (window.id, version, slice))
        if row is None:
            return None
        try:
            return WindowSummary.from_bytes(layout, row.content)
        except ValueError:
            return None

    def slices(self, window: Window, version: str) -> list[str]:
        """Names of the slices that were counted."""
        with self.store.session() as session:
            query = sa.select(SummaryRow.slice).where(
                SummaryRow.window_id == window.id, SummaryRow.version == version
            )
            return sorted(name for name in session.scalars(query) if name)

    def rows(
        self, window: Window, columns: Sequence[str] | None = None, version: str | None = None
    ) -> Iterator[pa.Table]:
        """The window's rows from the log, as far as the log still has them."""
        with self.store.session() as session:
            parts = list(
                session.scalars(
                    sa.select(Part).where(Part.window_id == window.id).order_by(Part.name)
                )
            )
        wanted = None if columns is None else list(dict.fromkeys([*columns, "time"]))
        for part in parts:
            path = self.log / part.name
            if not path.exists():
                _logger.warning("%s is gone: its rows are not looked at again", path)
                continue
            if version is not None and not part.name.startswith(f"version={version}/"):
                continue
            place = 0
            for table in prediction_log.read_file(path, wanted):
                if part.stop >= 0:
                    first, stop = max(part.first - place, 0), min(part.stop - place, len(table))
                    chosen = table.slice(first, max(stop - first, 0))
                else:
                    moments = table.column("time")
                    inside = pc.and_(
                        pc.greater_equal(moments, pa.scalar(window.start, moments.type)),
                        pc.less(moments, pa.scalar(window.end, moments.type)),
                    )
                    chosen = table.filter(inside)
                place += len(table)
                if len(chosen):
                    yield chosen


class _Transaction:
    """Counts files within one transaction."""

    def __init__(self, windows: Windows, session: orm.Session):
        self._windows, self._session = windows, session
        self._touched: dict[str, Window] = {}
        self._summaries: dict[tuple[str, str, str], WindowSummary] = {}
        self._number: int | None = None
        self.rows = self.late = 0
        self.revised: set[str] = set()
        self.unknown: dict[str, int] = {}

    def file(self, file: LogFile) -> None:
        layout = self._windows._layouts(file.version)
        rows, parts = 0, {}
        for table in prediction_log.read_file(self._windows.log / file.name):
            for window, part, first in self._assign(table):
                self._count(window, file.version, layout, part)
                if window.kind == "time":
                    parts[window.id] = (0, -1)
                else:
                    start = parts.get(window.id, (rows + first, 0))[0]
                    parts[window.id] = (start, rows + first + len(part))
            rows += len(table)
        if layout is None:
            self.unknown[file.version] = self.unknown.get(file.version, 0) + rows
        scope = self._windows.scope
        self._session.add(ReadFile(scope=scope, name=file.name, rows=rows))
        self._session.flush()
        for window_id, (first, stop) in parts.items():
            self._session.add(
                Part(window_id=window_id, scope=scope, name=file.name, first=first, stop=stop)
            )
        self.rows += rows

    def finish(self) -> None:
        """Adds the counts to what the store has."""
        for (window_id, version, slice_), counted in self._summaries.items():
            key = (window_id, version, slice_)
            row = self._session.get(SummaryRow, key)
            if row is None:
                row = SummaryRow(window_id=window_id, version=version, slice=slice_, content=b"")
                self._session.add(row)
            else:
                try:
                    counted = WindowSummary.from_bytes(counted.layout, row.content).merge(counted)
                except ValueError:
                    _logger.warning(
                        "%s was counted against another reference: counting starts anew", window_id
                    )
            row.content = counted.to_bytes()
        for window in self._touched.values():
            window.revision += 1

    def _assign(self, table: pa.Table) -> Iterator[tuple[Window, pa.Table, int]]:
        """Parts of a table with their windows, and where in the table each starts."""
        options = self._windows.options
        if options.by == "time":
            moments = flat(table.column("time")).cast(pa.int64()).to_numpy()
            starts = start_of(moments.astype("datetime64[us]"), options.length)
            for start in np.unique(starts):
                yield self._by_time(int(start)), table.filter(pa.array(starts == start)), 0
            return
        done = 0
        while done < len(table):
            window = self._current()
            left = options.rows - window.rows if options.by == "count" else len(table)
            part = table.slice(done, left)
            yield window, part, done
            done += len(part)
            if options.by == "count" and window.rows >= options.rows:
                window.state = CLOSED

    def _by_time(self, start: int) -> Window:
        moment = datetime.datetime.fromtimestamp(start, UTC)
        length = self._windows.options.length
        name = f"{self._windows.scope}/{length}/{moment:%Y-%m-%dT%H:%M}"
        return self._window(
            name,
            start // seconds(length),
            moment,
            moment + datetime.timedelta(seconds=seconds(length)),
        )

    def _current(self) -> Window:
        """The open window by count or batch, or a new one."""
        kind = self._windows.options.by
        for window in self._touched.values():
            if window.state == OPEN:
                return window
        newest = self._session.scalars(
            sa.select(Window)
            .where(Window.scope == self._windows.scope, Window.kind == kind)
            .order_by(Window.number.desc())
            .limit(1)
        ).first()
        if newest is not None and newest.state == OPEN:
            self._touched[newest.id] = newest
            return newest
        number = 1 if newest is None else newest.number + 1
        name = f"{self._windows.scope}/{kind}/{number}"
        return self._window(name, number, None, None)

    def _window(
        self,
        name: str,
        number: int,
        start: datetime.datetime | None,
        end: datetime.datetime | None,
    ) -> Window:
        window = self._touched.get(name) or self._session.get(Window, name)
        if window is None:
            window = Window(
                id=name,
                scope=self._windows.scope,
                kind=self._windows.options.by,
                number=number,
                start=start or datetime.datetime.max.replace(tzinfo=UTC),
                end=end or datetime.datetime.min.replace(tzinfo=UTC),
                state=OPEN,
                rows=0,
                late_rows=0,
                versions={},
                revision=0,
                measured=-1,
                facts={},
            )
            self._session.add(window)
            self._session.flush()
        self._touched[name] = window
        return window

    def _count(self, window: Window, version: str, layout: Layout | None, part: pa.Table) -> None:
        n = len(part)
        window.rows += n
        window.versions = {**window.versions, version: window.versions.get(version, 0) + n}
        if window.kind != "time":
            span = pc.min_max(part.column("time")).as_py()
            window.start = min(window.start, span["min"])
            window.end = max(window.end, span["max"])
        if window.state != OPEN:
            window.state = REVISED
            window.late_rows += n
            self.late += n
            self.revised.add(window.id)
        if layout is None:
            return
        self._summary(window, version, "", layout).add(part)
        for name, rows in slices_of(part, layout, self._windows._slices, self._windows._max_slices):
            self._summary(window, version, name, layout).add(rows)

    def _summary(self, window: Window, version: str, slice_: str, layout: Layout) -> WindowSummary:
        key = (window.id, version, slice_)
        if key not in self._summaries:
            self._summaries[key] = WindowSummary(layout)
        return self._summaries[key]


def slices_of(
    table: pa.Table, layout: Layout, columns: Sequence[str], most: int
) -> Iterator[tuple[str, pa.Table]]:
    """Rows by value of each slice column: the reference's commonest values."""
    for column in columns:
        cells = layout.cells.get(column)
        if not hasattr(cells, "names") or FEATURE + column not in table.column_names:
            continue
        text = flat(table.column(FEATURE + column)).cast(pa.string())
        code = pc.index_in(text, pa.array(cells.names[:most], pa.string()))
        for index in pc.unique(code.drop_null()).to_pylist():
            inside = pc.fill_null(pc.equal(code, index), False)
            yield f"{column}={cells.names[index]}", table.filter(inside)


def _groups(log: pathlib.Path, files: Sequence[LogFile]) -> Iterator[list[LogFile]]:
    """Files that are counted in one transaction: about half a million rows each."""
    import pyarrow.parquet as pq

    group, rows = [], 0
    for file in files:
        group.append(file)
        rows += pq.read_metadata(log / file.name).num_rows
        if rows >= _TRANSACTION_ROWS:
            yield group
            group, rows = [], 0
    yield from itertools.filterfalse(lambda g: not g, [group])
