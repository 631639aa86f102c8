"""Rules of other tools, on the very windows that `monitoring/replay.py` plays.

PSI > 0.1            The textbook's cut-off (Siddiqi, 2006), ten quantile bins or every value, an
                     empty cell counted as half a row; any feature.
Evidently            The tests that version 0.7 takes above 1,000 reference rows, at its default
                     of 0.1: Wasserstein distance over the reference's standard deviation; the
                     Jensen-Shannon distance (natural logarithm) of categories and of numbers of
                     at most five values; missing values dropped. A drifted column, and the
                     preset's own verdict: half of the columns. Written out here, as the library
                     takes seconds per window; `against_evidently` holds it against the library.
TFDV                 The library itself, on the first windows of the first splits. It has no
                     thresholds of its own: 0.01 as in its tutorial, and 0.3, which BigQuery's
                     ML.TFDV_VALIDATE takes; L-infinity of texts, Jensen-Shannon of numbers.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import tempfile
from typing import Any

import numpy as np
import pandas as pd

from monitoring import drift, replay
from monitoring.decisions.blocks import Levels

PSI, COLUMN, HALF = "PSI > 0.1", "Evidently, a column", "Evidently, half of the columns"
TFDV = {"TFDV, 0.01": 0.01, "TFDV, 0.3": 0.3}
#: TFDV sees so many windows of so many splits.
TFDV_SPLITS, TFDV_WINDOWS = 4, 25


class Counts:
    """A feature's rows, counted value by value."""

    def __init__(self, levels: Levels, kind: str):
        self.kind = kind
        counts = levels.counts()
        held = counts > 0
        missing = levels.values == "" if kind == "categorical" else np.isnan(levels.values)
        self.missing = int(counts[missing].sum())
        self.names, self.counts = levels.values[held & ~missing], counts[held & ~missing]

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    def spread(self) -> float:
        mean = np.average(self.names, weights=self.counts)
        return float(np.sqrt(np.average((self.names - mean) ** 2, weights=self.counts)))


def aligned(a: Counts, b: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All values of either, in order, and the rows of each side."""
    names = np.union1d(a.names, b.names)
    both = []
    for side in (a, b):
        full = np.zeros(len(names))
        full[np.searchsorted(names, side.names)] = side.counts
        both.append(full)
    return names, both[0], both[1]


def evidently(reference: Counts, window: Counts) -> float:
    """Evidently's drift score of a feature; 0.1 and more is drift."""
    from scipy.spatial.distance import jensenshannon

    if not window.rows:
        return float("nan")
    names, p, q = aligned(reference, window)
    p, q = p / p.sum(), q / q.sum()
    if reference.kind == "categorical" or len(names) <= 5:
        return float(jensenshannon(p, q))
    apart = np.abs(np.cumsum(p) - np.cumsum(q))[:-1]
    return float(np.sum(apart * np.diff(names)) / max(reference.spread(), 0.001))


def textbook_psi(reference: Counts, window: Counts) -> float:
    """PSI of every value, or of ten quantile bins of the reference."""
    names, p, q = aligned(reference, window)
    if reference.kind == "numeric":
        share = np.cumsum(p) / p.sum()
        edges = np.unique(np.searchsorted(share, np.arange(1, 10) / 10 - 1e-12))
        bins = np.searchsorted(edges, np.arange(len(names)), side="left")
        p, q = (np.bincount(bins, weights=x, minlength=len(edges) + 1) for x in (p, q))
    return drift.psi(np.append(p, reference.missing), np.append(q, window.missing))


class Peers:
    """Watches a replay, and keeps what each rule says about each window."""

    def __init__(self, kinds: dict[str, str], tfdv: bool = True):
        self.kinds, self.tfdv = kinds, tfdv
        self.found: dict[tuple[str, int, str], list[bool]] = {}
        self._of: tuple[int, int] | None = None

    def __call__(self, seen: replay.Seen) -> None:
        if self._of != (seen.size, seen.split):
            self._of, self._windows, self._tfdv = (seen.size, seen.split), 0, None
            self._reference = {
                n: Counts(x[seen.reference], self.kinds[n]) for n, x in seen.columns.items()
            }
        self._windows += seen.fault is None
        window = window_of(seen, self.kinds)
        now = {n: Counts(x, self.kinds[n]) for n, x in window.items()}
        scores = [evidently(self._reference[n], x) >= 0.1 for n, x in now.items()]
        psi = [textbook_psi(self._reference[n], x) > 0.1 for n, x in now.items()]
        said = {PSI: any(psi), COLUMN: any(scores)}
        if seen.fault is None:
            said[HALF] = sum(scores) >= len(scores) / 2
        if self.tfdv and seen.split < TFDV_SPLITS and self._windows <= TFDV_WINDOWS:
            if self._tfdv is None:
                whole = {n: x[seen.reference] for n, x in seen.columns.items()}
                self._tfdv = TfdvReference(whole, self.kinds)
            values = self._tfdv.values(window)
            said |= {rule: any(v > limit for v in values) for rule, limit in TFDV.items()}
        what = seen.fault.name if seen.fault else "nothing changed"
        for rule, hit in said.items():
            self.found.setdefault((rule, seen.size, what), []).append(bool(hit))

    def rows(self) -> list[dict[str, Any]]:
        """Rule by rule: share of windows with an alarm, with its interval; of faults the delay."""
        return [
            {
                "rule": rule,
                "size": size,
                "name": what,
                "windows": len(hits),
                "rate": float(np.mean(hits)),
                "interval": replay.wilson(sum(hits), len(hits)),
                "delay": None if what == "nothing changed" else replay.mean_delay(hits),
            }
            for (rule, size, what), hits in self.found.items()
        ]


def window_of(seen: replay.Seen, kinds: dict[str, str]) -> replay.Columns:
    """The window's rows; with a fault, those of its feature."""
    if seen.fault is None or seen.changed is None:
        return {n: x[seen.window] for n, x in seen.columns.items()}
    name = seen.fault.feature
    return {name: Levels.of(seen.changed, kinds[name])}


class TfdvReference:
    """TFDV's statistics and schema of a reference."""

    def __init__(self, columns: replay.Columns, kinds: dict[str, str]):
        import tensorflow_data_validation as tfdv

        self.kinds = kinds
        self.statistics = _statistics(columns)
        self.schema = tfdv.infer_schema(self.statistics)
        for feature in self.schema.feature:
            comparator = feature.drift_comparator
            # A threshold that says every value; the limits are applied to these.
            if kinds[feature.name] == "numeric":
                comparator.jensen_shannon_divergence.threshold = 0.0
            else:
                comparator.infinity_norm.threshold = 0.0

    def values(self, window: replay.Columns) -> list[float]:
        """Every feature's drift value."""
        import tensorflow_data_validation as tfdv

        found = tfdv.validate_statistics(
            _statistics(window), self.schema, previous_statistics=self.statistics
        )
        return [
            m.value
            for info in found.drift_skew_info
            if info.path.step[0] in window
            for m in info.drift_measurements
        ]


def _statistics(columns: replay.Columns) -> Any:
    import pyarrow as pa
    from tensorflow_data_validation.statistics import stats_impl, stats_options

    arrays = []
    for values in columns.values():
        flat = pa.array(values.to_numpy(), from_pandas=True)
        valid = np.asarray(flat.is_valid())
        offsets = pa.array(
            np.concatenate([[0], np.cumsum(valid)]).astype(np.int32),
            mask=np.concatenate([~valid, [False]]),
        )
        arrays.append(pa.ListArray.from_arrays(offsets, flat.drop_null()))
    batch = pa.RecordBatch.from_arrays(arrays, list(columns))
    return stats_impl.generate_statistics_in_memory(batch, stats_options.StatsOptions())


_EVIDENTLY = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
kinds = json.loads(sys.argv[3])
definition = DataDefinition(
    numerical_columns=[n for n, k in kinds.items() if k == "numeric"],
    categorical_columns=[n for n, k in kinds.items() if k != "numeric"],
)
sides = [Dataset.from_pandas(pd.read_parquet(p), data_definition=definition) for p in sys.argv[1:3]]
report = Report([DataDriftPreset()]).run(*sides)
print("\\n" + json.dumps({m["config"]["column"]: float(m["value"])
    for m in report.dict()["metrics"] if m["config"].get("column")}))
"""


def against_evidently(
    python: str, reference: replay.Columns, window: replay.Columns, kinds: dict[str, str]
) -> dict[str, tuple[float, float]]:
    """Feature to the score here and the one of Evidently itself, run by a Python that has it."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, side in (("window", window), ("reference", reference)):
            frame = pd.DataFrame({n: x.to_numpy() for n, x in side.items()})
            paths.append(str(pathlib.Path(folder) / f"{name}.parquet"))
            frame.to_parquet(paths[-1])
        done = subprocess.run(
            [python, "-W", "ignore", "-c", _EVIDENTLY, *paths, json.dumps(kinds)],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        n: (evidently(Counts(reference[n], kinds[n]), Counts(window[n], kinds[n])), value)
        for n, value in theirs.items()
    }
