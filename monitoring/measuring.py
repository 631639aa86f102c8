"""All measures of one window."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.spec import ModelSpec
from monitoring import estimate, performance, shipped
from monitoring.counting import Numbers, Values
from monitoring.estimate import Calibrator, LossModel
from monitoring.measure import LABEL, Measure
from monitoring.measures import features, multivariate, quality
from monitoring.options import MonitoringOptions
from monitoring.performance import Labels
from monitoring.reference import Reference, Thinned
from monitoring.store.windows import Window
from monitoring.window_summary import WindowSummary
from monitoring.windows import Windows, slices_of

UTC = datetime.timezone.utc


@dataclasses.dataclass(frozen=True)
class Subject:
    """The model that a window is about.

    Attributes:
      version: Its name.
      folder: Its files.
      manifest: Of the registry.
      deployed: The name of the version that is deployed now.
      reference: What its windows are held against.
      metrics: Of the test split, as the registry says.
    """

    version: str
    folder: pathlib.Path
    manifest: Mapping[str, object]
    deployed: str | None
    reference: Reference

    @property
    def spec(self) -> ModelSpec:
        return self.reference.spec

    @property
    def metrics(self) -> dict[str, float]:
        return dict(self.manifest.get("metrics") or {})


@dataclasses.dataclass(frozen=True)
class Measured:
    """What is known about a window now.

    Attributes:
      measures: All of them.
      labelled: Truth and scores of the rows that labels came back for.
      notes: What was not measured, and why.
    """

    measures: list[Measure]
    labelled: tuple[np.ndarray, np.ndarray]
    notes: tuple[str, ...]


def measure(
    windows: Windows,
    window: Window,
    subject: Subject,
    options: MonitoringOptions,
    labels: Labels,
    *,
    earlier: Sequence[Window] = (),
    previous: Window | None = None,
    season: Window | None = None,
    calibrator: Calibrator | None = None,
    realised: tuple[np.ndarray, np.ndarray] | None = None,
    losses: LossModel | None = None,
) -> Measured:
    """Measures a closed window.

    Args:
      windows: Where it is kept.
      window: Which one.
      subject: The version that most of its rows were answered by, and its reference.
      options: What is measured.
      labels: All that have come.
      earlier: Windows before it, oldest first.
      previous, season: The window just before, and the one a period before.
      calibrator: For the estimate without labels; None: no estimate (classification).
      realised: Newest labelled rows that the calibrator was not fitted on.
      losses: The same for regression.
    """
    layout, reference = subject.reference.layout, subject.reference
    summary = windows.summary(window, subject.version, layout)
    if summary is None:
        return Measured([], _nothing(subject.spec), ("counted against another reference",))
    where = {"window_id": window.id}
    usual = [w.rows for w in earlier[-20:]]
    found = quality.measure(summary, earlier_rows=usual, **where)
    notes: list[str] = []
    found += shipped.facts(
        window.versions, subject.deployed, subject.manifest.get("created"), window.end, window.id
    )
    if summary.rows >= options.min_rows:
        found += features.measure(reference.summary, summary, **where)
        found += _drift(windows, subject, summary, previous, season, notes, where)
        found += _slices(windows, window, subject, options, where)
    else:
        notes.append(f"{summary.rows} rows are too few to compare distributions")
    sample, labelled, by_slice = _look_again(windows, window, subject, options, labels)
    if sample is None:
        notes.append("the rows are no longer in the log: no metrics, no estimate")
        return Measured(found, labelled, tuple(notes))
    found += _performance(subject, options, summary, labelled, by_slice, where)
    found += _label_drift(subject, labelled[0], window.id)
    if reference.sample is not None and options.multivariate.enabled:
        found += multivariate.measure(
            layout, reference.sample, sample, options.multivariate, **where
        )
    elif options.multivariate.enabled:
        notes.append("no reference rows: change in several features together is not measured")
    found += _estimates(
        subject, options, sample, summary, calibrator, realised, losses, notes, where
    )
    if options.shipped.shadow_rows:
        student = shipped.float_student(subject.spec, subject.folder, options.shipped.float_model)
        if student is None:
            notes.append("the version carries no float student to compare the file with")
        rows = sample.slice(0, options.shipped.shadow_rows)
        found += shipped.measure(
            subject.spec, subject.folder, rows, student=student, window_id=window.id
        )
    return Measured(found, labelled, tuple(notes))


def _drift(
    windows: Windows,
    subject: Subject,
    summary: WindowSummary,
    previous: Window | None,
    season: Window | None,
    notes: list[str],
    where: Mapping[str, str],
) -> list[Measure]:
    found = []
    for name, other in (("previous", previous), ("season", season)):
        if other is None or (name == "season" and previous is not None and other.id == previous.id):
            continue
        before = windows.summary(other, subject.version, subject.reference.layout)
        if before is None or not before.rows:
            notes.append(f"{name} window: answered by another version, not compared")
            continue
        found += features.measure(before, summary, against=name, **where)
    return found


def _slices(
    windows: Windows,
    window: Window,
    subject: Subject,
    options: MonitoringOptions,
    where: Mapping[str, str],
) -> list[Measure]:
    """What is wrong with the rows of a slice, and how far they are from the same slice before."""
    found = []
    layout, sample = subject.reference.layout, subject.reference.sample
    parts = () if sample is None else slices_of(sample, layout, options.slices, options.max_slices)
    before = {name: rows for name, rows in parts if len(rows) >= options.min_rows}
    for name in windows.slices(window, subject.version):
        part = windows.summary(window, subject.version, subject.reference.layout, name)
        if part is None or part.rows < options.min_rows:
            continue
        found += quality.measure(part, slice=name, **where)
        if name in before:
            reference = WindowSummary(layout).add(before[name])
            found += [
                dataclasses.replace(m, p_value=None)
                for m in features.measure(reference, part, slice=name, **where)
                if m.family == "distance"
            ]
        for feature, counts in part.features.items():
            missing = counts.missing / max(counts.rows, 1.0)
            found.append(
                Measure(
                    feature, "missing_rate", missing, int(counts.rows), 0, name,
                    words=f"{feature}: missing {missing:.1%}", family="quality", **where,
                )
            )  # fmt: skip
    return found


def _look_again(
    windows: Windows,
    window: Window,
    subject: Subject,
    options: MonitoringOptions,
    labels: Labels,
) -> tuple[pa.Table | None, tuple[np.ndarray, np.ndarray], dict[str, tuple]]:
    """One pass over the window's rows: an even sample, and what joins with labels."""
    spec = subject.spec
    most = max(options.multivariate.rows, options.estimate.rows, options.shipped.shadow_rows, 100)
    sample, joined = Thinned(most), Thinned(performance.MOST_ROWS)
    for table in windows.rows(window, version=subject.version):
        sample.add(table)
        if len(labels):
            known = pc.is_in(table.column("request_id"), labels.arrow)
            joined.add(table.filter(known))
    kept = sample.table()
    if kept is None:
        return None, _nothing(spec), {}
    rows = joined.table()
    if rows is None or not len(rows):
        return kept, _nothing(spec), {}
    whole = performance.join(spec, rows, labels)
    parts = slices_of(rows, subject.reference.layout, options.slices, options.max_slices)
    by_slice = {name: (len(part), *performance.join(spec, part, labels)) for name, part in parts}
    return kept, whole, by_slice


def _performance(
    subject: Subject,
    options: MonitoringOptions,
    summary: WindowSummary,
    labelled: tuple[np.ndarray, np.ndarray],
    by_slice: Mapping[str, tuple],
    where: Mapping[str, str],
) -> list[Measure]:
    settings = {"min_rows": options.min_rows, "confidence": options.confidence, **where}
    found = performance.measure(
        subject.spec, *labelled, rows=summary.rows, reference=subject.metrics, **settings
    )
    for name, (rows, truth, scores) in by_slice.items():
        if len(truth) >= options.min_rows:
            found += performance.measure(
                subject.spec, truth, scores, rows=rows, slice=name, **settings
            )
    return found


def _label_drift(subject: Subject, truth: np.ndarray, window_id: str) -> list[Measure]:
    before = subject.reference.summary.features.get(LABEL)
    if before is None or not len(truth) or not before.rows:
        return []
    if isinstance(before, Numbers):
        counts: Numbers | Values = Numbers(before.cells).add(truth)
    else:
        names = pa.array(subject.spec.classes, pa.string()).take(pa.array(truth.astype(np.int64)))
        counts = Values(before.cells).add(names)
    found = []
    for one in features.compare(LABEL, before, counts):
        if one.statistic in ("missing_rate", "type_error_rate", "new_category_rate"):
            continue
        if one.statistic == "label_rate":
            low, high = performance.wilson(one.value, one.n)
            one = dataclasses.replace(one, low=low, high=high)
        found.append(dataclasses.replace(one, against="training", window_id=window_id))
    return found


def _estimates(
    subject: Subject,
    options: MonitoringOptions,
    sample: pa.Table,
    summary: WindowSummary,
    calibrator: Calibrator | None,
    realised: tuple[np.ndarray, np.ndarray] | None,
    losses: LossModel | None,
    notes: list[str],
    where: Mapping[str, str],
) -> list[Measure]:
    spec = subject.spec
    if not options.estimate.enabled:
        return []
    scores = performance.scores_of(spec, sample)
    answered = np.isfinite(scores).all(axis=1)
    sample, scores = sample.filter(pa.array(answered)), scores[answered]
    if len(scores) < options.min_rows:
        return []
    outside = _outside(subject, summary)
    if spec.task == "regression":
        if losses is None:
            notes.append("no labelled reference rows: no estimate without labels")
            return []
        reasons = (
            (f"{outside:.0%} of a feature's values lie outside the reference",)
            if outside > estimate.OUTSIDE
            else ()
        )
        table = multivariate.codes(subject.reference.layout, sample)
        return losses.estimate(table, scores, options.estimate, reasons=reasons, **where)
    if calibrator is None:
        notes.append("too few labelled rows to calibrate: no estimate without labels")
        return []
    reasons = estimate.doubts(calibrator, realised, spec, outside)
    return estimate.estimate(spec, scores, calibrator, options.estimate, reasons=reasons, **where)


def _outside(subject: Subject, summary: WindowSummary) -> float:
    """Largest share of one feature's rows that the reference does not hold."""
    worst = 0.0
    for name, counts in summary.features.items():
        if name.startswith("("):
            continue
        beyond = (
            counts.counts[0] + counts.counts[-1] if isinstance(counts, Numbers) else counts.other
        )
        worst = max(worst, float(beyond) / max(counts.rows, 1.0))
    return worst


def _nothing(spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.float32), np.zeros((0, spec.units), np.float32)
