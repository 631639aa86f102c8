"""Latency and throughput of TFLite files, on the interpreter that serves them.

Variants are timed in interleaved rounds, so that a busy moment of the machine
hits all of them alike.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from models.predictor import TFLiteRunner


@dataclasses.dataclass(frozen=True)
class Timing:
    """How fast a file answers, one interpreter thread.

    Attributes:
      p50, p90: Microseconds for one row.
      rows_per_s: At `batch` rows per call.
      batch: Rows per call of the throughput figure.
      runs: Timed single-row calls.
    """

    p50: float
    p90: float
    rows_per_s: float
    batch: int
    runs: int


def benchmark(
    files: Mapping[str, str],
    inputs: Mapping[str, np.ndarray],
    *,
    rounds: int = 5,
    runs: int = 40,
    batch: int = 256,
) -> dict[str, Timing]:
    """Times every file on the same rows.

    Args:
      files: Name to path of a TFLite file.
      inputs: Tensor name to `[rows, 1]`, at least one row.
      rounds: Passes over all files.
      runs: Single-row calls per file and round, after five warm-ups.
      batch: Rows per call when measuring throughput.
    """
    runners = {name: TFLiteRunner(path, threads=1) for name, path in files.items()}
    rows = len(next(iter(inputs.values())))
    single = [{name: x[i % rows : i % rows + 1] for name, x in inputs.items()} for i in range(runs)]
    picked = np.arange(batch) % rows
    block = {name: x[picked] for name, x in inputs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in files}
    block_seconds: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(rounds):
        for name, runner in runners.items():
            for row in single[:5]:
                runner(row)
            for row in single:
                start = time.perf_counter()
                runner(row)
                seconds[name].append(time.perf_counter() - start)
        for name, runner in runners.items():
            runner(block)
            for _ in range(3):
                start = time.perf_counter()
                runner(block)
                block_seconds[name].append(time.perf_counter() - start)
    return {
        name: Timing(
            p50=float(np.percentile(seconds[name], 50) * 1e6),
            p90=float(np.percentile(seconds[name], 90) * 1e6),
            rows_per_s=float(batch / np.median(block_seconds[name])),
            batch=batch,
            runs=len(seconds[name]),
        )
        for name in files
    }
