"""`flywheel report`: the run as one HTML file."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.cli.runs import RunArgument, workspace_of
from pipeline.workspace import DEFAULT_FILE


def report(
    run: RunArgument = None,
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", help="Where to write it. Default: the run's folder."),
    ] = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the HTML report of a run again: one file that opens offline."""
    from pipeline.cli.output import emit_json, out
    from pipeline.report.page import write_report

    workspace = workspace_of(config)
    run_id = workspace.resolve(run)
    path = output or workspace.run(run_id).report
    write_report(workspace, run_id, path)
    if as_json:
        emit_json({"run_id": run_id, "report": str(path.resolve())})
        return
    out.print(str(path), soft_wrap=True)
