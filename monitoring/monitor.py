"""One look at the log: read, close, measure, decide, keep.

    monitor = Monitor(registry, options, store, scope="taxi", log=folder)
    looked = monitor.look()

A look is a chain of transactions, each whole or undone: rows are counted with the note that
their file has been read; a window's measures and findings replace the older ones with the note of
which revision they are of. So a look that was killed is simply continued by the next.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from models import feeds
from models.registry import Registry
from models.spec import ModelSpec
from monitoring import estimate, kept, measuring, prediction_log, reference, windows
from monitoring.alerts.message import Severity
from monitoring.alerts.options import Kind
from monitoring.decisions.decide import decide
from monitoring.decisions.finding import Finding
from monitoring.decisions.thresholds import Thresholds
from monitoring.estimate import Calibrator, LossModel
from monitoring.measure import Measure
from monitoring.measures import multivariate
from monitoring.measuring import Subject
from monitoring.options import MonitoringOptions
from monitoring.performance import Labels, scores_of
from monitoring.reference import ReferenceRows
from monitoring.store import Store
from monitoring.store.windows import OPEN, ReadFile, Window
from monitoring.thresholds import learnt
from monitoring.window_summary import Layout, flat
from monitoring.windows import Read, Windows

UTC = datetime.timezone.utc
_HISTORY = 20
#: A window's id, its version's folder and contract, and an even sample of its rows to measures.
Check = Callable[[str, pathlib.Path, ModelSpec, pa.Table], list[Measure]]
#: Rows of a window that a check is shown.
_CHECKED_ROWS = 200_000
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WindowResult:
    """A window that was measured in this look.

    Attributes:
      window: As the store has it.
      version: The model it is about.
      measures: Of its newest revision.
      findings: Most important first.
      notes: What was not measured, and why.
    """

    window: Window
    version: str
    measures: list[Measure]
    findings: list[Finding]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Look:
    """What a look found.

    Attributes:
      read: What was new in the log.
      new_labels: Label files that were new.
      windows: Measured in this look, oldest first.
      all_windows: Every window of the pipeline, oldest first.
    """

    read: Read
    new_labels: int
    windows: list[WindowResult]
    all_windows: list[Window]


class Monitor:
    """Watches one pipeline's deployed model.

    Args:
      registry: Of deployed versions.
      options: The config's section.
      store: Where windows are kept.
      scope: Name of the pipeline.
      log: Folder of the prediction log; default: the options'.
      rows: Reference rows, if there are any.
      severities: Kind of finding to severity, where it is not the usual one.
      checks: Further measures, made only where somebody asked for them.
      progress: Told what is being done, for people.
    """

    def __init__(
        self,
        registry: Registry,
        options: MonitoringOptions,
        store: Store,
        scope: str,
        *,
        log: str | pathlib.Path | None = None,
        rows: ReferenceRows | None = None,
        severities: Mapping[Kind, Severity] | None = None,
        checks: Sequence[Check] = (),
        progress: Callable[[str], None] = lambda _: None,
    ):
        self.registry, self.options, self.store, self.scope = registry, options, store, scope
        self.log = pathlib.Path(log or options.log)
        self._rows, self._progress, self._severities = rows, progress, severities
        self._checks = tuple(checks)
        self._subjects: dict[str, Subject | None] = {}
        self._thresholds: dict[str, Thresholds] = {}
        self._losses: dict[str, LossModel | None] = {}
        self.windows = Windows(
            store,
            scope,
            self.log,
            options.window,
            self._layout,
            options.slices,
            options.max_slices,
        )

    def look(self, now: datetime.datetime | None = None) -> Look:
        """Everything that is to be done now; one look at a time per store.

        Raises:
          FlywheelError: MONITOR_RUNNING when another one is at work.
        """
        with self.store.locked(f"monitor-{self.scope}"):
            self._progress("reading the log")
            read = self.windows.read(now)
            labels, new_labels = self._labels()
            done = []
            everything = self.windows.all()
            for place, window in enumerate(everything):
                if window.state == OPEN or window.measured >= window.revision:
                    continue
                self._progress(f"measuring {window.id}")
                done.append(self._measure(window, everything[:place], labels))
                # It is history for those that follow, also within one look.
                everything[place] = done[-1].window
            return Look(read, new_labels, done, self.windows.all())

    def subject(self, version: str) -> Subject | None:
        """A version with its reference; None when the registry does not have it."""
        if version not in self._subjects:
            folder = self.registry.folder(version)
            if not (folder / "model.json").is_file():
                self._subjects[version] = None
                return None
            self._progress(f"summarising the reference of {version}")
            rows = self._rows
            made = reference.of_version(
                folder,
                bins=self.options.bins,
                rows=None if rows is None else rows.open(ModelSpec.load(folder)),
                rows_replace_statistics=rows is not None and rows.replace,
                times=None if rows is None else rows.times,
                source="" if rows is None else rows.source,
                cache=self._cache(version),
                cache_key="" if rows is None else rows.key,
            )
            self._subjects[version] = Subject(
                version, folder, self.registry.manifest(version), self.registry.current(), made
            )
        return self._subjects[version]

    def thresholds(self, version: str) -> Thresholds:
        """What a version's windows are judged by; learnt once and kept beside the reference."""
        if version not in self._thresholds:
            subject = self.subject(version)
            self._progress("learning thresholds from the reference")
            rows, options = self._rows, self.options.window
            by_time = options.by == "time"
            self._thresholds[version] = learnt(
                subject.reference,
                subject.folder,
                self.options.thresholds,
                window_blocks=max(windows.seconds(options.length) // 86_400, 1) if by_time else 1,
                window_rows=options.rows if options.by == "count" else None,
                held_out=None if rows is None else rows.held_out,
                times=None if rows is None or not by_time else rows.times,
                cache=self._cache(version),
                cache_key="" if rows is None else rows.key,
            )
        return self._thresholds[version]

    def results(self, most: int | None = None) -> list[WindowResult]:
        """What the store knows about the newest measured windows, oldest first."""
        found = [w for w in self.windows.all() if w.measured >= 0]
        return [
            WindowResult(
                window,
                window.facts.get("version", ""),
                self.measures(window.id),
                self.findings(window.id),
                tuple(window.facts.get("notes", ())),
            )
            for window in (found if most is None else found[-most:])
        ]

    def measures(self, window_id: str) -> list[Measure]:
        """As kept."""
        with self.store.session() as session:
            return kept.measures(session, window_id)

    def findings(self, window_id: str) -> list[Finding]:
        """As kept."""
        with self.store.session() as session:
            return kept.findings(session, window_id)

    def _layout(self, version: str) -> Layout | None:
        subject = self.subject(version)
        return None if subject is None else subject.reference.layout

    def _cache(self, version: str) -> pathlib.Path:
        return self.registry.root / "references" / version

    def _labels(self) -> tuple[Labels, int]:
        """All labels; windows that new ones belong to are revised."""
        names = prediction_log.label_files(self.log)
        if not names:
            return Labels(()), 0
        with self.store.session() as session:
            known = set(
                session.scalars(sa.select(ReadFile.name).where(ReadFile.scope == self.scope))
            )
        new = [name for name in names if name not in known]
        if new:
            self._progress("joining labels")
            ids = Labels(prediction_log.read_labels(self.log, new)).arrow
            touched = [
                window.id
                for window in self.windows.all()
                if any(
                    pc.any(pc.is_in(table.column("request_id"), ids)).as_py()
                    for table in self.windows.rows(window, ["request_id"])
                )
            ]
            with self.store.session() as session:
                for window_id in touched:
                    window = session.get(Window, window_id)
                    window.revision += 1
                    if window.measured >= 0:
                        window.state = windows.REVISED
                session.add_all(ReadFile(scope=self.scope, name=name, rows=0) for name in new)
        waiting = any(w.state != OPEN and w.measured < w.revision for w in self.windows.all())
        read = prediction_log.read_labels(self.log, names) if waiting else ()
        return Labels(read), len(new)

    def _measure(self, window: Window, earlier: Sequence[Window], labels: Labels) -> WindowResult:
        counts = {v: n for v, n in window.versions.items() if self.subject(v) is not None}
        if not counts:
            note = "no version of these rows is in the registry: they are only counted"
            return self._keep(window, "", [], [], (note,))
        version = max(counts, key=lambda v: counts[v])
        subject = self.subject(version)
        # Windows of other lengths may be in the store, from before the config was changed.
        alike = [w for w in earlier if w.kind == window.kind and _alike(w, window)]
        calibrator, realised = self._calibrator(subject, alike, labels)
        found = measuring.measure(
            self.windows,
            window,
            subject,
            self.options,
            labels,
            earlier=alike,
            previous=alike[-1] if alike else None,
            season=self._season(window, alike),
            calibrator=calibrator,
            realised=realised,
            losses=self._loss_model(subject),
        )
        found.measures.extend(self._checked(window, subject))
        history = [self.measures(w.id) for w in alike[-_HISTORY:] if w.measured >= 0]
        judged = [m for m in found.measures if m.against in ("training", "none")]
        findings = decide(
            judged,
            self.thresholds(version),
            history,
            self.options.thresholds,
            severities=self._severities,
            limits={"freshness_s": windows.seconds(self.options.freshness)},
        )
        return self._keep(window, version, found.measures, findings, found.notes)

    def _checked(self, window: Window, subject: Subject) -> list[Measure]:
        if not self._checks:
            return []
        sample = reference.Thinned(_CHECKED_ROWS)
        for table in self.windows.rows(window, version=subject.version):
            sample.add(table)
        rows = sample.table()
        if rows is None:
            return []
        return [
            m
            for check in self._checks
            for m in check(window.id, subject.folder, subject.spec, rows)
        ]

    def _keep(
        self,
        window: Window,
        version: str,
        measures: Sequence[Measure],
        findings: Sequence[Finding],
        notes: tuple[str, ...],
    ) -> WindowResult:
        with self.store.session() as session:
            kept.replace(session, window.id, measures, findings)
            row = session.get(Window, window.id)
            row.measured = window.revision
            row.measured_at = datetime.datetime.now(UTC)
            row.facts = {**row.facts, "version": version, "notes": list(notes)}
        return WindowResult(row, version, list(measures), list(findings), notes)

    def _season(self, window: Window, earlier: Sequence[Window]) -> Window | None:
        if window.kind != "time":
            return None
        start = window.start - datetime.timedelta(seconds=windows.seconds(self.options.season))
        return next((w for w in earlier if w.start == start), None)

    def _calibrator(
        self, subject: Subject, earlier: Sequence[Window], labels: Labels
    ) -> tuple[Calibrator | None, tuple[np.ndarray, np.ndarray] | None]:
        """From the newest labelled windows where there are enough, else the reference rows.

        The newest labelled window itself is held back, to see whether calibration has moved.
        """
        spec, least = subject.spec, self.options.estimate.min_labels
        if spec.task == "regression" or not self.options.estimate.enabled:
            return None, None
        held, truth, scores = None, [], []
        for window in reversed(earlier):
            if not len(labels) or sum(map(len, truth)) >= least:
                break
            parts = [
                _join(spec, table, labels)
                for table in self.windows.rows(
                    window, ["request_id", "score"], version=subject.version
                )
            ]
            joined = _together(spec, parts)
            if len(joined[0]) < least:
                continue
            if held is None:
                held = joined
                continue
            truth.append(joined[0])
            scores.append(joined[1])
        if truth:
            together = np.concatenate(truth), np.concatenate(scores)
            return estimate.calibrate(spec, *together, "labelled windows"), held
        sample = subject.reference.sample
        if sample is None:
            return None, held
        together = estimate.labelled(sample, spec)
        if len(together[0]) < least:
            return None, held
        seen = subject.reference.seen_in_training
        made = estimate.calibrate(spec, *together, subject.reference.source, seen)
        return made, held

    def _loss_model(self, subject: Subject) -> LossModel | None:
        if subject.spec.task != "regression" or not self.options.estimate.enabled:
            return None
        if subject.version not in self._losses:
            self._losses[subject.version] = None
            sample = subject.reference.sample
            if sample is not None:
                truth = feeds.label_index(subject.spec, flat(sample.column("label")))
                scores = scores_of(subject.spec, sample)
                both = np.isfinite(truth) & np.isfinite(scores).all(axis=1)
                if both.sum() >= self.options.estimate.min_labels:
                    rows = sample.filter(pa.array(both))
                    table = multivariate.codes(subject.reference.layout, rows)
                    self._losses[subject.version] = LossModel(table, truth[both], scores[both])
        return self._losses[subject.version]


def _join(spec: ModelSpec, table: pa.Table, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    from monitoring.performance import join

    return join(spec, table.filter(pc.is_in(table.column("request_id"), labels.arrow)), labels)


def _together(
    spec: ModelSpec, parts: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    if not parts:
        return np.zeros(0, np.float32), np.zeros((0, spec.units), np.float32)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def _alike(one: Window, other: Window) -> bool:
    return one.kind != "time" or one.end - one.start == other.end - other.start
