"""docs/components.md: its pipelines run, and no reason code is left out."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from custom_components.schema_validator.options import DEFAULT_POLICY
from tests.conftest import ROOT
from tests.docs.fences import Reader, steps

PAGE = (ROOT / "docs" / "components.md").read_text("utf-8")
COMPONENTS = ROOT / "custom_components"
CODE = re.compile(r"[A-Z][A-Z0-9]+(_[A-Z0-9]+)+")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The guide's table, and the page's programs under the names they give themselves."""
    path = tmp_path_factory.mktemp("components") / "churn"
    path.mkdir()
    table, *_ = steps((ROOT / "docs" / "guide.md").read_text("utf-8"))
    Reader(path, "churn").follow(table)
    for step in steps(PAGE):
        name = step.code.splitlines()[0].removeprefix("# ")
        assert name.endswith(".py"), f"line {step.line}: the program does not say its name"
        (path / name).write_text(step.code)
    return path


def run(folder: pathlib.Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, name],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def only(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_our_data_checks_before_their_training(folder):
    run(folder, "front.py")
    verdict = json.loads(only(folder, "front/SchemaValidator/anomalies/*/verdict.json").read_text())
    assert verdict["state"] == "passed" and verdict["rows"]["read"] == 3000
    assert only(folder, "front/Trainer/model/*/Format-Serving/saved_model.pb")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_their_ingestion_before_our_training(folder):
    run(folder, "back.py")
    verdict = json.loads(only(folder, "back/Evaluator/evaluation/*/verdict.json").read_text())
    assert verdict["blessed"] and set(verdict["metrics"]) == {"shipped", "student", "teacher"}
    chosen = only(folder, "back/TFLiteQuantizer/chosen/*/Format-Serving/tflite")
    assert only(folder, "pushed/*/tflite").read_bytes() == chosen.read_bytes()


def codes() -> dict[str, set[str]]:
    """Component folder to the codes that its source names."""
    found: dict[str, set[str]] = {}
    for path in sorted(COMPONENTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                code, name = node.args[0], getattr(node.func, "id", "")
                if not (name.endswith("Error") or name in ("Reason", "Finding")):
                    continue
                if isinstance(code, ast.Constant) and CODE.fullmatch(str(code.value)):
                    found.setdefault(path.parent.name, set()).add(code.value)
    return found


@pytest.mark.parametrize("component", sorted(codes()))
def test_every_code_of_a_component_is_in_its_section(component):
    title = "## " + component.replace("_", "")
    sections = {part.split("\n", 1)[0].lower(): part for part in re.split(r"\n(?=## )", PAGE)}
    missing = {code for code in codes()[component] if f"`{code}`" not in sections[title]}
    assert not missing


def test_the_policy_is_told_as_it_is():
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| (block|warn|ignore) \|", PAGE, re.MULTILINE))
    assert {code: told.get(code) for code in DEFAULT_POLICY} == DEFAULT_POLICY


def test_every_component_and_output_is_told():
    for path in COMPONENTS.glob("*/component.py"):
        tree = ast.parse(path.read_text("utf-8"))
        (spec,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name.endswith("Spec"))
        assert f"## {spec.name.removesuffix('Spec')}\n" in PAGE
        for node in ast.walk(spec):
            for key in node.keys if isinstance(node, ast.Dict) else []:
                if isinstance(key, ast.Constant):
                    assert f"`{key.value}`" in PAGE, f"{spec.name}: {key.value}"
