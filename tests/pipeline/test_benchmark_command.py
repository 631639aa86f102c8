"""`flywheel benchmark`, as a user types it."""

from __future__ import annotations

import json
import pathlib
import re
import shutil

import pytest

from models.benchmark.device import parse
from pipeline.cli.benchmark_table import _whose
from tests.conftest import Flywheel
from tests.models import tflite_files
from tests.models.test_benchmark_device import LOGCAT, OLD

QUICK = ("--rounds", "3", "--runs", "5", "--batch", "32")
FIGURES = {
    "name", "device", "path", "bytes", "gzip_bytes", "sha256", "latency_us", "batch", "load_ms",
    "peak_rss_bytes", "batch_peak_rss_bytes", "instructions", "runs", "rounds", "threads",
    "delegate", "ratio", "batch_ratio", "verdict", "notes",
}  # fmt: skip


@pytest.fixture
def folder(flywheel) -> pathlib.Path:
    """The working folder with foreign files in it."""
    for path in tflite_files.shared().values():
        shutil.copy(path, flywheel.folder)
    return flywheel.folder


def by_name(result: dict) -> dict[str, dict]:
    return {row["name"]: row for row in result["models"]}


def test_any_files_against_any_other(flywheel, folder):
    result = flywheel.json(
        "benchmark", "small.tflite", "words.tflite", "image.tflite", "custom.tflite",
        "--against", "large.tflite", *QUICK,
    )  # fmt: skip
    found = by_name(result)
    assert result["reference"] == "large" and result["models"][0]["name"] == "large"
    assert set(found) == {"small", "words", "image", "custom", "large"}
    assert all(set(row) == FIGURES and row["device"] == "here" for row in found.values())
    small, large = found["small"], found["large"]
    assert small["verdict"] == "smaller and faster" and large["verdict"] == "reference"
    assert 0 < small["ratio"]["low"] <= small["ratio"]["point"] <= small["ratio"]["high"] < 1
    assert small["batch_ratio"]["high"] < 1 and large["ratio"] is None
    assert small["bytes"] == (folder / "small.tflite").stat().st_size
    assert (small["runs"], small["rounds"], small["batch"]["rows"]) == (15, 3, 32)
    assert small["latency_us"]["p50"] <= small["latency_us"]["p99"]
    assert "XNNPACK" in small["delegate"]
    assert found["image"]["batch"] is None and "one shape only" in " ".join(found["image"]["notes"])
    assert found["custom"]["verdict"] == "skipped" and "Erfinv" in found["custom"]["notes"][0]
    assert {"cpu", "flags", "cores", "system", "python", "libraries", "date"} <= set(
        result["machine"]
    )
    assert result["settings"]["threads"] == 1 and result["settings"]["xnnpack"] is True


def test_a_note_names_the_fewer_files():
    files = ["a", "b", "c", "d"]
    assert _whose(files, files) == ""
    assert _whose(["a"], files) == "a: "
    assert _whose(["a", "b", "d"], files) == "all but c: "


def test_one_file_has_figures_and_no_verdict(flywheel, folder):
    result = flywheel.json("benchmark", "tokens.tflite", *QUICK, "--no-xnnpack", "--threads", "2")
    [row] = result["models"]
    assert (row["verdict"], row["ratio"], row["delegate"], row["threads"]) == ("", None, "off", 2)
    assert result["reference"] is None


def test_the_table_says_what_it_was_measured_on_and_how(flywheel, folder):
    shown = flywheel("benchmark", "small.tflite", "large.tflite", "flex.tflite", *QUICK).stdout
    for words in ("50 / p90 / p99", "32 rows", "1 thread", "XNNPACK on", "3 interleaved rounds",
                  "ai-edge-litert", "delegate in force", "FlexStringToHashBucketFast", "skipped",
                  "reference", "input tensors"):  # fmt: skip
        assert words in shown, shown
    assert re.search(r"large .*\d\.\d{3} \(\d\.\d{3}–\d+\.\d{3}\)", shown), shown


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "words"),
    [
        (["nope.tflite"], 2, "NO_SUCH_FILE", "nope.tflite"),
        (["text.bin"], 2, "NOT_TFLITE", "TFLiteConverter"),
        (["empty"], 2, "NO_MODELS", "empty"),
        ([], 2, "NO_CONFIG", "flywheel init"),
        (["custom.tflite"], 1, "UNSUPPORTED_OPS", "Erfinv"),
        (["small.tflite", "--against", "flex.tflite"], 1, "UNSUPPORTED_OPS", "Flex"),
        (["small.tflite", "--against", "."], 2, "SEVERAL_REFERENCES", "large.tflite"),
        (["small.tflite", "--data", "rows.csv"], 2, "NO_CONTRACT", "model.json"),
        (["small.tflite", "--import-results", "text.bin"], 2, "NO_RESULTS", "text.bin"),
        (["small.tflite", "--import-results", "nope.txt"], 2, "NO_SUCH_FILE", "nope.txt"),
        (["small.tflite", "--android", "no/such/phone.sh"], 2, "CANNOT_WRITE", "phone.sh"),
    ],
)
def test_what_cannot_be_measured(arguments, exit_code, code, words, flywheel, folder):
    (folder / "text.bin").write_text("this is text, and long enough")
    (folder / "empty").mkdir()
    done = flywheel("benchmark", *arguments, "--json", check=exit_code)
    assert code in done.stderr and words in done.stderr and "→" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["reasons"][0]["code"] == code


def test_a_phone_gets_a_script_and_its_figures_the_same_table(flywheel, folder):
    shown = flywheel("benchmark", "small.tflite", "large.tflite", "--android", "phone.sh").stdout
    script = (folder / "phone.sh").read_text()
    assert "adb push" in script and "--use_xnnpack=true" in script and "phone.sh" in shown
    again = "flywheel benchmark small.tflite large.tflite --import-results phone.txt"
    assert again in shown and again in script
    slow = OLD.replace("student", "large").replace("avg=52.9", "avg=80.5")
    slow = slow.replace("Inference (avg): 52.9", "Inference (avg): 80.5")
    quick = OLD.replace("student", "small")
    (folder / "phone.txt").write_text("flywheel: device=Phone 9\n" + (quick + slow) * 3)
    (folder / "other.txt").write_text(LOGCAT)
    result = flywheel.json(
        "benchmark", "small.tflite", "large.tflite", "--against", "large.tflite", *QUICK,
        "--import-results", "phone.txt", "--import-results", "other.txt",
    )  # fmt: skip
    rows = {(row["name"], row["device"]): row for row in result["models"]}
    assert set(rows) == {
        ("large", "here"), ("small", "here"), ("small", "Phone 9"), ("large", "Phone 9"),
        ("best int8", "other"),
    }  # fmt: skip
    assert all(set(row) == FIGURES for row in rows.values())
    phone = rows["small", "Phone 9"]
    assert phone["verdict"] == "smaller and faster" and phone["latency_us"]["p50"] == 52.9
    assert phone["ratio"]["high"] == pytest.approx(52.9 / 80.5)
    assert phone["bytes"] == rows["small", "here"]["bytes"]
    assert rows["best int8", "other"]["latency_us"]["p50"] == parse(LOGCAT)[0].p50_us
    shown = flywheel("benchmark", "small.tflite", *QUICK, "--import-results", "phone.txt").stdout
    assert "Phone 9" in shown and "without Python" in shown


def test_phones_alone_need_no_model_here(flywheel):
    (flywheel.folder / "phone.txt").write_text(OLD)
    [row] = flywheel.json("benchmark", "--import-results", "phone.txt")["models"]
    assert (row["name"], row["device"], row["bytes"]) == ("student", "phone", None)


def test_measuring_imports_no_tensorflow(flywheel, folder):
    done = flywheel("benchmark", "small.tflite", *QUICK, PYTHONPROFILEIMPORTTIME="1")
    imported = set(re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.M))
    assert "ai_edge_litert.interpreter" in imported
    assert not imported & {"tensorflow", "tfx", "apache_beam", "tensorflow_data_validation"}


def test_help_teaches_with_examples(flywheel):
    shown = flywheel("benchmark", "--help").stdout
    assert "flywheel benchmark mine.tflite --against theirs.tflite" in shown
    assert "--import-results" in shown


@pytest.mark.slow
def test_the_variants_of_the_newest_run_on_made_and_on_real_rows(taxi: tuple[Flywheel, dict]):
    command, run = taxi
    result = command.json("benchmark", *QUICK)
    found = by_name(result)
    made = {v["name"] for v in run["variants"] if v["state"] != "skipped"}
    assert set(found) == made | {"teacher_float32"} and result["reference"] == "float32"
    assert {v["name"]: v["bytes"] for v in run["variants"] if v["name"] in made} == {
        name: row["bytes"] for name, row in found.items() if name in made
    }
    assert all("model.json" in " ".join(row["notes"]) for row in found.values())
    deployed = command.json("benchmark", "deployed", "--data", "demo:chicago-taxi", *QUICK)
    [row] = deployed["models"]
    assert row["name"] == run["pushed"]["version"]
    assert "demo:chicago-taxi" in " ".join(row["notes"])
