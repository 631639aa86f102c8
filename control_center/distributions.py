"""Two distributions of one feature in the same cells: of a window and training, of two splits.

What the two are, and how far they are apart, `monitoring.drift` says; here they are found and
drawn.
"""

from __future__ import annotations

import datetime
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from control_center.center import Center
from monitoring import drift, prediction_log, summaries
from pipeline.report import charts, words

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

_MOST_ROWS = 50_000
_TOP = 12
_LABEL = 15  # characters beside a bar


def of_window(center: Center, feature: str, window: dict[str, Any]) -> dict[str, Any] | None:
    """A feature's training distribution and a window's.

    Training: the statistics that the served version carries. Window: the rows of the log.
    """
    reference = _reference(center, feature, window)
    if reference is None:
        return None
    values, missing, rows = _logged(center, feature, window)
    if not rows:
        return None
    if reference.WhichOneof("stats") == "num_stats":
        edges = summaries.edges_from_statistics(reference, _TOP)
        before = summaries.bin_statistics(reference, edges)
        now = summaries.bin_values(np.asarray(values, np.float64), edges)
        names = list(drift.bin_labels(edges))
        sides = [np.asarray(s.counts, float) for s in (before, now)]
    else:
        names, sides = _by_name(reference, values)
    shares = [s / s.sum() if s.sum() else s for s in sides]
    label = f"{feature}: training and window {window['start'][:16]}"
    return {
        "picture": picture(names, *shares, label, ("training", "window")),
        "rows": rows,
        "missing": missing,
        "capped": rows >= _MOST_ROWS,
    }


def picture(names: Any, before: Any, now: Any, label: str, sides: tuple[str, str]) -> Any:
    """The two as bars; long names are cut, so that they fit beside them."""
    return charts.overlay(
        [words.short(str(name), _LABEL) for name in names],
        [float(x) for x in before],
        [float(x) for x in now],
        label,
        sides=sides,
    )


def pair(
    feature: str,
    reference: statistics_pb2.FeatureNameStatistics | None,
    current: statistics_pb2.FeatureNameStatistics | None,
    sides: tuple[str, str],
) -> dict[str, Any] | None:
    """Two statistics of a feature; None where one is missing or they cannot be compared."""
    if reference is None or current is None:
        return None
    found = drift.compare_statistics(feature, reference, current)
    if found is None:
        return None
    return {
        "sides": sides,
        "psi": found.psi,
        "noise": found.noise,
        "drifted": found.drifted,
        "words": found.words.removeprefix(f"{feature}: "),
        "picture": picture(
            found.labels,
            found.reference,
            found.current,
            f"{feature}: {sides[0]} and {sides[1]}",
            sides,
        ),
    }


def statistics(folder: pathlib.Path) -> dict[str, statistics_pb2.FeatureNameStatistics]:
    """Feature to its statistics, of one split's folder; empty when they cannot be read."""
    from google.protobuf.message import DecodeError
    from tensorflow_metadata.proto.v0 import statistics_pb2

    try:
        content = (folder / "FeatureStats.pb").read_bytes()
        found = statistics_pb2.DatasetFeatureStatisticsList.FromString(content)
    except (OSError, DecodeError):
        return {}
    features = found.datasets[0].features if found.datasets else ()
    return {stats.name or "/".join(stats.path.step): stats for stats in features}


def of_version(center: Center, version: str | None) -> dict[str, Any]:
    """The training statistics that a deployed version carries; empty when it is gone."""
    if version is None or version not in {v.name for v in center.registry.versions()}:
        return {}
    return statistics(center.registry.folder(version) / "statistics" / "Split-train")


def log_folder(center: Center) -> pathlib.Path:
    path = pathlib.Path(center.config.monitoring.log)
    return path if path.is_absolute() else center.folder / path


def _by_name(reference: Any, values: list[Any]) -> tuple[list[str], list[np.ndarray]]:
    """The commonest values of training, what is new in the window, and the others."""
    buckets = reference.string_stats.rank_histogram.buckets
    named = {b.label: float(b.sample_count) for b in buckets}
    counts: dict[str, float] = {}
    for value in values:
        counts[value] = counts.get(value, 0.0) + 1
    top = sorted(named, key=lambda n: -named[n])[:_TOP]
    fresh = sorted((n for n in counts if n not in named), key=lambda n: -counts[n])[:3]
    sides = []
    for side in (named, counts):
        listed = [side.get(n, 0.0) for n in (*top, *fresh)]
        sides.append(np.array([*listed, max(sum(side.values()) - sum(listed), 0.0)]))
    return [*top, *(f"new: {n}" for n in fresh), "others"], sides


def _reference(center: Center, feature: str, window: dict[str, Any]) -> Any:
    served = max(window["versions"], key=window["versions"].get, default=None)
    return of_version(center, served or center.registry.current()).get(feature)


def _logged(center: Center, feature: str, window: dict[str, Any]) -> tuple[list[Any], int, int]:
    """Values, missing ones, rows of the window in the log; at most 50,000 rows."""
    start, end = (datetime.datetime.fromisoformat(window[k]) for k in ("start", "end"))
    column = f"feature.{feature}"
    values: list[Any] = []
    rows = 0
    log = log_folder(center)
    for table in prediction_log.read(log, start, end + datetime.timedelta(microseconds=1)):
        if column in table.column_names:
            values += table.column(column).to_pylist()
            rows += table.num_rows
        if rows >= _MOST_ROWS:
            break
    present = [v for v in values if v is not None and v == v and v != ""]
    return present, rows - len(present), rows
