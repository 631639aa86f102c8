"""Latency, throughput and load time of TFLite files, on the interpreter that serves them.

Files are timed in interleaved rounds, in a new random order each round, so that a busy moment
of the machine hits all of them alike. Every round starts with fresh interpreters: where a
file's tensors come to lie in memory is part of the noise, and one unlucky placement must not
become a verdict.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from models import progress
from models.benchmark.session import Session, ops_missing
from models.benchmark.workload import Workload, from_rows
from models.errors import FlywheelError

ROUNDS = 10
RUNS = 20
WARM_UPS = 5
BATCH = 256
#: Most seconds spent on one file and one batch size; slow files get fewer runs.
SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Samples:
    """Every measured call, in seconds.

    Attributes:
      single: `[rounds, runs]`, one row per call.
      block: `[rounds, runs]`, one batch per call; None when the file takes no batches.
      load: `[rounds]`, from the file to its first answer in a fresh interpreter.
    """

    single: np.ndarray
    block: np.ndarray | None
    load: np.ndarray


@dataclasses.dataclass(frozen=True)
class Timing:
    """How fast a file answers.

    Attributes:
      p50, p90, p99: Microseconds for one row.
      rows_per_s: At `batch` rows per call; None when the file takes no batches.
      batch: Rows per call of the batch figures.
      runs: Timed single-row calls, all rounds together.
      rounds: Interleaved rounds.
      warm_ups: Calls before the timed ones, in each round.
      batch_p50, batch_p90, batch_p99: Microseconds for one batch.
      batch_runs: Timed calls with a batch.
      load_ms, load_ms_p90: Milliseconds from the file to the first answer.
      threads: Interpreter threads.
      xnnpack: Whether LiteRT's default delegate was allowed.
      partitions: Parts of the graph a delegate took over; None where LiteRT does not tell.
      samples: What the figures were computed from.
    """

    p50: float
    p90: float
    rows_per_s: float | None
    batch: int
    runs: int
    p99: float
    rounds: int
    warm_ups: int
    batch_p50: float | None
    batch_p90: float | None
    batch_p99: float | None
    batch_runs: int
    load_ms: float
    load_ms_p90: float
    threads: int
    xnnpack: bool
    partitions: int | None
    samples: Samples = dataclasses.field(repr=False, compare=False)

    @property
    def delegate(self) -> str:
        """What is in force, in words."""
        if not self.xnnpack:
            return "off"
        if self.partitions is None:
            return "XNNPACK allowed"
        return f"XNNPACK ({self.partitions} parts)" if self.partitions else "none applied"

    def to_dict(self) -> dict[str, Any]:
        """The figures without the samples."""
        kept = (f.name for f in dataclasses.fields(self) if f.name != "samples")
        return {name: getattr(self, name) for name in kept} | {"delegate": self.delegate}


def benchmark(
    files: Mapping[str, str],
    inputs: Mapping[str, np.ndarray],
    *,
    rounds: int = ROUNDS,
    runs: int = RUNS,
    batch: int = BATCH,
    threads: int = 1,
    xnnpack: bool = True,
    seed: int = 0,
) -> dict[str, Timing]:
    """Times every file on the same rows.

    Args:
      files: Name to path of a TFLite file.
      inputs: Tensor name to `[rows, 1]`, at least one row.
      rounds: Interleaved passes over all files.
      runs: Timed calls per file, round and batch size, after five warm-ups.
      batch: Rows per call when measuring throughput.
      threads: Interpreter threads.
      xnnpack: Whether LiteRT may apply its default delegate.
      seed: Of the order of the files.
    """
    workloads = {name: from_rows(path, inputs, batch) for name, path in files.items()}
    return measure(
        workloads,
        rounds=rounds,
        runs=runs,
        threads=threads,
        xnnpack=xnnpack,
        seed=seed,
        on_round=lambda done: progress.step(f"timing {len(files)} files", done, rounds),
    )


def measure(
    workloads: Mapping[str, Workload],
    *,
    rounds: int = ROUNDS,
    runs: int = RUNS,
    threads: int = 1,
    xnnpack: bool = True,
    seed: int = 0,
    seconds: float = SECONDS,
    on_round: Callable[[int], None] = lambda done: None,
) -> dict[str, Timing]:
    """Times every file on rows of its own.

    Args:
      workloads: Name to file and rows.
      rounds, runs, threads, xnnpack, seed: As in `benchmark`.
      seconds: Most time for one file and one batch size; when `rounds * runs` calls would take
        longer, there are fewer (never below one a round), and the result says how many.
      on_round: Called with the number of rounds done.

    Raises:
      FlywheelError: as `Session` does; CANNOT_RUN when a file refuses its rows.
    """
    if rounds < 1 or runs < 1:
        raise ValueError(f"rounds and runs must be at least 1, got {rounds} and {runs}")
    if not workloads:
        return {}
    order = np.random.default_rng(seed)
    names = list(workloads)
    clocks = {name: _Clock(runs, seconds / rounds) for name in names}
    block_clocks = {n: _Clock(runs, seconds / rounds) for n in names if workloads[n].block}
    load: dict[str, list[float]] = {name: [] for name in names}
    partitions: dict[str, int | None] = {}
    for done in range(1, rounds + 1):
        sessions = {}
        for name in order.permutation(names):
            start = time.perf_counter()
            sessions[name] = session = Session(
                workloads[name].path, threads=threads, xnnpack=xnnpack
            )
            first(session, workloads[name].single[0])
            load[name].append(time.perf_counter() - start)
            partitions[name] = session.partitions()
        for name in order.permutation(names):
            clocks[name].round(sessions[name], workloads[name].single)
        for name in order.permutation(list(block_clocks)):
            block_clocks[name].round(sessions[name], (workloads[name].block,))
        on_round(done)
    return {
        name: _timing(
            Samples(
                clocks[name].samples(),
                block_clocks[name].samples() if name in block_clocks else None,
                np.asarray(load[name]),
            ),
            batch=workloads[name].batch,
            warm_ups=clocks[name].warm_ups,
            threads=threads,
            xnnpack=xnnpack,
            partitions=partitions[name],
        )
        for name in names
    }


def first(session: Session, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first call, where a file that cannot be run with these rows says so.

    Raises:
      FlywheelError: CANNOT_RUN, UNSUPPORTED_OPS.
    """
    missing = [i.name for i in session.inputs if i.name not in feed]
    if missing:
        raise FlywheelError(
            "CANNOT_RUN",
            f"`{session.path}` takes inputs that the rows do not have: {', '.join(missing)}.",
            next="Give a table with these columns, or leave `--data` out.",
        )
    try:
        return session(feed)
    except (ValueError, RuntimeError) as error:
        if missing_ops := ops_missing(session.path, str(error)):
            raise missing_ops from error
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)
        shapes = ", ".join(f"{i.name} {list(feed[i.name].shape)}" for i in session.inputs)
        raise FlywheelError(
            "CANNOT_RUN",
            f"`{session.path}` loads and then refuses to run on {shapes}: {text}",
            next="Give it real rows with `--data`, or leave it out.",
        ) from error


class _Clock:
    """Collects the timed calls of one file at one batch size.

    Args:
      runs: Calls wanted per round.
      seconds: Bound on the time of one round.
    """

    def __init__(self, runs: int, seconds: float):
        self._runs = runs
        self._seconds = seconds
        self._rows: list[list[float]] = []
        self.warm_ups = WARM_UPS

    def round(self, session: Session, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Warms up, then times the runs of one round."""
        turn = itertools.cycle(feeds)
        start = time.perf_counter()
        first(session, next(turn))  # may be a new shape: all tensors are allocated anew
        slowest = time.perf_counter() - start
        if not self._rows and slowest * self.warm_ups > self._seconds:
            self.warm_ups = 1
        taken = [self._call(session, next(turn)) for _ in range(self.warm_ups - 1)]
        if not self._rows:  # all rounds have as many runs as the first can afford
            typical = min(taken, default=slowest)
            self._runs = max(1, min(self._runs, int(self._seconds / max(typical, 1e-9))))
        with _no_garbage_collection():
            self._rows.append([self._call(session, next(turn)) for _ in range(self._runs)])

    def samples(self) -> np.ndarray:
        """Seconds, `[rounds, runs]`."""
        return np.asarray(self._rows)

    @staticmethod
    def _call(session: Session, feed: Mapping[str, np.ndarray]) -> float:
        start = time.perf_counter()
        session(feed)
        return time.perf_counter() - start


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """As in `timeit`: a collection belongs to whoever made the garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _timing(samples: Samples, *, batch: int, **settings: Any) -> Timing:
    p50, p90, p99 = (float(q) * 1e6 for q in np.percentile(samples.single, [50, 90, 99]))
    block: list[float | None] = [None, None, None]
    if samples.block is not None:
        block = [float(q) * 1e6 for q in np.percentile(samples.block, [50, 90, 99])]
    load = np.percentile(samples.load, [50, 90]) * 1e3
    return Timing(
        p50=p50,
        p90=p90,
        p99=p99,
        rows_per_s=batch / block[0] * 1e6 if block[0] else None,
        batch=batch,
        runs=samples.single.size,
        rounds=len(samples.single),
        batch_p50=block[0],
        batch_p90=block[1],
        batch_p99=block[2],
        batch_runs=0 if samples.block is None else samples.block.size,
        load_ms=float(load[0]),
        load_ms_p90=float(load[1]),
        samples=samples,
        **settings,
    )
