"""Timing, loading and feeding real files of the real converter."""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.benchmark import benchmark, footprint, measure, timing, workload
from models.benchmark.files import contract, find, names, size
from models.benchmark.machine import parse_cpuinfo, stamp
from models.benchmark.ratio import ratio, verdict
from models.benchmark.session import Session
from models.errors import ConfigError, FlywheelError
from models.predictor import TFLiteRunner
from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from tests.conftest import ROOT
from tests.models import tflite_files

GOOD = ("small", "large", "image", "words", "tokens", "int8")
ROWS = {"x": np.random.default_rng(0).normal(size=(30, 16)).astype(np.float32)}


@pytest.fixture(scope="module")
def files() -> dict[str, pathlib.Path]:
    return tflite_files.shared()


# --- timing --------------------------------------------------------------------------------


def test_every_figure_comes_from_the_runs_it_claims(files):
    paths = {name: str(files[name]) for name in ("small", "large")}
    found = benchmark(paths, ROWS, rounds=5, runs=10, batch=64)
    assert list(found) == ["small", "large"]
    for t in found.values():
        assert 0 < t.p50 <= t.p90 <= t.p99 and 0 < t.batch_p50 <= t.batch_p90 <= t.batch_p99
        assert (t.runs, t.rounds, t.batch, t.batch_runs, t.warm_ups) == (50, 5, 64, 50, 5)
        assert t.samples.single.shape == t.samples.block.shape == (5, 10)
        assert t.p50 == pytest.approx(np.median(t.samples.single) * 1e6)
        assert t.rows_per_s == pytest.approx(64 / np.median(t.samples.block))
        assert t.load_ms == pytest.approx(np.median(t.samples.load) * 1e3)
        assert "samples" not in t.to_dict() and t.to_dict()["delegate"].startswith("XNNPACK (")
    # A thousand times the work at batch 64: told apart on any machine, however busy.
    faster = ratio(found["small"].samples.block, found["large"].samples.block)
    assert faster.faster and faster.point < 0.5
    assert verdict(size(files["small"])["bytes"], size(files["large"])["bytes"], faster) == (
        "smaller and faster"
    )


def test_each_round_takes_every_file_once_in_a_new_order_with_a_fresh_interpreter(
    files, monkeypatch
):
    opened = []

    class Recorded(Session):
        def __init__(self, path, **settings):
            opened.append(pathlib.Path(path).stem)
            super().__init__(path, **settings)

    monkeypatch.setattr(timing, "Session", Recorded)
    picked = ("small", "words", "tokens", "image")
    loads = {name: workload.from_tensors(files[name], 8, 0) for name in picked}
    rounds = []
    found = measure(loads, rounds=6, runs=3, on_round=rounds.append)
    assert rounds == [1, 2, 3, 4, 5, 6]
    orders = [tuple(opened[i : i + 4]) for i in range(0, 24, 4)]
    assert len(opened) == 24 and all(sorted(order) == sorted(picked) for order in orders)
    assert len(set(orders)) > 1
    assert found["image"].rows_per_s is None and found["image"].batch_p50 is None


def test_slow_files_get_fewer_runs_and_the_result_says_so(files):
    load = {"large": workload.from_tensors(files["large"], 256, 0)}
    found = measure(load, rounds=3, runs=1000, seconds=1e-6)["large"]
    assert (found.runs, found.batch_runs, found.rounds, found.warm_ups) == (3, 3, 3, 1)


def test_nothing_to_time_and_nothing_to_time_with(files):
    assert measure({}) == {}
    with pytest.raises(ValueError, match="at least 1"):
        measure({"small": workload.from_tensors(files["small"], 8, 0)}, rounds=0)
    with pytest.raises(FlywheelError, match="no rows"):
        benchmark({"small": str(files["small"])}, {"x": np.zeros((0, 16), np.float32)})


# --- sessions ------------------------------------------------------------------------------


def test_a_session_answers_as_what_serves(files):
    answer = Session(files["small"])(ROWS)["y"]
    np.testing.assert_array_equal(answer, TFLiteRunner(files["small"])(ROWS))
    words = {"word": np.array([[b"a"], [b"bc"], [b"?"]], dtype=object)}
    assert Session(files["words"])(words)["id"].ravel().tolist() == [1, 2, 0]


def test_the_delegate_can_be_left_out_and_is_reported(files):
    with_delegate, without = (Session(files["large"], xnnpack=x) for x in (True, False))
    np.testing.assert_allclose(with_delegate(ROWS)["y"], without(ROWS)["y"], rtol=1e-3, atol=1e-4)
    assert with_delegate.partitions() >= 1 and without.partitions() == 0
    load = {"small": workload.from_tensors(files["small"], 8, 0)}
    assert measure(load, rounds=1, runs=1, xnnpack=False)["small"].delegate == "off"
    assert measure(load, rounds=1, runs=1, threads=2)["small"].threads == 2


def test_a_file_without_a_signature_is_called_by_its_tensors(files):
    session = Session(files["image"])
    [tensor] = session.inputs
    assert session.signature is None and tensor.shape == (1, 8, 8, 1)
    rng = np.random.default_rng(0)
    first = rng.integers(-128, 128, (1, 8, 8, 1), np.int8)
    one = {name: x.copy() for name, x in session({tensor.name: first}).items()}
    other = session({tensor.name: rng.integers(-128, 128, (1, 8, 8, 1), np.int8)})
    assert all((one[name] != other[name]).any() for name in one)


def test_of_several_signatures_the_one_that_was_measured_is_named(files):
    session = Session(files["several"])
    assert session.signature == "encode" and set(session.signatures) == {"encode", "score"}
    assert session(ROWS)["y"].shape == (30, 2)
    assert (
        "signature `encode` of encode, score" in workload.from_tensors(files["several"], 8, 0).rows
    )


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "NOT_TFLITE", "is not a TFLite file"),
        (b"hello, this is text", "NOT_TFLITE", "TFL3"),
        (b"PK\x03\x04" + bytes(20), "NOT_TFLITE", ".keras"),
        (b"\x1c\0\0\0TFL3" + b"\xff" * 500, "CANNOT_LOAD", "LiteRT cannot load"),
    ],
)
def test_what_is_no_model_is_refused_with_a_remedy(content, code, words, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(FlywheelError, match=words) as error:
        Session(path)
    assert error.value.reason.code == code and error.value.reason.next
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("name", "operation"), [("flex", "HashBucketFast"), ("custom", "Erfinv")])
def test_missing_operations_are_named(name, operation, files):
    with pytest.raises(FlywheelError, match=operation) as error:
        footprint.footprint(workload.from_tensors(files[name], 8, 0))
    assert error.value.reason.code == "UNSUPPORTED_OPS"


def test_a_file_cut_short_is_refused(files, tmp_path):
    content = files["large"].read_bytes()
    for length in (9, 100, len(content) // 2, len(content) - 1):
        path = tmp_path / "cut.tflite"
        path.write_bytes(content[:length])
        with pytest.raises(FlywheelError):
            footprint.make_apart(str(path), Make(str(path)))


def test_rows_without_an_input_of_the_file_are_refused(files):
    load = workload.from_rows(files["small"], {"z": np.zeros((3, 16), np.float32)}, 8)
    with pytest.raises(FlywheelError, match="inputs that the rows do not have: x"):
        measure({"small": load}, rounds=1)
    wrong = workload.from_rows(files["small"], {"x": np.zeros((3, 5), np.float32)}, 8)
    with pytest.raises(FlywheelError, match=r"refuses to run on x \[1, 5\]"):
        measure({"small": wrong}, rounds=1)


# --- rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_made_rows_fit_any_file_and_are_reproducible(name, files):
    load = workload.from_tensors(files[name], 32, 7)
    session = Session(files[name])
    for feed in load.single[:3]:
        assert session(feed)
    if name == "image":
        assert load.block is None and "one shape only" in load.note
        assert len(np.unique([list(x.values()) for x in load.single])) > 200  # the whole int8 range
    else:
        assert {len(x) for x in session(load.block).values()} == {32}
    again = workload.from_tensors(files[name], 32, 7)
    assert all(
        (a[k] == b[k]).all() for a, b in zip(load.single, again.single, strict=True) for k in a
    )


def test_given_rows_are_taken_in_turn_and_repeated_where_there_are_too_few():
    load = workload.from_rows("f", {"x": np.arange(3.0).reshape(-1, 1)}, 7)
    assert load.block["x"].ravel().tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert [f["x"].item() for f in load.single[:4]] == [0, 1, 2, 0]


WORD = st.text("abcé", min_size=1, max_size=5)


@given(
    st.lists(WORD, max_size=5, unique=True),
    st.lists(st.integers(-50, 50).map(str), max_size=5, unique=True),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
    st.integers(0, 99),
)
def test_rows_made_from_a_contract_obey_it(words, numbers, low, width, seed):
    spec = ModelSpec(
        "binary", "y", ("0", "1"),
        (NumericFeature("fare", 0.0, low, low + width, 0.0, 1.0, "real"),),
        (CategoricalFeature("where", "string", tuple(words)),
         CategoricalFeature("hour", "integer", tuple(numbers), "integer")),
    )  # fmt: skip
    block = workload.from_spec("f", spec, 300, seed).block
    fare, where, hour = (block[name] for name in ("fare", "where", "hour"))
    known = fare[~np.isnan(fare)]
    assert fare.shape == (300, 1) and fare.dtype == hour.dtype == np.float32
    assert (known >= np.float32(low)).all() and (known <= np.float32(low + width)).all()
    assert 0 < np.isnan(fare).sum() < 60
    assert set(where.ravel()) <= {word.encode() for word in words} | {b""}
    assert set(hour[~np.isnan(hour)]) <= {float(n) for n in numbers or ["0"]}


# --- memory and instructions ---------------------------------------------------------------


class Make:
    """Makes rows from the tensors of a file; picklable."""

    def __init__(self, path: str):
        self.path = path

    def __call__(self) -> workload.Workload:
        return workload.from_tensors(self.path, 8, 0)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_memory_is_measured_beyond_the_interpreter(files):
    small, large = (
        footprint.footprint(workload.from_tensors(files[n], 256, 0)) for n in ("small", "large")
    )
    weights = files["large"].stat().st_size
    assert large.peak_bytes - small.peak_bytes > 0.8 * weights
    assert small.peak_bytes < 30e6 and large.batch_peak_bytes >= large.peak_bytes


def test_a_batch_that_is_refused_is_told_and_costs_only_itself(files):
    load = workload.from_tensors(files["image"], 8, 0)
    block = {name: np.zeros((2, 2), np.int8) for name in load.single[0]}
    wrong = workload.Workload(load.path, load.single, block, 2)
    found = footprint.footprint(wrong)
    assert "refuses to run" in found.block_error and found.batch_peak_bytes is None
    assert found.peak_bytes is None or found.peak_bytes > 0


def test_a_crash_becomes_a_sentence():
    with pytest.raises(FlywheelError, match=r"`f.tflite` ends the process .*SIGABRT") as error:
        footprint.make_apart("f.tflite", os.abort)
    assert error.value.reason.code == "CRASHED"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1234567,,instructions:u,812345,100.00,0.86,insn per cycle\n", 1234567),
        ("a warning\n42,,instructions:u,1,100.00,,\n", 42),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("<not counted>,,instructions:u,0,0.00,,\n", None),
        ("", None),
    ],
)
def test_what_perf_prints_is_read(text, count):
    assert footprint.parse_perf(text) == count


def test_instructions_are_counted_or_the_reason_is_given(files):
    found = footprint.instructions(workload.from_tensors(files["small"], 8, 0))
    assert (found.per_call is None) == bool(found.note)
    assert found.per_call is None or found.per_call > 1000


def test_start_up_cancels_from_the_count(files, tmp_path, monkeypatch):
    """With a counter that runs what it is given and counts 5,000 for each of the 2,000 calls."""
    tool = tmp_path / "perf"
    tool.write_text(
        '#!/bin/sh\nwhile [ $# -gt 0 ] && [ "$1" != -- ] && [ "$1" != true ]; do shift; done\n'
        '[ "$1" = true ] || shift\n"$@" || exit 1\n'
        f"n=$(cat {tmp_path}/n 2>/dev/null || echo 0)\necho $((n + 1)) > {tmp_path}/n\n"
        "echo $((900000000 + 10000000 * n)),,instructions:u,1,100.00,, >&2\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = footprint.instructions(workload.from_tensors(files["small"], 8, 0))
    assert (tmp_path / "n").read_text().strip() == "3"  # may it count, few calls, many calls
    assert found == footprint.Instructions(5000.0)


def test_without_perf_there_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in footprint.counting_refusal()


# --- the machine ---------------------------------------------------------------------------

ARM = (
    "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm sve\n"
    "CPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"
)
X86 = "model name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu sse4_2 avx2 fma avx512_vnni hypervisor\n"


def test_the_flags_that_matter_are_kept():
    cpu, flags = parse_cpuinfo(X86)
    assert cpu == "Some CPU @ 2.00GHz" and set(flags) == {"sse4_2", "avx2", "fma", "avx512_vnni"}
    cpu, flags = parse_cpuinfo(ARM)
    assert "0x41" in cpu and "0xd4f" in cpu and set(flags) == {"asimd", "asimddp", "i8mm", "sve"}
    assert parse_cpuinfo("") == ("", ())


def test_the_stamp_says_what_the_figures_were_measured_on():
    found = stamp().to_dict()
    assert found["cpu"] and found["cores"] >= 1 and found["date"].endswith("+00:00")
    assert {"ai-edge-litert", "numpy", "tensorflow"} <= set(found["libraries"])


def test_measuring_and_comparing_are_light():
    done = subprocess.run(
        [sys.executable, "-c",
         "import sys, models.benchmark, models.comparison, models.saturation\n"
         "from models.benchmark import device, files, footprint, machine, result\n"
         "machine.stamp()\n"
         "print(sorted({m.split('.')[0] for m in sys.modules} & "
         "{'tensorflow', 'tf_keras', 'tfx', 'apache_beam', 'tensorflow_model_analysis'}))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


# --- which files ---------------------------------------------------------------------------


def test_folders_of_every_kind_are_understood(files, tmp_path):
    def put(*parts: str) -> pathlib.Path:
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files["small"], path)
        return path

    deployed = put("deployed", "versions", "0123abc", "model.tflite")
    (tmp_path / "deployed" / "CURRENT").write_text("0123abc")
    artifact = put("Q", "chosen", "9", "Format-Serving", "tflite")
    variants = [put("Q", "variants", "9", f"{n}.tflite") for n in ("float32", "int8")]
    spec = ModelSpec("binary", "y", ("0", "1"), (), ())
    spec.save(tmp_path / "Q" / "chosen" / "9")
    assert find(tmp_path / "deployed") == find(deployed.parent) == find(deployed) == [deployed]
    assert find(artifact.parents[1]) == [artifact]
    assert find(variants[0].parent) == variants
    assert contract(artifact) == contract(variants[0]) == spec and contract(deployed) is None
    assert list(names([deployed, artifact, *variants, deployed])) == [
        "0123abc", "9", "float32", "int8"
    ]  # fmt: skip
    assert len(names([variants[0], put("other", "float32.tflite")])) == 2
    with pytest.raises(ConfigError, match="no .tflite file"):
        find(tmp_path)
    with pytest.raises(ConfigError, match="There is no file"):
        find(tmp_path / "nope.tflite")
