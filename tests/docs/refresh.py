"""Follows a guide and writes into it what really appeared: `python -m tests.docs.refresh FILE`.

Lines are replaced one for one, and names of runs and versions everywhere. What no longer appears
at all stops it, as it fails the test: then it is the words that must be mended first.
"""

from __future__ import annotations

import pathlib
import re
import sys
import tempfile

from tests.docs.fences import Reader, Step, steps


def refreshed(text: str, followed: list[tuple[Step, str]], reader: Reader) -> str:
    """The document with what really appeared.

    Args:
      text: The document.
      followed: Each of its steps with what appeared.
      reader: Who followed them, and knows the names.
    """
    lines = text.splitlines()
    for step, output in followed:
        real = [line.rstrip() for line in output.splitlines()]
        at, place = step.line - 1, 0
        for shown in step.shown:
            at = lines.index(shown, at)
            if shown.strip(" …"):
                pattern = re.compile(reader.pattern(shown))
                for index in range(place, len(real)):
                    if pattern.fullmatch(" ".join(real[index].split())):
                        lines[at], place = real[index], index + 1
                        break
            at += 1
    new = "\n".join(lines) + "\n"
    for shown, name in reader.names.items():
        for length in range(len(shown), 3, -1):
            typed = rf"(?m)(^\$ .*(?<![\w-])){re.escape(shown[:length])}(?![\w-])"
            new = re.sub(typed, rf"\g<1>{name[:length]}", new)
        new = new.replace(shown, name)
    return new


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    text = path.read_text("utf-8")
    name = re.search(r"cd ~/(\w+)\n", text)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder) / (name.group(1) if name else "work")
        work.mkdir()
        reader = Reader(work, work.name)
        followed = []
        for step in steps(text):
            output = reader.follow(step)
            followed.append((step, output))
            sys.stderr.write(f"line {step.line}: {step.code.splitlines()[0]}\n")
        path.write_text(refreshed(text, followed, reader), "utf-8")


if __name__ == "__main__":
    main()
