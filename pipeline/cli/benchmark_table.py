"""The table of `flywheel benchmark`."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from models.benchmark.machine import Machine
from models.benchmark.ratio import Ratio
from models.benchmark.result import HERE, Row
from pipeline.cli.output import out

_VERDICTS = {
    "smaller and faster": "green",
    "smaller, as fast": "green",
    "faster here": "green",
    "smaller but slower here": "yellow",
    "larger but faster here": "yellow",
    "no gain": "red",
    "skipped": "red",
}


def show(rows: list[Row], stamp: Machine, settings: dict[str, Any], notes: list[str]) -> None:
    """The table, below what it was measured on, above what must be known to read it."""
    versions = ", ".join(f"{name} {version}" for name, version in stamp.libraries.items())
    out.print(f"[bold]{escape(stamp.cpu)}[/]  {stamp.cores} cores, {' '.join(stamp.flags)}")
    out.print(f"[dim]{stamp.system}, Python {stamp.python}, {versions}, {stamp.date}[/]")
    out.print(
        f"[dim]LiteRT with {settings['threads']} thread{'s' * (settings['threads'] > 1)}, XNNPACK "
        f"{'on' if settings['xnnpack'] else 'off'}; {settings['rounds']} interleaved rounds of "
        f"{settings['runs_per_round']} runs after {settings['warm_ups']} warm-ups[/]"
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("model")
    batch = f"{settings['batch']} rows µs\np50 / p90 / p99"
    single = "1 row µs\np50 / p90 / p99"
    for name in ("bytes", single, batch, "load\nms", "memory\nMB", "× reference\n(95 %)"):
        table.add_column(name, justify="right")
    counted = any(row.instructions is not None for row in rows)
    if counted:
        table.add_column("instr.\nper row", justify="right")
    table.add_column("verdict")
    for row in rows:
        elsewhere = "" if row.device == HERE else f"\n[dim]{escape(row.device)}[/]"
        style = _VERDICTS.get(row.verdict, "dim")
        table.add_row(
            escape(row.name) + elsewhere,
            _number(row.bytes),
            _three(row.latency_us),
            _three(row.batch or {}),
            _number(row.load_ms.get("p50"), 1),
            "–" if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e6:.1f}",
            _ratio(row.ratio),
            *([_number(row.instructions)] if counted else []),
            f"[{style}]{row.verdict or '–'}[/]",
        )
    out.print(table)
    measured = [row for row in rows if row.verdict != "skipped"]
    said: dict[str, list[str]] = {}
    for row in rows:
        of_delegate = (f"delegate in force: {row.delegate}",) if row.device == HERE else ()
        for note in (*(of_delegate if row in measured else ()), *row.notes):
            said.setdefault(note, []).append(row.name)
    for note, names in said.items():
        out.print(f"[dim]{escape(_whose(names, [row.name for row in measured]) + note)}[/]")
    for note in notes:
        out.print(f"[dim]{escape(note)}[/]")


def _whose(names: list[str], measured: list[str]) -> str:
    """Of which files a note speaks: the shorter list, them or the others."""
    named = list(dict.fromkeys(names))
    others = [name for name in dict.fromkeys(measured) if name not in named]
    if not others:
        return ""
    if len(others) < len(named):
        return f"all but {', '.join(others)}: "
    return f"{', '.join(named)}: "


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _three(figures: dict[str, float | None]) -> str:
    values = [figures.get(name) for name in ("p50", "p90", "p99")]
    if not any(value is not None for value in values):
        return "–"
    return " / ".join(_number(value, 1 if value and value < 10 else 0) for value in values)


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return "–"
    if ratio.low is None:
        return f"{ratio.point:.3f} (one round)"
    return f"{ratio.point:.3f} ({ratio.low:.3f}–{ratio.high:.3f})"
