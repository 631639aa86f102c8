"""One row of the table per file and device, whoever measured it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from models.benchmark.device import DeviceResult, safe_name
from models.benchmark.footprint import Footprint, Instructions
from models.benchmark.ratio import Ratio, ratio, verdict
from models.benchmark.timing import Timing

HERE = "here"
#: Of a row that the others are compared with.
REFERENCE = "reference"


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known about one file on one device; None where it was not measured.

    Attributes:
      name: Of the file.
      device: `here`, or the phone.
      path, bytes, gzip_bytes, sha256: The file.
      latency_us: One row per call: `p50`, `p90`, `p95`, `p99`.
      batch: Many rows per call: `rows`, `p50`, `p90`, `p99` (microseconds), `rows_per_s`, `runs`.
      load_ms: From the file to its first answer: `p50`, `p90`.
      peak_rss_bytes, batch_peak_rss_bytes: Beyond an empty interpreter process.
      instructions: Of one single-row call, user mode.
      runs, rounds, threads, delegate: How it was measured.
      ratio, batch_ratio: Latency against the reference on the same device.
      verdict: In words; `reference` for the reference, `skipped` for what could not be run.
      notes: What else a reader must know.
    """

    name: str
    device: str = HERE
    path: str | None = None
    bytes: int | None = None
    gzip_bytes: int | None = None
    sha256: str | None = None
    latency_us: dict[str, float | None] = dataclasses.field(default_factory=dict)
    batch: dict[str, float | None] | None = None
    load_ms: dict[str, float | None] = dataclasses.field(default_factory=dict)
    peak_rss_bytes: int | None = None
    batch_peak_rss_bytes: int | None = None
    instructions: float | None = None
    runs: int = 0
    rounds: int = 0
    threads: int | None = None
    delegate: str | None = None
    ratio: Ratio | None = None
    batch_ratio: Ratio | None = None
    verdict: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "notes": list(self.notes)}


def measured_here(
    name: str,
    path: str | os.PathLike[str],
    size: Mapping[str, Any],
    timing: Timing,
    memory: Footprint,
    counted: Instructions,
    notes: Iterable[str] = (),
) -> Row:
    """The row of a file measured on this machine."""
    batch = None
    if timing.batch_p50 is not None:
        batch = {
            "rows": timing.batch,
            "p50": timing.batch_p50,
            "p90": timing.batch_p90,
            "p99": timing.batch_p99,
            "rows_per_s": timing.rows_per_s,
            "runs": timing.batch_runs,
        }
    return Row(
        name=name,
        path=str(path),
        **size,
        latency_us={"p50": timing.p50, "p90": timing.p90, "p95": None, "p99": timing.p99},
        batch=batch,
        load_ms={"p50": timing.load_ms, "p90": timing.load_ms_p90},
        peak_rss_bytes=memory.peak_bytes,
        batch_peak_rss_bytes=memory.batch_peak_bytes,
        instructions=counted.per_call,
        runs=timing.runs,
        rounds=timing.rounds,
        threads=timing.threads,
        delegate=timing.delegate,
        notes=tuple(note for note in (*notes, memory.note, counted.note) if note),
    )


def against(rows: Sequence[Row], timings: Mapping[str, Timing], reference: str | None) -> list[Row]:
    """The rows of this machine with ratios and verdicts, the reference first.

    Args:
      rows: As `measured_here` makes them.
      timings: Name to timing.
      reference: Name of the row that others are compared with; None: nothing is.
    """
    base = next((row for row in rows if row.name == reference), None)
    if base is None:
        return list(rows)
    of_base = timings[base.name].samples
    done: list[Row] = []
    for row in rows:
        if row is base:
            done.insert(0, dataclasses.replace(row, verdict=REFERENCE))
            continue
        samples = timings[row.name].samples
        single = ratio(samples.single, of_base.single)
        block = None
        if samples.block is not None and of_base.block is not None:
            block = ratio(samples.block, of_base.block)
        done.append(
            dataclasses.replace(
                row,
                ratio=single,
                batch_ratio=block,
                verdict=verdict(row.bytes, base.bytes, single),
            )
        )
    return done


def measured_elsewhere(
    results: Iterable[DeviceResult], rows: Sequence[Row], reference: str | None
) -> list[Row]:
    """The rows of phones, compared with the reference on the same phone.

    Args:
      results: From transcripts.
      rows: Of this machine, for paths and sizes: matched by name.
      reference: Name of the reference.
    """
    known = {safe_name(row.name): row for row in rows}
    results = list(results)
    bases = {r.device: r for r in results if reference and r.model == safe_name(reference)}
    made = []
    for result in results:
        file = known.get(result.model)
        base = bases.get(result.device)
        found, words = None, ""
        if base is result:
            words = REFERENCE
        elif base is not None:
            found = _device_ratio(result, base)
            sizes = [known[r.model].bytes if r.model in known else None for r in (result, base)]
            words = verdict(*sizes, found) if None not in sizes else "size not known"
        made.append(
            Row(
                name=file.name if file else result.model,
                device=result.device,
                path=file.path if file else None,
                bytes=file.bytes if file else None,
                gzip_bytes=file.gzip_bytes if file else None,
                sha256=file.sha256 if file else None,
                latency_us={"p50": result.p50_us, "p90": None, "p95": result.p95_us, "p99": None},
                load_ms={"p50": result.load_ms, "p90": None},
                peak_rss_bytes=_bytes(result.memory_mb or result.peak_mb),
                runs=result.runs,
                rounds=len(result.samples),
                threads=result.threads,
                delegate=_delegate(result.xnnpack),
                ratio=found,
                verdict=words,
                notes=("p50 is the mean: this build of the tool prints no median",)
                if result.is_mean
                else (),
            )
        )
    return made


def _device_ratio(result: DeviceResult, base: DeviceResult) -> Ratio:
    if len(result.samples) == len(base.samples):
        return ratio(result.samples, base.samples)
    single = np.array([[result.p50_us]]), np.array([[base.p50_us]])
    return ratio(*single)  # rounds that do not pair up bear no interval


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else int(megabytes * 1024 * 1024)


def _delegate(xnnpack: bool | None) -> str | None:
    return None if xnnpack is None else "XNNPACK allowed" if xnnpack else "off"
