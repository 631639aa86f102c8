"""From the config to a look at the log: what `flywheel monitor` and a schedule do."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from models.errors import ConfigError
from models.predictor import Predictor
from models.registry import Registry
from models.spec import ModelSpec
from monitoring import report, telling, windows
from monitoring.alerts import picture
from monitoring.alerts.incidents import Incidents
from monitoring.decisions.finding import Finding
from monitoring.monitor import Look, Monitor
from monitoring.reference import ReferenceRows
from monitoring.store import Store
from pipeline import log_import, tfdv_check
from pipeline.config import Config
from pipeline.report import monitoring as pages

STORE_FILE = "monitoring.sqlite"
REPORTS = "monitoring"
#: L-infinity from which on TFDV calls text drifted, where `thresholds.fixed` names no `linf`.
TFDV_LINF = 0.1


@dataclasses.dataclass(frozen=True)
class Done:
    """What came of it.

    Attributes:
      look: What was found.
      paragraph: The same for people.
      report: Path of the rolling report; None when there is nothing to report.
      imported: What was brought in, if anything was.
      told: Messages that were sent about incidents.
    """

    look: Look
    paragraph: str
    report: str | None
    imported: dict[str, Any] | None
    told: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "summary": self.paragraph,
            "report": self.report,
            "imported": self.imported,
            "told": self.told,
            "read": dataclasses.asdict(self.look.read),
            "windows": [report.as_dict(result) for result in self.look.windows],
        }


def look(
    settings: Config,
    *,
    log: str | None = None,
    labels: str | None = None,
    version: str | None = None,
    tfdv: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Done:
    """Brings in what was named, looks, and writes the reports.

    Args:
      settings: The config.
      log: A prediction log, or rows to bring into the config's.
      labels: Labels to bring in.
      version: Of imported rows.
      tfdv: Also ask TensorFlow Data Validation about every window that is measured.
      progress: Told what is being done.

    Raises:
      ConfigError: NOTHING_DEPLOYED, UNKNOWN_VERSION, UNKNOWN_SLICE.
      FlywheelError: NO_SCHEMA, TFDV_FAILED.
    """
    say = progress or (lambda _: None)
    registry = Registry(settings.deploy.path)
    folder = pathlib.Path(settings.monitoring.log)
    imported = None
    if log is not None and _is_log(log):
        folder = pathlib.Path(log)
    elif log is not None:
        say(f"bringing {log} into the log")
        name = registry.resolve(version)
        came = log_import.bring_in(
            log,
            folder,
            Predictor.load(registry.folder(name)),
            name,
            derived=settings.data.derive,
            time_column=settings.data.split.column if settings.data.split.by == "time" else None,
        )
        imported = dataclasses.asdict(came)
    if labels is not None:
        say(f"bringing in labels from {labels}")
        count = log_import.bring_in_labels(labels, folder, settings.task.label)
        imported = {**(imported or {}), "labels": count}
    limit = settings.monitoring.thresholds.fixed.get("linf", TFDV_LINF)
    checks = (tfdv_check.Check(limit),) if tfdv else ()
    with_store = monitor(settings, log=folder, checks=checks, progress=say)
    try:
        found = with_store.look()
    finally:
        for check in checks:
            check.close()
    told = alert(settings, with_store, found)
    say("writing the report")
    path = write_reports(settings, with_store, found)
    with_store.store.close()
    return Done(found, telling.paragraph(found), path, imported, told)


def alert(settings: Config, watching: Monitor, found: Look) -> int:
    """Turns findings into incidents and tells what is new; the number of messages sent."""
    incidents = Incidents(watching.store, settings.alerts)
    results = {result.window.id: result for result in found.windows}
    for window_id, result in results.items():
        incidents.update(result.findings, window_id)

    def draw(finding: Finding) -> bytes | None:
        result = results.get(finding.window_id)
        subject = None if result is None else watching.subject(result.version)
        if result is None or subject is None:
            return None
        summary = watching.windows.summary(
            result.window, result.version, subject.reference.layout, finding.slice
        )
        before = subject.reference.summary.features.get(finding.feature)
        now = None if summary is None else summary.features.get(finding.feature)
        if before is None or now is None:
            return None
        shares = pages.shares(before, now)
        return picture.bars(finding.feature, *shares)

    return sum(delivery.state == "sent" for delivery in incidents.notify(draw))


def monitor(
    settings: Config,
    *,
    log: pathlib.Path | None = None,
    checks: Sequence[tfdv_check.Check] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Monitor:
    """The monitor of a config, with its store open."""
    _check_slices(settings)
    return Monitor(
        Registry(settings.deploy.path),
        settings.monitoring,
        Store(store_url(settings)),
        settings.name,
        log=log,
        rows=reference_rows(settings),
        severities=settings.alerts.severities,
        checks=checks,
        progress=progress,
    )


def store_url(settings: Config) -> str:
    """Where windows and incidents are kept."""
    default = f"sqlite:///{pathlib.Path(settings.root).resolve() / STORE_FILE}"
    return settings.monitoring.store or default


def reference_rows(settings: Config) -> ReferenceRows | None:
    """Rows for what training statistics cannot tell; None where the data is not at hand."""
    named = settings.monitoring.reference
    path = named or settings.data.path
    try:
        key = log_import.fingerprint(path)
    except (ConfigError, OSError):
        if named is not None:
            raise
        return None
    split = settings.data.split
    column = split.column if split.by == "time" else None

    def rows(spec: ModelSpec) -> Callable[[], Iterator[pa.RecordBatch]]:
        return lambda: log_import.open_rows(path, spec, settings.data.derive)

    def times(batch: pa.RecordBatch | pa.Table) -> Any:
        return log_import.times_of(batch, (column,))

    def held_out() -> Iterator[pa.RecordBatch]:
        """The test split of the training data, or all rows that were named as the reference."""
        from custom_components.example_gen import split as splits
        from custom_components.example_gen.reader import open_dataset

        kinds = {**settings.features, settings.task.label: "label"}
        dataset = open_dataset(path, kinds=kinds, derived=settings.data.derive)
        splitter = None if named is not None else splits.plan(dataset, split)
        for batch in dataset.batches():
            if splitter is not None:
                test = splitter.assign(batch) == splits.SPLITS.index("test")
                batch = batch.filter(pa.array(test))
            yield batch

    pictured = "image" in settings.features.values()
    return ReferenceRows(
        rows,
        path,
        key,
        replace=named is not None,
        times=None if column is None else times,
        held_out=None if pictured or log_import.is_json(path) else held_out,
    )


def write_reports(settings: Config, watching: Monitor, found: Look) -> str | None:
    """A page per window that was measured now, the rolling one, and all as JSON."""
    folder = pathlib.Path(settings.root) / REPORTS
    if not any(w.measured >= 0 for w in found.all_windows):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for result in found.windows:
        name = report.file_name(result.window.id)
        subject = watching.subject(result.version) if result.version else None
        summary = thresholds = None
        if subject is not None:
            thresholds = watching.thresholds(result.version)
            summary = watching.windows.summary(
                result.window, result.version, subject.reference.layout
            )
        reference = None if subject is None else subject.reference.summary
        page = pages.window_page(result, summary, reference, thresholds)
        _write(folder / f"{name}.html", page)
        _write(folder / f"{name}.json", json.dumps(report.as_dict(result), indent=1))
    results = watching.results(report.MOST_WINDOWS)
    _write(folder / "index.html", pages.rolling_page(settings.name, results))
    return str((folder / "index.html").resolve())


def replay(settings: Config, path: str, *, as_json: bool = False) -> dict[str, Any]:
    """Plays past rows through the configured thresholds; prints the table for people."""
    import numpy as np

    from models import feeds
    from monitoring import replay as player

    registry = Registry(settings.deploy.path)
    spec = ModelSpec.load(registry.folder(registry.resolve()))
    kinds = {f.name: "numeric" for f in spec.numeric} | {
        f.name: "categorical" for f in spec.categorical
    }
    split = settings.data.split
    column = split.column if split.by == "time" else None
    parts: dict[str, list[Any]] = {name: [] for name in kinds}
    moments: list[Any] = []
    for batch in log_import.open_rows(path, spec, settings.data.derive):
        for name, kind in kinds.items():
            values = feeds.flat_column(batch, name)
            read = feeds.to_float(values, name) if kind == "numeric" else feeds.to_text(values)
            parts[name].append(read.astype(np.float64) if kind == "numeric" else read)
        if column is not None:
            moments.append(log_import.times_of(batch, (column,)))
    table = {name: np.concatenate(values) for name, values in parts.items()}
    times = np.concatenate(moments) if moments and moments[0] is not None else None
    faults = [player.scaled(f.name) for f in spec.numeric[:2]]
    faults += [player.new_category(f.name) for f in spec.categorical[:1]]
    faults += [player.missing(f.name) for f in spec.numeric[:1]]
    total = sum(len(x) for x in parts[next(iter(kinds))])
    own = _window_rows(settings, total, times)
    sizes = {size for size in player.SIZES if size <= total // 2}
    note: tuple[str, ...] = ()
    if own is not None and own >= settings.monitoring.min_rows:
        sizes.add(min(own, total))
    elif own is not None:
        note = (
            f"A window of this config would hold some {own:,} of these rows, and fewer than "
            f"{settings.monitoring.min_rows} (`monitoring.min_rows`) are not judged: lengthen "
            "`monitoring.window`, or expect more rows than these.",
        )
    result = player.replay(
        table, kinds, settings.monitoring.thresholds, times=times, faults=faults,
        sizes=sorted(sizes or {total // 2}), windows=400, splits=10, fault_windows=50,
    )  # fmt: skip
    result = dataclasses.replace(result, notes=(*result.notes, *note))
    if not as_json:
        from pipeline.cli.output import out

        for line in result.lines():
            out.print(line, markup=False)
    return result.to_dict()


def _window_rows(settings: Config, total: int, times: Any) -> int | None:
    """Rows that a window of the config holds, were they to come as these did; None: not known."""
    window = settings.monitoring.window
    if window.by == "count":
        return window.rows
    if window.by == "batch" or times is None:
        return None
    days = max(len(set(times.astype("datetime64[D]").tolist())), 1)
    return round(total / days * windows.seconds(window.length) / 86_400)


def _is_log(path: str) -> bool:
    place = pathlib.Path(path)
    return place.is_dir() and (
        any(place.glob("version=*")) or (place / "labels").is_dir() or not any(place.iterdir())
    )


def _check_slices(settings: Config) -> None:
    for name in settings.monitoring.slices:
        if settings.features.get(name) != "categorical":
            raise ConfigError(
                "UNKNOWN_SLICE",
                f"`monitoring.slices` names `{name}`, which is no categorical feature.",
                next="Slices are by the values of categorical features.",
            )


def _write(path: pathlib.Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
