"""`flywheel report`: the run as one HTML file, as Markdown, or as JSON."""

from __future__ import annotations

import pathlib
import sys
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
    markdown: Annotated[
        str | None,
        typer.Option(
            "--markdown",
            metavar="FILE",
            help="Also as Markdown for a pull request; `-` prints it instead of the path.",
        ),
    ] = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the HTML report of a run again: one file that opens offline.

    With `--markdown` also a short one for a pull request; with `--json` the analysis as data.
    """
    from pipeline.cli.output import emit_json, finite, out
    from pipeline.report import markdown as markdown_report
    from pipeline.report.analysis import analysis
    from pipeline.report.champion import intervals
    from pipeline.report.inputs import Inputs
    from pipeline.report.page import write_report

    workspace = workspace_of(config)
    run_id = workspace.resolve(run)
    folder = workspace.run(run_id)
    path = output or folder.report
    write_report(workspace, run_id, path)
    result = {"run_id": run_id, "report": str(path.resolve())}
    if markdown or as_json:
        inputs = Inputs.read(workspace, run_id)
        found = analysis(inputs, intervals(inputs, folder.path))
        if markdown:
            text = markdown_report.render(inputs, found)
            if markdown == "-":
                (sys.stderr if as_json else sys.stdout).write(text)
            else:
                pathlib.Path(markdown).write_text(text, encoding="utf-8")
                result["markdown"] = str(pathlib.Path(markdown).resolve())
        if as_json:
            emit_json(finite({**result, "analysis": found}))
            return
    if markdown != "-":
        out.print(str(path), soft_wrap=True)
