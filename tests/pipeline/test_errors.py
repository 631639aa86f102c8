"""What a user types wrong: one paragraph, the remedy, the exit code, no traceback."""

from __future__ import annotations

import gzip
import pathlib
import re

import pytest

from models import stack
from tests.conftest import Flywheel

CONFIG = (
    "name: t\ndata: {path: t.csv}\ntask: {label: y, type: binary}\n"
    "features: {x: numeric, s: categorical}\n"
)
ROWS = "".join(f"{i},{'ab'[i % 2]},{i % 2}\n" for i in range(100))


def refused(command: Flywheel, data: bytes, code: str, exit_code: int, *words: str) -> None:
    (command.folder / "flywheel.yaml").write_text(CONFIG)
    (command.folder / "t.csv").write_bytes(data)
    done = command("run", "--json", check=exit_code)
    assert code in done.stdout and code in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert "→" in done.stderr and "Traceback" not in done.stderr
    assert not (command.folder / "deployed").exists()


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "EMPTY_FILE", ["t.csv"]),
        (b"x,s,y\n", "HEADER_ONLY", ["no rows"]),
        (f"x,s,y\n{ROWS}1,a,1,9\n".encode(), "RAGGED_ROWS", ["102"]),
        (f"x,s,y,x\n{ROWS}".encode(), "DUPLICATE_COLUMNS", ["`x`"]),
        ("x,s,y\n1,größe,1\n".encode("latin-1"), "NOT_UTF8", ["UTF-8"]),
        (f"x,s,z\n{ROWS}".encode(), "LABEL_MISSING", ["`y`"]),
        (f"xx,s,y\n{ROWS}".encode(), "COLUMN_MISSING", ["`x`", "xx"]),
        (f"x,s,y\n{ROWS}twelve,a,1\n".encode(), "TYPE_CHANGED", ["twelve"]),
    ],
)
def test_data_that_cannot_be_used(data, code, words, flywheel):
    refused(flywheel, data, code, 3, *words)


def test_compressed_data_is_read_the_same(flywheel):
    (flywheel.folder / "t.csv.gz").write_bytes(gzip.compress(b"x,s,y\n"))
    (flywheel.folder / "flywheel.yaml").write_text(CONFIG)
    done = flywheel("run", "--data", "t.csv.gz", check=3)
    assert "HEADER_ONLY" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], ["NO_CONFIG", "flywheel init DATA"]),
        (["run", "--config", "nope.yaml"], ["nope.yaml"]),
        (["init", "nope.csv"], ["NO_SUCH_FILE", "nope.csv"]),
        (["init", "demo:taxi"], ["NO_SUCH_DEMO", "demo:chicago-taxi"]),
        (["models", "list"], ["NO_CONFIG"]),
        (["rnu"], ["rnu"]),
        (["run", "--dta", "x"], ["--dta"]),
    ],
)
def test_commands_typed_wrong(arguments, words, flywheel):
    done = flywheel(*arguments, check=2)
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def configured(command: Flywheel, config: str = CONFIG) -> Flywheel:
    (command.folder / "flywheel.yaml").write_text(config)
    (command.folder / "t.csv").write_text("x,s,y\n" + ROWS)
    return command


def test_a_file_that_is_not_there_names_the_closest(flywheel):
    configured(flywheel, CONFIG.replace("t.csv", "tt.csv"))
    done = flywheel("run", "--json", check=2)
    assert "NO_SUCH_FILE" in done.stdout and "t.csv" in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sed: 1", ["UNKNOWN_KEY", "'seed'"]),
        ("seed: many", ["WRONG_VALUE", "`seed`"]),
        ("evaluation: {thresholds: {auc: 1.5}}", ["THRESHOLD_INVALID", "auc"]),
        ("data: [", ["INVALID_YAML", "line"]),
    ],
)
def test_a_config_that_is_wrong(line, words, flywheel):
    done = configured(flywheel, CONFIG + line + "\n")("run", check=2)
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["predict", "t.csv"], "NOTHING_DEPLOYED"),
        (["predict", "t.csv", "-o", "out.xls"], "UNKNOWN_FORMAT"),
        (["models", "show"], "NOTHING_DEPLOYED"),
        (["models", "rollback", "abc"], "UNKNOWN_VERSION"),
        (["runs", "show"], "NO_RUNS"),
        (["report"], "NO_RUNS"),
    ],
)
def test_before_the_first_run(arguments, code, flywheel):
    done = configured(flywheel)(*arguments, check=2)
    assert code in done.stderr and "→" in done.stderr


def test_lists_are_empty_not_errors_before_the_first_run(flywheel):
    configured(flywheel)
    assert flywheel.json("runs", "list") == [] and flywheel.json("models", "list") == []
    assert "flywheel run" in flywheel("runs").stdout


def test_init_keeps_a_config_that_exists(flywheel):
    configured(flywheel)
    assert "--force" in flywheel("init", "t.csv", check=2).stderr
    assert (flywheel.folder / "flywheel.yaml").read_text() == CONFIG
    flywheel("init", "t.csv", "--force")
    assert (flywheel.folder / "flywheel.yaml").read_text() != CONFIG


def test_doctor_tells_what_is_there(flywheel):
    checks = {c["what"]: c for c in flywheel.json("doctor")["checks"]}
    current = stack.current()
    assert checks["tfx"]["found"].startswith(f"{current.tfx}.") and checks["tfx"]["state"] == "ok"
    assert checks["stack"]["found"] == current.name
    assert checks["Python"]["state"] == "ok" and current.python_range in checks["Python"]["for"]


def test_debug_shows_the_trace(flywheel):
    assert "Traceback" in flywheel("run", "--debug", check=2).stderr


@pytest.mark.parametrize(
    "command", [[], ["run"], ["init"], ["runs"], ["models"], ["predict"], ["benchmark"]]
)
def test_help_teaches_without_tensorflow(command, flywheel, tmp_path: pathlib.Path):
    done = flywheel(*command, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert "Usage: flywheel" in done.stdout
    imported = set(re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.M))
    assert "pipeline.cli.app" in imported
    assert not imported & {"tensorflow", "tfx", "apache_beam", "tensorflow_data_validation"}
