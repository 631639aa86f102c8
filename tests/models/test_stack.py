"""What depends on the stack is in models/stack.py, and holds on the one that runs the tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from models import stack
from pipeline import unchanged
from tests.conftest import ROOT

PACKAGES = (
    "models",
    "custom_components",
    "monitoring",
    "pipeline",
    "cloud_functions",
    "control_center",
    "benchmarks",
    "tests",
)
#: They ask what is in an environment that is not the pipeline's, or what a package brings along.
OTHER_ENVIRONMENTS = (
    "benchmarks/onnx_runtime.py",
    "benchmarks/onnx_worker.py",
    "custom_components/tflite_quantizer/edge.py",
    "pipeline/rehearsal/pip_stand_in.py",
    "tests/cloud_functions/test_requirements.py",
    "tests/deploy/test_image.py",
    "tests/pipeline/rehearsal/test_pip_stand_in.py",
)
VERSION_QUESTION = re.compile(
    r"version_info|__version__|importlib\.metadata|python_version\(|pkg_resources"
)


def test_this_machine_runs_one_of_the_two():
    current = stack.current()
    assert current in (stack.MODERN, stack.LEGACY)
    assert current.takes_this_python()
    major, minor = map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")[:2])
    assert (major, minor) >= current.glibc
    assert all(stack.decisive_versions().values())


def test_python_ranges_read_as_people_say_them():
    assert stack.MODERN.python_range == "3.11 to 3.13"
    assert stack.LEGACY.python_range == "3.10"


@pytest.mark.parametrize("name", stack.ENVIRONMENT)
def test_the_environment_is_set_and_a_users_choice_stays(name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    stack.prepare_environment()
    assert os.environ[name] == stack.ENVIRONMENT[name]
    monkeypatch.setenv(name, "mine")
    stack.prepare_environment()
    assert os.environ[name] == "mine"


def test_tensorflow_takes_the_keras_that_converter_and_tfmot_know():
    script = (
        "from models import stack; stack.prepare_environment()\n"
        "import tensorflow as tf, tf_keras\n"
        "import tensorflow_model_optimization as tfmot\n"
        "layer = tf_keras.layers.Dense(1)\n"
        "assert isinstance(layer, tf.keras.layers.Layer), tf.keras\n"
        "tfmot.quantization.keras.quantize_annotate_layer(layer)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_nobody_else_asks_for_versions():
    asking = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.relative_to(ROOT).as_posix()
        not in ("models/stack.py", "tests/models/test_stack.py", *OTHER_ENVIRONMENTS)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if VERSION_QUESTION.search(line)
        # To show it is no decision.
        and "platform.python_version()" not in line
    ]
    assert not asking, "\n".join(asking)


def test_another_version_beneath_is_other_code(monkeypatch):
    before = unchanged.code_fingerprint()
    assert unchanged.code_fingerprint() == before
    monkeypatch.setattr(stack, "decisive_versions", lambda: {"tensorflow": "3.0"})
    assert unchanged.code_fingerprint() != before


def test_a_strange_tfx_is_neither(monkeypatch):
    monkeypatch.setattr(stack, "version", lambda package: "1.3.0")
    assert stack.current() is None
    monkeypatch.setattr(stack, "version", lambda package: None)
    assert stack.current() is None


def test_the_reason_is_what_the_installation_wrote(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert stack.reason() == ""
    (tmp_path / "stack").write_text("legacy\nbecause\n")
    assert stack.reason() == "because"
