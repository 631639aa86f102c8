"""docs/guide.md is followed to the letter."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.docs.fences import Reader, Step, steps
from tests.docs.refresh import refreshed

GUIDE = ROOT / "docs" / "guide.md"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_guide_works_as_written(tmp_path):
    folder = tmp_path / "churn"
    folder.mkdir()
    reader = Reader(folder, "churn")
    for step in steps(GUIDE.read_text("utf-8")):
        reader.follow(step)


def test_the_guide_tells_of_every_command():
    text = GUIDE.read_text("utf-8")
    from pipeline.cli import commands
    from pipeline.cli.app import app

    assert commands
    names = [command.name for command in app.registered_commands]
    names += [group.name for group in app.registered_groups]
    assert {name for name in names if f"flywheel {name}" not in text} == set()


class TestFences:
    def test_commands_output_and_exit_codes(self):
        typed, checked, program = steps(
            "Words.\n```console\n$ one\nout\n$ two\n$ echo $?\n4\n```\n"
            "```python\nprint(1)\n```\n\n```text\n1\n```\n"
        )
        assert (typed.code, typed.shown, typed.exit_code, typed.line) == ("one", ["out"], 0, 3)
        assert (checked.code, checked.exit_code) == ("two", 4)
        assert (program.program, program.code, program.shown) == ("python", "print(1)\n", ["1"])

    def test_text_after_words_is_not_output(self):
        (program,) = steps("```python\nprint(1)\n```\nso:\n```text\n2\n```\n")
        assert program.shown == []

    def test_numbers_may_differ_and_names_are_learned(self, tmp_path):
        reader = Reader(_folder(tmp_path), "x")
        reader.follow(
            Step(1, "sh", "echo 'auc   0.91 v 1a2b3c4d5e6f'", ["auc 0.93 v aaaaaaaaaaa1"])
        )
        assert reader.names == {"aaaaaaaaaaa1": "1a2b3c4d5e6f"}
        assert reader.follow(Step(2, "sh", "echo show aaaaa", ["show"])) == "show 1a2b3\n"

    def test_another_name_for_the_same_is_an_error(self, tmp_path):
        reader = Reader(_folder(tmp_path), "x")
        reader.names["aaaaaaaaaaa1"] = "bbbbbbbbbbb1"
        with pytest.raises(AssertionError):
            reader.follow(Step(1, "sh", "echo 1a2b3c4d5e6f", ["aaaaaaaaaaa1"]))

    @pytest.mark.parametrize(
        ("code", "shown", "exit_code"),
        [("echo one", ["two"], 0), ("echo a; echo b", ["b", "a"], 0), ("false", [], 0),
         ("true", [], 4)],
    )  # fmt: skip
    def test_what_is_not_so_is_an_error(self, tmp_path, code, shown, exit_code):
        with pytest.raises(AssertionError):
            Reader(_folder(tmp_path), "x").follow(Step(1, "sh", code, shown, exit_code))

    def test_folders_are_shown_as_the_documents(self, tmp_path):
        Reader(_folder(tmp_path), "x").follow(Step(1, "sh", "pwd", ["/home/you/x"]))

    def test_refreshing_puts_real_lines_and_names(self, tmp_path):
        text = "```console\n$ echo 'auc 0.91 v 1a2b3c4d5e6f'\nauc 0.5 v aaaaaaaaaaa1\n…\n"
        text += "$ echo aaaaaaaa\n```\nVersion aaaaaaaaaaa1.\n"
        reader = Reader(_folder(tmp_path), "x")
        followed = [(step, reader.follow(step)) for step in steps(text)]
        new = refreshed(text, followed, reader)
        assert "\nauc 0.91 v 1a2b3c4d5e6f\n…\n$ echo 1a2b3c4d\n" in new
        assert new.endswith("Version 1a2b3c4d5e6f.\n")


def _folder(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    return folder
