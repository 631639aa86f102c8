"""Reads a guide and does what it says, in order, in one folder.

```console   lines that start with `$ ` are typed into sh; the lines below one are what it shows.
             `$ echo $?` below a command says its exit code; without it the code must be 0.
```python    is run as a program of its own; a ```text fence right after it is what it prints.

What is shown must occur in what really appears, line by line in this order, whatever the line
breaks. Numbers and times may differ, and so may the fate of a variant; names of runs and
versions may differ too, but one name shown must always stand for one and the same real name, also
where a command types it (or its first four characters or more). A line of `…` stands for anything.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

from tests.conftest import ROOT

HOME = "/home/you"
COLUMNS = 100
_RUN = r"\d{8}-\d{6}-[0-9a-f]{4}"
_VERSION = r"(?<![0-9a-zA-Z])(?=[0-9a-f]*\d)[0-9a-f]{12}(?![0-9a-zA-Z.…])"
_NAMES = re.compile(f"{_RUN}|{_VERSION}")
_VERDICT = (
    "smaller and faster|smaller, as fast|smaller but slower here|larger but faster here|"
    "faster here|no gain"
)
_LOSS = r"(?:loses|gains) (?:nothing|\d[\d.]*)(?: \([^)]* rows\))?"
#: What may differ from machine to machine: as it is shown, and what it may really be.
_LOOSE = (
    (re.compile(_VERDICT), f"(?:{_VERDICT})"),
    (re.compile(_LOSS), _LOSS),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00"), r"\S+"),
    (re.compile(r"[0-9a-f]{16}…|\b[0-9a-f]{32}\b"), r"\S+"),
    (re.compile(r"✓ shipped|eligible|rejected"), r"(?:✓ shipped|eligible|rejected)"),
    (re.compile(r"\b(?:loses|gains)\b"), r"(?:loses|gains)"),
    (re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?"), r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?"),
)


@dataclasses.dataclass
class Step:
    """One thing to do.

    Attributes:
      line: Where it stands in the document.
      program: `sh` or `python`.
      code: What to run.
      shown: What the document shows.
      exit_code: What it must end with.
    """

    line: int
    program: str
    code: str
    shown: list[str] = dataclasses.field(default_factory=list)
    exit_code: int = 0


def steps(text: str) -> list[Step]:
    """Everything a document tells its reader to do."""
    found: list[Step] = []
    language, start, block, last = "", 0, [], ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("```"):
            if language:
                block.append(line)
            elif line.strip():
                last = ""
        elif language:
            if language == "console":
                found += _typed(block, start)
            elif language == "python":
                found.append(Step(start, "python", "\n".join(block) + "\n"))
            elif language == "text" and last == "python":
                found[-1].shown = block
            last, language = language, ""
        else:
            language, start, block = line.removeprefix("```").strip() or "text", number + 1, []
    return found


def _typed(block: list[str], start: int) -> list[Step]:
    found: list[Step] = []
    for number, line in enumerate(block, start):
        if line == "$ echo $?":
            found.append(Step(number, "echo", ""))
        elif line.startswith("$ "):
            found.append(Step(number, "sh", line.removeprefix("$ ")))
        else:
            assert found, f"line {number}: output before any command"
            found[-1].shown.append(line)
    kept: list[Step] = []
    for step in found:
        if step.program == "echo":
            kept[-1].exit_code = int(step.shown[0])
        else:
            kept.append(step)
    return kept


class Reader:
    """Someone who follows a document to the letter.

    Args:
      folder: Empty; stands for the folder the document works in.
      shown_as: What the document calls it.
    """

    def __init__(self, folder: pathlib.Path, shown_as: str):
        self.folder = folder
        self.shown_as = f"{HOME}/{shown_as}"
        self.names: dict[str, str] = {}
        tools = folder.parent / "tools"
        tools.mkdir()
        for name, command in (("flywheel", f"{sys.executable} -W ignore -m pipeline"),
                              ("python", sys.executable)):  # fmt: skip
            (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (tools / name).chmod(0o755)
        paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
        self._environment = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONWARNINGS": "ignore",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "COLUMNS": str(COLUMNS),
        }

    def follow(self, step: Step) -> str:
        """Does one step and returns what appeared.

        Raises:
          AssertionError: It ends otherwise than the document says, or shows something else.
        """
        code = self._real(step.code)
        program = ["sh", "-c", code]
        if step.program == "python":
            path = self.folder.parent / f"line_{step.line}.py"
            path.write_text(code)
            program = [sys.executable, str(path)]
        done = subprocess.run(
            program,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if step.program == "sh" else subprocess.PIPE,
            text=True,
            timeout=900,
            check=False,
        )
        output = done.stdout.replace(str(self.folder), self.shown_as)
        assert done.returncode == step.exit_code, (
            f"line {step.line}: `{code}` ended with {done.returncode}, not {step.exit_code}:\n"
            f"{output}\n{done.stderr or ''}"
        )
        self._compare(step, output)
        return output

    def _compare(self, step: Step, output: str) -> None:
        real, place = " ".join(output.split()), 0
        for line in step.shown:
            if not line.strip(" …"):
                continue
            match = re.compile(self.pattern(line)).search(real, place)
            assert match, (
                f"line {step.line}: after `{step.code.strip().splitlines()[0]}` the document "
                f"shows\n  {line}\nand this appeared:\n{output}"
            )
            place = match.end()
            for shown, name in zip(_NAMES.findall(line), match.groups(), strict=True):
                assert self.names.setdefault(shown, name) == name, f"{shown} is {name} here"

    def pattern(self, line: str) -> str:
        """A regular expression for a shown line; one group per run or version."""
        text, pattern = " ".join(line.split()), ""
        while text:
            matches = [(m.start(), -m.end(), f"({_NAMES.pattern})", m)
                       for m in (_NAMES.search(text),) if m]  # fmt: skip
            for shape, loose in _LOOSE:
                match = shape.search(text)
                if match:
                    matches.append((match.start(), -match.end(), loose, match))
            if not matches:
                return pattern + re.escape(text)
            _, _, loose, match = min(matches, key=lambda found: found[:2])
            pattern += re.escape(text[: match.start()]) + loose
            text = text[match.end() :]
        return pattern

    def _real(self, code: str) -> str:
        """Code with the real names of runs and versions."""
        for shown, name in self.names.items():
            for length in range(len(shown), 3, -1):
                code = re.sub(
                    rf"(?<![\w-]){re.escape(shown[:length])}(?![\w-])", name[:length], code
                )
        return code
