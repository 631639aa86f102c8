"""`flywheel rehearse`, as a user types it."""

import pathlib

import pytest
from kfp import compiler, dsl

from pipeline.rehearsal import isolation
from tests.conftest import Flywheel
from tests.pipeline.rehearsal.conftest import ROOT


@dsl.container_component
def say(word: str):
    return dsl.ContainerSpec(image="any", command=["sh", "-c", 'echo "$0"; [ "$0" != no ]', word])


@dsl.pipeline(name="saying", pipeline_root=ROOT)
def saying(word: str = "yes"):
    say(word=word)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> str:
    compiler.Compiler().compile(saying, str(tmp_path / "saying.yaml"))
    return "saying.yaml"


@pytest.mark.skipif(isolation.namespaces() is None, reason="needs namespaces")
def test_it_ends_with_a_table_and_an_exit_code(flywheel: Flywheel, file: str) -> None:
    done = flywheel("rehearse", file)
    assert "succeeded" in done.stderr and "say" in done.stderr
    assert "tasks ran in this Python, not in their images" in done.stderr
    failed = flywheel.json("rehearse", file, "--parameter", "word=no", check=1)
    assert failed["state"] == "failed"
    [reason] = failed["reasons"]
    assert reason["code"] == "TASK_FAILED" and "exit code 1" in reason["message"]
    log = pathlib.Path(failed["log"]) / "say" / "attempt-1" / "log.txt"
    assert log.read_text("utf-8") == "no\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["absent.yaml"], "NO_SUCH_SPEC"),
        (["saying.yaml", "--root", "/tmp/x"], "PIPELINE_ROOT"),
        (["saying.yaml", "-p", "word"], "WRONG_PARAMETER"),
        (["saying.yaml", "--backend", "argo"], "UNKNOWN_BACKEND"),
        (["saying.yaml", "--image", "x"], "IMAGE_UNUSED"),
    ],
)
def test_mistakes_are_said_in_one_paragraph(
    flywheel: Flywheel, file: str, arguments: list[str], code: str
) -> None:
    done = flywheel("rehearse", *arguments, check=2)
    assert code in done.stderr
    assert "Traceback" not in done.stderr
