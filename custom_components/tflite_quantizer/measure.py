"""What every file weighs, keeps and costs: on the eval rows, on the interpreter that serves it."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Mapping
from typing import Any

import numpy as np

from custom_components.tflite_quantizer import quality
from models import metrics, progress
from models.benchmark import Timing, benchmark
from models.benchmark.machine import stamp
from models.benchmark.ratio import ratio, verdict
from models.predictor import Predictor, TFLiteRunner, by_tensor
from models.rows import Rows
from models.saturation import saturation
from models.spec import ModelSpec
from models.student import labels_of

#: What the others' latency is compared with, where there is one.
YARDSTICK = "float32"
#: Rows on which saturated values are counted.
_SATURATION_ROWS = 1000


@dataclasses.dataclass(frozen=True)
class Measured:
    """Attributes:
    files: Name to the fields of a `Variant`.
    timing: How they were timed, and on what.
    """

    files: dict[str, dict[str, Any]]
    timing: dict[str, Any]


def measure(
    spec: ModelSpec,
    rows: Rows,
    files: Mapping[str, str],
    reference: np.ndarray,
    min_slice_rows: int,
) -> Measured:
    """Times every file, lets it answer every row, and compares the answers with the float ones.

    Args:
      spec: The model's contract.
      rows: Of eval, with their inputs.
      files: Name to path.
      reference: Answers of the float student, `[n, units]`.
      min_slice_rows: Slices with fewer rows are not judged.
    """
    progress.doing(f"timing {len(files)} files")
    timings = benchmark(files, by_tensor(spec, rows.inputs))
    slices = quality.slices_of(spec, rows.inputs, min_slice_rows)
    labels = labels_of(spec, rows)
    sizes = {name: size_of(path) for name, path in files.items()}
    base = YARDSTICK if YARDSTICK in files else next(iter(files), None)
    fed = {n: x[:_SATURATION_ROWS] for n, x in by_tensor(spec, rows.inputs).items()}
    found = {}
    for done, (name, path) in enumerate(files.items(), 1):
        predictions = Predictor(spec, TFLiteRunner(path)).predict_inputs(rows.inputs)
        found[name] = {
            **sizes[name],
            "metrics": metrics.score(spec.task, labels, predictions),
            "agreement": metrics.agreement(spec.task, reference, predictions),
            "quality": quality.compare(spec, rows, slices, reference, predictions),
            "saturation": saturation(path, [fed]).rate,
            **_speed(name, base, timings, sizes),
        }
        progress.step("comparing answers", done, len(files))
    return Measured(found, _how(next(iter(timings.values()), None), base))


def size_of(path: str) -> dict[str, int]:
    """`bytes` and `gzip_bytes` of a file."""
    with open(path, "rb") as file:
        content = file.read()
    return {"bytes": len(content), "gzip_bytes": len(gzip.compress(content, 9, mtime=0))}


def _speed(
    name: str, base: str, timings: Mapping[str, Timing], sizes: Mapping[str, dict[str, int]]
) -> dict[str, Any]:
    timing = timings[name]
    fields: dict[str, Any] = {
        "latency_us": {"p50": timing.p50, "p90": timing.p90, "p99": timing.p99},
        "rows_per_s": timing.rows_per_s,
        "verdict": "reference",
    }
    if name != base:
        against = ratio(timing.samples.single, timings[base].samples.single)
        fields["latency_ratio"] = against.to_dict()
        fields["verdict"] = verdict(sizes[name]["bytes"], sizes[base]["bytes"], against)
    return fields


def _how(timing: Timing | None, base: str | None) -> dict[str, Any]:
    if timing is None:
        return {}
    return {
        "interpreter": f"LiteRT, {timing.threads} thread, {timing.delegate}",
        "runs": timing.runs,
        "rounds": timing.rounds,
        "batch": timing.batch,
        "reference": base,
        "machine": stamp().to_dict(),
    }
