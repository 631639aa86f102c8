"""The pip of a task without container: installs nothing, and says what is missing."""

from __future__ import annotations

import importlib.metadata

import pytest

from pipeline.rehearsal import pip_stand_in

PYYAML = importlib.metadata.version("pyyaml")


@pytest.mark.parametrize(
    "words",
    [
        ["--quiet", "--no-warn-script-location", "kfp==2.0.1", "--no-deps"],
        [f"pyyaml=={PYYAML}", "pyyaml>=1"],
        ["--index-url", "https://example.org/simple", "--trusted-host", "example.org", "pyyaml"],
        ['no-such-package; python_version < "3"'],
    ],
)
def test_what_is_there_is_enough(words: list[str]) -> None:
    assert pip_stand_in.missing(words) == []
    assert pip_stand_in.main(["install", *words]) == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["no-such-package-here"], "is not installed"),
        (["pyyaml==0.1"], f"{PYYAML} is installed"),
        (["-r", "requirements.txt"], "files and folders are not looked into"),
        (["git+https://example.org/x"], "not a requirement by name"),
    ],
)
def test_what_is_missing_is_said(words: list[str], problem: str, capsys) -> None:
    assert pip_stand_in.main(["install", *words]) == 1
    assert problem in capsys.readouterr().err


def test_other_commands_do_nothing() -> None:
    assert pip_stand_in.main(["--version"]) == 0
    assert pip_stand_in.main(["uninstall", "pyyaml"]) == 1
