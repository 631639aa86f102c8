"""The config file `flywheel init` writes: short, commented, ready to run."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipeline.guess import Guess

_PLAIN = re.compile(r"[A-Za-z0-9_./]([A-Za-z0-9_./ ()-]*[A-Za-z0-9_./()-])?")


def starter_config(
    name: str, data: str, guess: Guess, demo: dict[str, Any] | None, rows: int
) -> str:
    """The YAML text.

    Args:
      name: Of the pipeline.
      data: Path as it shall stand in the file.
      guess: What the table seems to be about.
      demo: What is known better, for demo tables.
      rows: Rows looked at.
    """
    demo = demo or {}
    kinds = {
        column: demo.get("kinds", {}).get(column, (kind, guess.why.get(column, "")))
        for column, kind in guess.kinds.items()
    }
    known = "numeric, categorical"
    if guess.size:
        sides = zip(("height", "width", "channels"), guess.size, strict=True)
        image = ", ".join(f"{name}: {value}" for name, value in sides)
        known = f"image, {known}"
    time = demo.get("time", guess.time)
    slices = demo.get("slices", guess.slices)
    lines = [
        "# Written by `flywheel init`; every key is described in docs/configuration.md.",
        "version: 1",
        f"name: {_scalar(name)}",
        "data:",
        f"  path: {_scalar(data)}",
    ]
    if demo.get("derive"):
        lines.append("  derive:")
        lines += [f"    {_scalar(k)}: {_scalar(v)}" for k, v in demo["derive"].items()]
    if guess.size:
        lines.append(f"  image: {{{image}}}  # every image is brought to this size")
    if time:
        lines += [
            f"  split: {{by: time, column: {_scalar(time)}}}"
            "  # oldest rows train, newest test; `by: hash` for a random split"
        ]
    question = demo.get("question") or guess.task_why
    lines += [
        f"task:{_comment(question)}",
        f"  label: {_scalar(guess.label)}",
        f"  type: {guess.task}",
        f"features:  # {known} or ignore; from {rows:,} rows",
    ]
    for column, (kind, why) in kinds.items():
        lines.append(f"  {_scalar(column)}: {kind}{_comment(why)}")
    if guess.size:
        lines += [
            "student: {learning_rate: 0.01}  # normalised convolutions bear it, and learn faster"
        ]
    if slices:
        lines += [
            "evaluation:",
            f"  slices: [{', '.join(f'[{_scalar(s)}]' for s in slices)}]"
            "  # each of their values is judged on its own",
        ]
    return "\n".join(lines) + "\n"


def _scalar(value: str) -> str:
    """A string as YAML, quoted only where it must be."""
    if _PLAIN.fullmatch(value) and yaml.safe_load(f"{{key: {value}}}") == {"key": value}:
        return value
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=10**9).strip()


def _comment(text: str) -> str:
    """Text that stays on its line."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"  # {text[:120]}" if text else ""
