"""How commands speak: people read stderr and stdout, programs read one JSON object.

With `--json` the last line on stdout is the result; everything else goes to
stderr. An error is one paragraph with its remedy and, for programs, the same
reasons as any verdict.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from models.errors import ConfigError, FlywheelError

#: Wide enough that nothing a program reads is wrapped or cut.
_NO_TERMINAL = 1000


def console(stderr: bool) -> Console:
    """A console that wraps for people only."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _NO_TERMINAL
    return Console(stderr=stderr, highlight=False, emoji=False, width=width)


out, err = console(stderr=False), console(stderr=True)

STYLES = {"pushed": "green", "not_blessed": "yellow", "blocked_by_data": "yellow", "failed": "red"}


def emit_json(result: Any) -> None:
    """The result as one line on stdout."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()


def finite(value: Any) -> Any:
    """The same structure with NaN and infinities as None: JSON has no word for them."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def show_error(error: FlywheelError, *, as_json: bool, debug: bool) -> None:
    """Says what went wrong; the exit code is the error's own."""
    if debug:
        traceback.print_exception(error)
    reasons = [r.to_dict() for r in getattr(error, "reasons", (error.reason,))]
    err.print()
    title = "error" if isinstance(error, ConfigError) else error.state.replace("_", " ")
    show_reasons(reasons, title=title, style=STYLES[error.state])
    if as_json:
        emit_json(finite({"state": error.state, "reasons": reasons}))


def show_reasons(
    reasons: list[dict[str, Any]], *, title: str = "", style: str = "", err: Console = err
) -> None:
    """Reason by reason: code, sentence, cases, next step."""
    if title:
        err.print(Text(title, style=f"bold {style}"))
    for reason in reasons:
        mark = {"block": "[red]✗[/]", "warn": "[yellow]![/]"}.get(reason["severity"], "[dim]i[/]")
        err.print(f"{mark} [bold]{escape(reason['code'])}[/]  {escape(reason['message'])}")
        # A warning's cases are in the report; what stopped the run is worth the lines.
        shown = reason["cases"][:5] if reason["severity"] == "block" else []
        for case in shown:
            facts = ", ".join(f"{k}={v}" for k, v in case.items())
            err.print(Padding(Text(facts, style="dim"), (0, 0, 0, 4)))
        if shown and len(reason["cases"]) > len(shown):
            err.print(f"    [dim]… {len(reason['cases']) - len(shown)} more in the report[/]")
        if reason["next"]:
            err.print(f"    [cyan]→[/] {escape(reason['next'])}")
