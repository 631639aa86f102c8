"""The commands for a phone, run against a stand-in for adb, and their transcripts read back."""

from __future__ import annotations

import os
import stat
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.benchmark import device, result
from models.errors import ConfigError

#: Of a build that prints no percentiles; the wording is that of benchmark_model.cc and
#: stats_calculator.h in tensorflow/tensorflow.
OLD = """\
STARTING!
Log parameter values verbosely: [0]
Min num runs: [50]
Num threads: [1]
Min warmup runs: [5]
Graph: [/data/local/tmp/student.tflite]
#threads used for CPU inference: [1]
Loaded model /data/local/tmp/student.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
The input model file size (MB): 0.016932
Initialized session in 2.283ms.
Running benchmark for at least 5 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=9131 first=339 curr=51 min=47 max=339 avg=54.2 std=7

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=18211 first=53 curr=52 min=46 max=611 avg=52.9 std=9

Inference timings in us: Init: 2283, First inference: 339, Warmup (avg): 54.2, Inference (avg): 52.9
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your discretion.
Memory footprint delta from the start of the tool (MB): init=3.12891 overall=4.40625
"""  # noqa: E501

#: Of a newer build, as logcat shows it.
LOGCAT = """\
07-14 13:14:52.097 22838 22838 I tflite  : Log parameter values verbosely: [0]
07-14 13:14:52.097 22838 22838 I tflite  : Num threads: [4]
07-14 13:14:52.097 22838 22838 I tflite  : Graph: [/data/local/tmp/best int8.tflite]
07-14 13:14:52.097 22838 22838 I tflite  : Use xnnpack: [1]
07-14 13:14:52.190 22838 22838 I tflite  : Initialized session in 92.318ms.
07-14 13:14:52.859 22838 22838 I tflite  : count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613 p5=199462 median=200386 p95=235158
07-14 13:14:53.000 22838 22901 I Zygote  : count=7 of nothing
07-14 13:14:56.520 22838 22838 I tflite  : count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 median=141253 p95=187533
07-14 13:14:56.521 22838 22838 I tflite  : Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, Inference (avg): 145528
07-14 13:14:56.521 22838 22838 I tflite  : Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.4102
07-14 13:14:56.521 22838 22838 I tflite  : Overall peak memory footprint (MB) via periodic monitoring: 93.2383
"""  # noqa: E501


def test_an_old_build_is_read_with_its_mean():
    [run] = device.parse(OLD)
    assert run == device.Run(
        model="student", device="", p50_us=52.9, is_mean=True, p95_us=None, runs=18211,
        init_us=2283, first_us=339, memory_mb=4.40625, peak_mb=None, threads=1, xnnpack=None,
    )  # fmt: skip


def test_a_new_build_in_logcat_is_read_with_its_median():
    [run] = device.parse(LOGCAT)
    assert run == device.Run(
        model="best int8", device="", p50_us=141253, is_mean=False, p95_us=187533, runs=25,
        init_us=92318, first_us=235158, memory_mb=73.4102, peak_mb=93.2383, threads=4,
        xnnpack=True,
    )  # fmt: skip


def test_a_run_that_was_cut_off_is_left_out_and_spoils_no_other():
    cut = LOGCAT[: LOGCAT.index("Inference timings")]
    [run] = device.parse(cut + "\n" + OLD)
    assert (run.model, run.p50_us, run.threads, run.xnnpack) == ("student", 52.9, 1, None)


def test_text_without_results_says_what_is_needed():
    with pytest.raises(ConfigError, match="Inference timings in us") as error:
        device.parse("adb: no devices/emulators found")
    assert error.value.reason.code == "NO_RESULTS" and "--android" in error.value.reason.next


MICROSECONDS = st.integers(1, 10**7)
RUN = st.builds(
    device.Run,
    model=st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True).filter(
        lambda name: not name.endswith(".tflite")
    ),
    device=st.just(""),
    p50_us=MICROSECONDS.map(float),
    is_mean=st.booleans(),
    p95_us=MICROSECONDS.map(float),
    runs=st.integers(2, 10**6),
    init_us=MICROSECONDS.map(float),
    first_us=MICROSECONDS.map(float),
    memory_mb=st.none() | st.floats(0, 1e4).map(lambda x: round(x, 3)),
    peak_mb=st.none() | st.floats(0, 1e4).map(lambda x: round(x, 3)),
    threads=st.none() | st.integers(-1, 16),
    xnnpack=st.none() | st.booleans(),
).map(lambda run: run if not run.is_mean else device.dataclasses.replace(run, p95_us=None))
PREFIX = st.sampled_from(["", "INFO: ", "I tflite  : ", "07-14 13:14:52.859 1 1 I tflite  : "])
NOISE = st.sampled_from(["", "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "bash: $"])


def printed(run: device.Run, warm_up: int) -> list[str]:
    """As the tool prints it."""
    mean = run.p50_us if run.is_mean else run.p50_us + 1
    percentiles = "" if run.is_mean else f" p5=1 median={run.p50_us:.0f} p95={run.p95_us:.0f}"
    lines = ["Log parameter values verbosely: [0]"]
    lines += [] if run.threads is None else [f"Num threads: [{run.threads}]"]
    lines += [f"Graph: [/data/local/tmp/{run.model}.tflite]"]
    lines += [] if run.xnnpack is None else [f"Use xnnpack: [{run.xnnpack:d}]"]
    lines += [
        f"count={warm_up} first=9 curr=9 min=9 max=9 avg=9 std=0 p5=9 median=9 p95=9",
        f"count={run.runs} first=8 curr=9 min=8 max=9 avg={mean:g} std=1{percentiles}",
        f"Inference timings in us: Init: {run.init_us:.0f}, First inference: {run.first_us:.0f}, "
        f"Warmup (avg): 9, Inference (avg): {mean:.10g}",
    ]
    if run.memory_mb is not None:
        lines.append(
            "Memory footprint delta from the start of the tool (MB): init=1 "
            f"overall={run.memory_mb}"
        )
    if run.peak_mb is not None:
        lines.append(f"Overall peak memory footprint (MB) via periodic monitoring: {run.peak_mb}")
    return lines


@given(st.lists(RUN, min_size=1, max_size=5), PREFIX, NOISE, st.integers(1, 99))
def test_whatever_the_tool_prints_is_read_back(runs, prefix, noise, warm_up):
    lines = [line for run in runs for line in printed(run, warm_up)]
    text = "\n".join(f"{prefix}{line}\n{noise}" for line in lines)
    assert device.parse(text) == runs


@given(st.text())
def test_no_text_breaks_the_reader(text):
    with pytest.raises(ConfigError):
        device.parse(text.replace("Inference timings", ""))


ADB = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
*getprop*manufacturer*) printf 'Maker\\r\\n' ;;
*getprop*model*) printf 'Phone 9\\r\\n' ;;
*getprop*release*) printf '16\\r\\n' ;;
*slow_one.tflite*) t=200 ;;
*quick.tflite*) t=100 ;;
*) exit 0 ;;
esac
test -n "${t:-}" || exit 0
case "$*" in *broken*) echo "Failed to load" >&2; exit 1 ;; esac
n=$(wc -l < "$LOG")
graph=$(echo "$*" | sed 's/.*--graph=\\([^ ]*\\).*/\\1/')
{
echo "Log parameter values verbosely: [0]"
echo "Num threads: [1]"
echo "Graph: [$graph]"
echo "Use xnnpack: [1]"
echo "count=9 first=900 curr=300 min=300 max=900 avg=400 std=9"
echo "count=60 first=$t curr=$t min=$t max=999 avg=$((t + 50)) std=9 median=$((t + n)) p95=$((t * 2))"
echo "Inference timings in us: Init: 1500, First inference: 500, Warmup (avg): 400, Inference (avg): 250"
} >&2
case "$*" in *report_peak*)
echo "Memory footprint delta from the start of the tool (MB): init=1 overall=2.5" >&2
echo "Overall peak memory footprint (MB) via periodic monitoring: 9.5" >&2 ;;
esac
"""  # noqa: E501


def test_the_script_runs_and_what_it_prints_is_imported(tmp_path):
    adb = tmp_path / "adb"
    adb.write_text(ADB)
    adb.chmod(adb.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "tool").write_text("")
    paths = {"quick": tmp_path / "quick file.tflite", "slow one": tmp_path / "b.tflite"}
    script = tmp_path / "phone.sh"
    script.write_text(device.script({n: str(p) for n, p in paths.items()}, threads=1, runs=60))
    log = tmp_path / "log"
    done = subprocess.run(
        ["sh", str(script)], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log),
             "BENCHMARK_MODEL": str(tmp_path / "tool")},
    )  # fmt: skip
    commands = log.read_text().splitlines()
    assert f"push {tmp_path}/quick file.tflite {device.FOLDER}/quick.tflite" in commands
    timed = [c for c in commands if "--num_runs=60" in c and "report_peak" not in c]
    assert len(timed) == 10 and all(
        "--num_threads=1 --use_xnnpack=true --warmup_runs=5" in c for c in timed
    )
    per_round = [timed[i : i + 2] for i in range(0, 10, 2)]
    assert all({"quick" in a, "quick" in b} == {True, False} for a, b in per_round)
    found = device.summarize(device.parse(done.stdout))
    by_name = {r.model: r for r in found}
    assert set(by_name) == {"quick", "slow_one"}
    for r in found:
        assert r.device == "Maker Phone 9, Android 16" and len(r.samples) == 5 and r.runs == 300
        assert (r.peak_mb, r.load_ms, r.threads, r.xnnpack) == (9.5, 2.0, 1, True)
        assert r.p50_us == np.median(r.samples) and not r.is_mean
    here = [result.Row("slow one", bytes=200), result.Row("quick", bytes=100)]
    rows = {row.name: row for row in result.measured_elsewhere(found, here, "slow one")}
    assert rows["slow one"].verdict == "reference"
    assert rows["quick"].verdict == "smaller and faster" and rows["quick"].ratio.high < 1
    assert rows["quick"].latency_us["p95"] == 200 and rows["quick"].bytes == 100


def test_the_script_names_the_missing_tool(tmp_path):
    script = tmp_path / "phone.sh"
    script.write_text(device.script({"a": "a.tflite"}))
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "android_aarch64_benchmark_model" in done.stderr


def test_two_files_of_one_name_on_the_phone_are_refused():
    with pytest.raises(ConfigError, match="same name"):
        device.script({"a b": "1.tflite", "a_b": "2.tflite"})


def test_one_run_on_a_phone_decides_nothing():
    runs = device.parse(OLD + OLD.replace("student", "teacher").replace("52.9", "80.5"))
    rows = result.measured_elsewhere(
        device.summarize(runs), [result.Row("student", bytes=1), result.Row("teacher", bytes=2)],
        "teacher",
    )  # fmt: skip
    student = next(row for row in rows if row.name == "student")
    assert student.ratio.point == pytest.approx(52.9 / 80.5) and student.ratio.low is None
    assert student.verdict == "smaller; speed not decided" and "mean" in student.notes[0]
