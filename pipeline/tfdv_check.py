"""TensorFlow Data Validation's view of a window: its anomalies and L-infinity, when asked for.

TFDV runs in a process of its own (`pipeline/tfdv_child.py`), as it brings TensorFlow along and
takes seconds to start: one for all windows of a look. The schema and the training statistics
travel with the version.

L-infinity is asked of text alone: on numbers TFDV's Jensen-Shannon divergence is that of
equal-width histograms, which one outlier empties, and on integers its L-infinity is 0.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq

from models.child import environment
from models.errors import FlywheelError
from models.spec import ModelSpec
from monitoring.log_rows import FEATURE, tabular
from monitoring.measure import WINDOW, Measure
from monitoring.reference import STATISTICS

SCHEMA = "schema.pbtxt"


class Check:
    """A check of the monitor; close it when the look is over.

    Args:
      limit: L-infinity of a text feature, above which TFDV calls it drift.
    """

    def __init__(self, limit: float):
        self.limit = limit
        self._children: dict[pathlib.Path, subprocess.Popen[str]] = {}

    def __call__(
        self, window_id: str, folder: pathlib.Path, spec: ModelSpec, rows: pa.Table
    ) -> list[Measure]:
        found, n = self.anomalies(folder, spec, rows), rows.num_rows
        if not found:
            said = f"TFDV finds no anomaly in {n:,} rows"
            return [Measure(WINDOW, "schema_anomalies", 0.0, n, 0, "", window_id, said, "quality")]
        return [
            Measure(
                item["feature"], item["statistic"], item["value"], n, 0, "", window_id,
                f"{item['feature']}: {item['words']} (TFDV)", "quality",
            )
            for item in found
        ]  # fmt: skip

    def anomalies(self, folder: pathlib.Path, spec: ModelSpec, rows: pa.Table) -> list[dict]:
        """What TFDV says about rows in the log's format.

        Returns:
          Per anomaly `feature`, `statistic` (`schema_anomalies`, `tfdv_linf`), `value`, `words`.

        Raises:
          FlywheelError: NO_SCHEMA, TFDV_FAILED.
        """
        columns = {
            f.name: rows.column(FEATURE + f.name)
            for f in tabular(spec)
            if FEATURE + f.name in rows.column_names
        }
        child = self._child(folder)
        with tempfile.TemporaryDirectory() as place:
            path = pathlib.Path(place) / "window.parquet"
            pq.write_table(pa.table(columns), path)
            assert child.stdin is not None and child.stdout is not None
            try:
                child.stdin.write(f"{path}\n")
                child.stdin.flush()
                answer = child.stdout.readline()
            except BrokenPipeError:
                answer = ""
        if not answer:
            del self._children[folder]
            raise FlywheelError(
                "TFDV_FAILED",
                f"TensorFlow Data Validation ended with {child.wait()}; what it said is above.",
                next="Type `flywheel doctor`, or leave out `--tfdv`.",
            )
        return json.loads(answer)

    def close(self) -> None:
        """Ends the processes."""
        for child in self._children.values():
            assert child.stdin is not None
            child.stdin.close()
            child.wait()
        self._children.clear()

    def _child(self, folder: pathlib.Path) -> subprocess.Popen[str]:
        for name in (SCHEMA, STATISTICS):
            if not (folder / name).exists():
                raise FlywheelError(
                    "NO_SCHEMA",
                    f"The version in `{folder}` carries no {name}, which TFDV needs.",
                    next="Leave out `--tfdv`, or deploy a version by `flywheel run`.",
                )
        if folder not in self._children:
            self._children[folder] = subprocess.Popen(
                [sys.executable, "-m", "pipeline.tfdv_child", str(folder), str(self.limit)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment(TF_CPP_MIN_LOG_LEVEL="3"),
                text=True,
            )
        return self._children[folder]
