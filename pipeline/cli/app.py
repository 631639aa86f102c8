"""`flywheel`: every command, and how errors end."""

from __future__ import annotations

import os
import pathlib
import sys
from typing import Annotated

import typer

from pipeline.workspace import DEFAULT_FILE

app = typer.Typer(
    name="flywheel",
    help="Turn a table of data into a small TFLite model in production, and keep it true.\n\n"
    "Start with [bold]flywheel init DATA[/], then [bold]flywheel run[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    pathlib.Path,
    typer.Option("--config", "-c", help="The config file.", show_default=DEFAULT_FILE),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="End with the result as one JSON object on stdout.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")]


def main() -> None:
    """Entry point: errors become one paragraph and an exit code."""
    from models.errors import FlywheelError

    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    from pipeline.cli import commands  # noqa: F401  (registers them)

    arguments = sys.argv[1:]
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        app(prog_name="flywheel")
    except FlywheelError as error:
        from pipeline.cli.output import show_error

        show_error(error, as_json=as_json, debug=debug)
        sys.exit(error.exit_code)
