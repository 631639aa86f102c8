"""What windows are held against: counted once, kept beside the model's version.

The training statistics that travel with a deployed version give the cells and counts of its
features and label. What needs rows (the distribution of predictions, change in several
features together, the calibration behind the estimate) comes from reference rows, where there
are any; rows that were named as the reference (`monitoring.reference`) replace the statistics
as well, since counts of rows are exact and quantiles are not.

    <registry>/references/<version>/<key>/reference.json, sample.arrow

is the cache; the version's own files, whose content is its name, stay as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import feeds
from models.errors import DataError
from models.predictor import Predictor
from models.spec import ModelSpec, NumericFeature
from monitoring import counting, log_rows, summaries
from monitoring.counting import CategoryCells, Counts, Numbers, NumericCells, Values
from monitoring.log_rows import tabular
from monitoring.measure import LABEL, PREDICTION
from monitoring.window_summary import Layout, WindowSummary, flat, kind_of

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

STATISTICS = "statistics/Split-train/FeatureStats.pb"
#: Values that the quantile edges are made from, at most; evenly taken from all rows.
_EDGE_ROWS = 1_000_000
_FORMAT = 1
SAMPLE_ROWS = 100_000
#: Stands for "not known" in a sample's `time`.
NO_TIME = np.datetime64(0, "us")

#: Opens the reference's rows, as often as it is called.
Rows = Callable[[], Iterable[pa.Table | pa.RecordBatch]]
#: When each row of a table was: datetime64 `[n]`; None when the table does not say.
Times = Callable[[pa.Table | pa.RecordBatch], "np.ndarray | None"]


@dataclasses.dataclass(frozen=True)
class ReferenceRows:
    """Rows for what training statistics cannot tell.

    Attributes:
      open: Model's contract to what opens the rows.
      source: For people.
      key: Differs when the rows do.
      replace: Whether they stand for the training statistics too (`monitoring.reference`).
      times: When each row was.
      held_out: Opens those that the model was not trained on, with their labels: what realised
        performance is judged by. None: it is measured and not judged.
    """

    open: Callable[[ModelSpec], Rows]
    source: str
    key: str
    replace: bool = False
    times: Times | None = None
    held_out: Rows | None = None


@dataclasses.dataclass(frozen=True)
class Reference:
    """The other side of every comparison.

    Attributes:
      summary: Counts of its rows, and how they are counted; `(prediction)` and `(label)` among
        the features where known.
      sample: Rows in the log's format with `label`, evenly taken; None without rows.
      source: Where it comes from, for people.
      seen_in_training: Whether the rows may be ones the model has learnt from.
    """

    summary: WindowSummary
    sample: pa.Table | None
    source: str
    seen_in_training: bool = True

    @property
    def layout(self) -> Layout:
        return self.summary.layout

    @property
    def spec(self) -> ModelSpec:
        return self.layout.spec

    def save(self, folder: pathlib.Path) -> None:
        """Writes it, visible when whole."""
        staging = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
        staging.mkdir(parents=True)
        content = {
            "format": _FORMAT,
            "layout": self.layout.to_dict(),
            "summary": counting.as_text(self.summary.to_bytes()),
            "source": self.source,
            "seen_in_training": self.seen_in_training,
        }
        (staging / "reference.json").write_text(json.dumps(content), encoding="utf-8")
        if self.sample is not None:
            with pa.ipc.new_file(str(staging / "sample.arrow"), self.sample.schema) as writer:
                writer.write_table(self.sample)
        try:
            os.replace(staging, folder)
        except OSError:  # another process was first, with the same content
            shutil.rmtree(staging)

    @classmethod
    def load(cls, folder: pathlib.Path) -> Reference | None:
        """Reads it back; None where there is none, or of an older format."""
        try:
            content = json.loads((folder / "reference.json").read_text("utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        if content["format"] != _FORMAT:
            return None
        layout = Layout.from_dict(content["layout"])
        summary = WindowSummary.from_bytes(layout, counting.from_text(content["summary"]))
        sample = None
        if (folder / "sample.arrow").exists():
            with pa.ipc.open_file(str(folder / "sample.arrow")) as reader:
                sample = reader.read_all()
        return cls(summary, sample, content["source"], content["seen_in_training"])


def of_version(
    folder: str | os.PathLike[str],
    *,
    bins: int = summaries.BINS,
    rows: Rows | None = None,
    rows_replace_statistics: bool = False,
    times: Times | None = None,
    source: str = "",
    sample_rows: int = SAMPLE_ROWS,
    cache: str | os.PathLike[str] | None = None,
    cache_key: str = "",
) -> Reference:
    """The reference of a deployed version.

    Args:
      folder: The version's, in the registry.
      bins: Coarse bins per numeric feature.
      rows: Opens reference rows, with their label where it is known.
      rows_replace_statistics: Whether features are counted from the rows too.
      times: When each row was.
      source: Where the rows come from, for people.
      sample_rows: Rows kept as such, at most.
      cache: Folder to keep it in.
      cache_key: What else it depends on: identity of the rows.
    """
    folder = pathlib.Path(folder)
    spec = ModelSpec.load(folder)
    place = None
    if cache is not None:
        given = json.dumps(
            [_FORMAT, bins, rows is not None, rows_replace_statistics, sample_rows, cache_key]
        )
        place = pathlib.Path(cache) / hashlib.sha256(given.encode()).hexdigest()[:16]
        found = Reference.load(place)
        if found is not None:
            return found
    predictor = Predictor.load(folder) if rows is not None else None
    if rows is not None and rows_replace_statistics:
        made = from_rows(
            spec, rows, predictor, times=times, bins=bins, sample_rows=sample_rows, source=source
        )
        made = dataclasses.replace(made, seen_in_training=False)
    else:
        made = _from_statistics(spec, folder, bins)
        if rows is not None:
            made = _with_rows(made, rows, predictor, times, bins, sample_rows, source)
    if place is not None:
        made.save(place)
    return made


def from_rows(
    spec: ModelSpec,
    rows: Rows,
    predictor: Predictor | None = None,
    *,
    times: Times | None = None,
    bins: int = summaries.BINS,
    sample_rows: int = SAMPLE_ROWS,
    source: str = "rows",
) -> Reference:
    """A reference counted from rows; they are opened twice, and never held all at once.

    Args:
      spec: The model's contract.
      rows: Opens them.
      predictor: Predicts them, for the distribution of predictions.
      times: When each row was.
      bins: Coarse bins per numeric feature.
      sample_rows: Rows kept as such, at most.
      source: For people.
    """
    kinds = {f.name: kind_of(spec, f.name) for f in tabular(spec)}
    wanted = {**kinds, LABEL: kind_of(spec, LABEL)}
    if predictor is not None:
        wanted[PREDICTION] = kind_of(spec, PREDICTION)
    values: dict[str, Thinned] = {n: Thinned() for n, k in wanted.items() if k == "numeric"}
    tally: dict[str, dict[str, float]] = {n: {} for n, k in wanted.items() if k != "numeric"}
    sample = Thinned(sample_rows)
    for table in _as_log(spec, rows, predictor, times):
        for name, column in _columns(spec, table, wanted):
            if name in values:
                values[name].add(column.cast(pa.float64()).drop_null().to_numpy())
            else:
                for item in pc.value_counts(column.drop_null()).to_pylist():
                    text = str(item["values"])
                    tally[name][text] = tally[name].get(text, 0.0) + item["counts"]
        sample.add(table)
    cells: dict[str, counting.Cells] = {}
    for name in wanted:
        if name in values:
            single = name in (PREDICTION, LABEL) or _single(spec, name)
            cells[name] = NumericCells.of(values[name].array(), bins, single)
        elif name == LABEL or (name == PREDICTION and spec.task == "multiclass"):
            cells[name] = CategoryCells(tuple(spec.classes))
        else:
            cells[name] = CategoryCells.of(tally[name])
    summary = WindowSummary(Layout(spec, cells))
    for table in _as_log(spec, rows, predictor, times):
        summary.add(table)
        _, column = next(iter(_columns(spec, table, {LABEL: ""})))
        summary.features[LABEL].add(column)
    kept = sample.table()
    return Reference(summary, kept, source)


def _from_statistics(spec: ModelSpec, folder: pathlib.Path, bins: int) -> Reference:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    if not (folder / STATISTICS).is_file():
        raise DataError(
            "NO_REFERENCE",
            f"The version in `{folder}` carries no training statistics, and no reference rows are "
            "named: there is nothing to hold windows against.",
            next="Name rows as `monitoring.reference` in flywheel.yaml.",
        )
    parsed = statistics_pb2.DatasetFeatureStatisticsList()
    parsed.ParseFromString((folder / STATISTICS).read_bytes())
    (dataset,) = parsed.datasets
    by_name = {
        stats.path.step[0] if stats.path.step else stats.name: stats for stats in dataset.features
    }
    counts: dict[str, Counts] = {}
    for name in (*(f.name for f in tabular(spec)), spec.label):
        stats = by_name.get(name)
        key = LABEL if name == spec.label else name
        if stats is None:
            continue
        if kind_of(spec, key) == "numeric":
            counts[key] = _numbers(stats, bins, key == LABEL or _single(spec, name))
        else:
            counts[key] = _values(stats, spec.classes if key == LABEL else ())
    summary = WindowSummary(Layout(spec, {name: c.cells for name, c in counts.items()}))
    summary.features = counts
    summary.rows = int(dataset.num_examples)
    return Reference(summary, None, "training statistics")


def _with_rows(
    made: Reference,
    rows: Rows,
    predictor: Predictor,
    times: Times | None,
    bins: int,
    sample_rows: int,
    source: str,
) -> Reference:
    """Adds the predictions' distribution and a sample of rows to training statistics."""
    spec = made.spec
    scores, sample = Thinned(), Thinned(sample_rows)
    tally = np.zeros(len(spec.classes))
    for table in _as_log(spec, rows, predictor, times):
        answers = flat(table.column("score")).flatten().to_numpy(zero_copy_only=False)
        answers = answers.reshape(table.num_rows, -1)
        scores.add(answers[:, 0])
        if spec.task == "multiclass":
            tally += np.bincount(answers.argmax(axis=1), minlength=len(tally))
        sample.add(table)
    counts: Counts
    if spec.task == "multiclass":
        counts = Values(CategoryCells(tuple(spec.classes)))
        counts.counts = tally
    else:
        counts = Numbers(NumericCells.of(scores.array(), bins)).add(scores.array())
    summary = WindowSummary(Layout(spec, {**made.layout.cells, PREDICTION: counts.cells}))
    summary.features = {**made.summary.features, PREDICTION: counts}
    summary.rows = made.summary.rows
    return Reference(summary, sample.table(), f"training statistics; rows of {source}")


class Thinned:
    """Evenly taken items of a stream: when too many are kept, every second one goes."""

    def __init__(self, most: int = _EDGE_ROWS):
        self._most, self._step, self._seen, self._kept = most, 1, 0, 0
        self._parts: list[Any] = []

    def add(self, items: np.ndarray | pa.Table) -> None:
        n = len(items)
        first = -self._seen % self._step
        self._seen += n
        where = np.arange(first, n, self._step)
        if len(where):
            self._parts.append(items.take(where) if isinstance(items, pa.Table) else items[where])
            self._kept += len(where)
        while self._kept > self._most:
            together = (
                pa.concat_tables(self._parts)
                if isinstance(items, pa.Table)
                else np.concatenate(self._parts)
            )
            where = np.arange(0, len(together), 2)
            self._parts = [together.take(where) if isinstance(items, pa.Table) else together[::2]]
            self._step *= 2
            self._kept = len(where)

    def array(self) -> np.ndarray:
        return np.concatenate(self._parts) if self._parts else np.zeros(0)

    def table(self) -> pa.Table | None:
        return pa.concat_tables(self._parts).combine_chunks() if self._parts else None


def _as_log(
    spec: ModelSpec, rows: Rows, predictor: Predictor | None, times: Times | None
) -> Iterator[pa.Table]:
    """Reference rows in the log's format, with `label`."""
    number = 0
    for batch in rows():
        if not batch.num_rows:
            continue
        n = batch.num_rows
        moments = times(batch) if times is not None else None
        table = log_rows.rows(
            spec,
            "",
            batch,
            None if predictor is None else predictor.predict(batch),
            request_ids=[str(number + i) for i in range(n)],
            times=NO_TIME if moments is None else moments,
        )
        number += n
        label = feeds.to_text(feeds.flat_column(batch, spec.label))
        yield table.append_column("label", pa.array(label, pa.string()))


def _columns(
    spec: ModelSpec, table: pa.Table, wanted: Iterable[str]
) -> Iterator[tuple[str, pa.Array]]:
    for name in wanted:
        if name == LABEL:
            column = flat(table.column("label"))
            if spec.task == "regression":
                column = pa.array(feeds.to_float(column, spec.label), from_pandas=True)
            yield name, column
        elif name == PREDICTION:
            answers = flat(table.column("score"))
            if spec.task == "multiclass":
                yield name, flat(table.column("prediction"))
            else:
                yield name, answers.flatten()
        else:
            yield name, flat(table.column(log_rows.FEATURE + name))


def _single(spec: ModelSpec, name: str) -> bool:
    """Whether training saw the number as a float32."""
    feature = next((f for f in tabular(spec) if f.name == name), None)
    return not (isinstance(feature, NumericFeature) and feature.column_type == "integer")


def _numbers(stats: statistics_pb2.FeatureNameStatistics, bins: int, single: bool) -> Numbers:
    edges = summaries.edges_from_statistics(stats, bins * counting.FINE)
    coarse = summaries.edges_from_statistics(stats, bins)
    made = Numbers(NumericCells(edges, counting.nearest(edges, coarse), single))
    binned = summaries.bin_statistics(stats, edges)
    made.counts = np.asarray(binned.counts, float)
    made.missing = binned.missing
    number = stats.num_stats
    made.finite = float(made.counts.sum())
    made.mean, made.m2 = float(number.mean), float(number.std_dev) ** 2 * made.finite
    made.zeros = float(number.num_zeros)
    if made.finite:
        made.low, made.high = float(number.min), float(number.max)
    made.known_median = binned.median
    return made


def _values(stats: statistics_pb2.FeatureNameStatistics, classes: tuple[str, ...]) -> Values:
    counted, _ = summaries.pair_statistics(stats, stats)
    if isinstance(counted, summaries.Binned):  # whole numbers that were not declared categories
        counted = summaries.Categories({}, counted.missing, sum(counted.counts))
    counts = {name: counted.counts.get(name, 0.0) for name in (*classes, *counted.counts)}
    cells = CategoryCells.of(counts)
    if counted.other:
        cells = dataclasses.replace(cells, complete=False)
    made = Values(cells)
    made.counts = np.asarray([counts[name] for name in cells.names])
    made.missing = counted.missing
    made.other = counted.other + sum(counts.values()) - float(made.counts.sum())
    return made
