"""Phones: the commands that measure there, and what they print, read back.

The tool is TensorFlow Lite's `benchmark_model`. Its flags and its output are those of
`tensorflow/lite/tools/benchmark/` in github.com/tensorflow/tensorflow: README.md and
benchmark_model.cc (flags, "Inference timings in us", memory lines) and
tensorflow/core/util/stats_calculator.h (the `count= first= curr= ...` line; newer builds add
p5, median and p95).
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from models.errors import ConfigError

#: Where adb may write on any phone.
FOLDER = "/data/local/tmp/flywheel"
_TOOL_URL = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest/android_aarch64_benchmark_model"
)

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FACT = re.compile(rf"([a-z0-9]+)=({_NUMBER})")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: ({_NUMBER}), First inference: ({_NUMBER}), "
    rf"Warmup \(avg\): ({_NUMBER}), Inference \(avg\): ({_NUMBER})"
)
_COUNT = re.compile(r"\bcount=\d+ ")
_MEMORY = re.compile(rf"Memory footprint delta .*overall=({_NUMBER})")
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
#: The first parameter the tool prints, at the start of every run.
_START = "Log parameter values verbosely"
_GRAPH = re.compile(r"Graph: \[(.*)\]")
_THREADS = re.compile(r"Num threads: \[(-?\d+)\]")
_XNNPACK = re.compile(r"Use xnnpack: \[([01])\]")
_OURS = re.compile(r"^flywheel: (device|run|memory)=(.*)$")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the tool.

    Attributes:
      model: Name of the file, without folder and `.tflite`.
      device: As the transcript names it; empty when it does not.
      p50_us: Median of the timed runs; their mean where the tool prints no median.
      is_mean: Whether `p50_us` is the mean.
      p95_us: Where the tool prints it.
      runs: Timed runs.
      init_us, first_us: Loading, and the first answer.
      memory_mb: Growth of the process while it loaded and ran; None when not told.
      peak_mb: Peak of the process, when it was asked for.
      threads: None when not told.
      xnnpack: What was asked for; None when not told.
      timed: False for a run that measured memory, whose timings a watching thread disturbs.
    """

    model: str
    device: str
    p50_us: float
    is_mean: bool
    p95_us: float | None
    runs: int
    init_us: float
    first_us: float
    memory_mb: float | None = None
    peak_mb: float | None = None
    threads: int | None = None
    xnnpack: bool | None = None
    timed: bool = True


@dataclasses.dataclass(frozen=True)
class DeviceResult:
    """All runs of one file on one device.

    Attributes:
      model, device: Which.
      p50_us: Median over the runs of the tool of each run's median (or mean).
      p95_us: Median over them; None when the tool does not print it.
      is_mean: Whether a mean stands in for the median.
      load_ms: Loading and the first answer.
      memory_mb, peak_mb: Largest told.
      runs: Timed calls in all.
      threads, xnnpack: Settings, None when not told.
      samples: `[rounds, 1]` microseconds, for a ratio.
    """

    model: str
    device: str
    p50_us: float
    p95_us: float | None
    is_mean: bool
    load_ms: float
    memory_mb: float | None
    peak_mb: float | None
    runs: int
    threads: int | None
    xnnpack: bool | None
    samples: np.ndarray = dataclasses.field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        kept = (f.name for f in dataclasses.fields(self) if f.name != "samples")
        return {name: getattr(self, name) for name in kept} | {"rounds": len(self.samples)}


def safe_name(name: str) -> str:
    """A model's name as its file is called on the phone."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def script(
    files: Mapping[str, str],
    *,
    threads: int = 1,
    xnnpack: bool = True,
    rounds: int = 5,
    runs: int = 50,
    warm_ups: int = 5,
    seed: int = 0,
    again: str = "flywheel benchmark --import-results phone.txt",
) -> str:
    """A shell script that measures the files on the phone at the end of the USB cable.

    As on this machine: interleaved rounds in random order. Memory is asked for in runs of their
    own, because the thread that watches it disturbs the timings (the tool's README says so).

    Args:
      files: Name to path on this machine.
      threads, xnnpack: As `benchmark_model` takes them.
      rounds: Runs of the tool per file.
      runs, warm_ups: Least calls in each.
      seed: Of the order.
      again: The command that imports what it prints, for the reader of the script.
    """
    names = {name: safe_name(name) for name in files}
    if len(set(names.values())) < len(names):
        raise ConfigError(
            "SAME_NAME",
            f"Two of the files have the same name on the phone: {', '.join(names.values())}.",
            next="Rename one.",
        )
    order = np.random.default_rng(seed)
    flags = (
        f"--num_threads={threads} --use_xnnpack={str(xnnpack).lower()} "
        f"--warmup_runs={warm_ups} --num_runs={runs}"
    )
    lines = [
        "#!/bin/sh",
        "# Measures TFLite files on an Android phone with TensorFlow Lite's benchmark_model.",
        "# Needs adb, a phone with USB debugging, and the tool for its processor, for example",
        f"#   curl -LO {_TOOL_URL}",
        "# Then:",
        "#   sh THIS_SCRIPT > phone.txt",
        f"#   {again}",
        "# A file the phone refuses says so in its place and costs no other.",
        "set -eu",
        "TOOL=${BENCHMARK_MODEL:-android_aarch64_benchmark_model}",
        'test -f "$TOOL" || { echo "no $TOOL here: see the head of this script" >&2; exit 1; }',
        f"adb shell mkdir -p {FOLDER}",
        f'adb push "$TOOL" {FOLDER}/benchmark_model >&2',
        f"adb shell chmod +x {FOLDER}/benchmark_model",
    ]
    lines += [
        f"adb push {shlex.quote(str(path))} {FOLDER}/{names[name]}.tflite >&2"
        for name, path in files.items()
    ]
    lines += [
        "property() { adb shell getprop \"$1\" | tr -d '\\r'; }",
        'echo "flywheel: device=$(property ro.product.manufacturer) '
        '$(property ro.product.model), Android $(property ro.build.version.release)"',
        "# adb reads standard input otherwise, and would swallow the rest of this script.",
        f"run() {{ adb shell {FOLDER}/benchmark_model "
        f'--graph={FOLDER}/"$1".tflite {flags} ${{2:-}} </dev/null 2>&1; }}',
    ]
    for number in range(1, rounds + 1):
        lines.append(f"# round {number} of {rounds}")
        for name in order.permutation(list(files)):
            lines += [f"echo flywheel: run={names[name]}", f"run {names[name]} || true"]
    lines.append("# memory")
    for name in files:
        lines += [
            f"echo flywheel: memory={names[name]}",
            f"run {names[name]} --report_peak_memory_footprint=true || true",
        ]
    lines += [f"adb shell rm -r {FOLDER}", ""]
    return "\n".join(lines)


def parse(text: str, *, name: str = "") -> list[Run]:
    """Reads what `benchmark_model` printed, one run of it or many, from a shell or logcat.

    Lines of other programs are passed over; a run that was cut off before its timings is left
    out.

    Args:
      text: The transcript.
      name: Model of runs that do not say which file they had.

    Raises:
      ConfigError: NO_RESULTS.
    """
    found: list[Run] = []
    device, ours, timed = "", "", True
    state: dict[str, Any] = {}
    for line in text.splitlines():
        line = line.strip()
        if own := _OURS.match(line):
            kind, value = own.groups()
            if kind == "device":
                device = value.strip()
            else:
                ours, timed, state = value.strip(), kind == "run", {}
        elif _START in line:  # what came before belongs to a run that was cut off
            state = {}
        elif match := _GRAPH.search(line):
            state["graph"] = match[1]
        elif match := _THREADS.search(line):
            state["threads"] = int(match[1])
        elif match := _XNNPACK.search(line):
            state["xnnpack"] = match[1] == "1"
        elif _COUNT.search(line):
            state["stats"] = {key: float(value) for key, value in _FACT.findall(line)}
        elif match := _TIMINGS.search(line):
            found.append(
                _run(ours or name, device, timed, state, [float(x) for x in match.groups()])
            )
            state = {}
        elif found and (match := _MEMORY.search(line)):
            found[-1] = dataclasses.replace(found[-1], memory_mb=float(match[1]))
        elif found and (match := _PEAK.search(line)):
            found[-1] = dataclasses.replace(found[-1], peak_mb=float(match[1]))
    if not found:
        raise ConfigError(
            "NO_RESULTS",
            "There is no result of TensorFlow Lite's benchmark_model in this text: no line says "
            "`Inference timings in us`.",
            next="Write the commands with `flywheel benchmark --android FILE`, run them, and "
            "import all they print.",
        )
    return found


def _run(name: str, device: str, timed: bool, state: dict[str, Any], told: list[float]) -> Run:
    init, first, _, mean = told
    stats = state.get("stats", {})
    median = stats.get("median")
    graph = re.split(r"[/\\]", state.get("graph", ""))[-1].removesuffix(".tflite")
    return Run(
        model=name if not graph else graph,
        device=device,
        p50_us=mean if median is None else median,
        is_mean=median is None,
        p95_us=stats.get("p95"),
        runs=int(stats.get("count", 0)),
        init_us=init,
        first_us=first,
        threads=state.get("threads"),
        xnnpack=state.get("xnnpack"),
        timed=timed,
    )


def summarize(runs: Iterable[Run]) -> list[DeviceResult]:
    """The runs by device and file, in the order in which each came first."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.device, run.model), []).append(run)
    results = []
    for (device, model), group in groups.items():
        timed = [run for run in group if run.timed] or group
        p95 = [run.p95_us for run in timed if run.p95_us is not None]
        results.append(
            DeviceResult(
                model=model,
                device=device,
                p50_us=float(np.median([run.p50_us for run in timed])),
                p95_us=float(np.median(p95)) if p95 else None,
                is_mean=any(run.is_mean for run in timed),
                load_ms=float(np.median([run.init_us + run.first_us for run in timed])) / 1e3,
                memory_mb=_most(run.memory_mb for run in timed),
                peak_mb=_most(run.peak_mb for run in group),
                runs=sum(run.runs for run in timed),
                threads=timed[0].threads,
                xnnpack=timed[0].xnnpack,
                samples=np.array([[run.p50_us] for run in timed]),
            )
        )
    return results


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
