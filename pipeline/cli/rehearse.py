"""`flywheel rehearse`: a compiled pipeline, run on this machine as its backend would."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import DebugOption, JsonOption

if TYPE_CHECKING:
    from rich.table import Table

_INTERRUPTED = 130
_MARKS = {
    "succeeded": "[green]✓[/] succeeded",
    "cached": "[blue]=[/] cached",
    "failed": "[red]✗[/] failed",
    "skipped": "[dim]· skipped[/]",
}


def rehearse(
    file: Annotated[
        pathlib.Path,
        typer.Argument(help="A compiled pipeline: KFP's YAML or Vertex's PipelineJob JSON."),
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="NAME=VALUE of a pipeline parameter; repeatable."),
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Pipeline root instead of the file's: `minio://bucket/…`.")
    ] = None,
    containers: Annotated[
        bool, typer.Option(help="Run each task in its image, with a Docker engine.")
    ] = False,
    image: Annotated[
        str | None, typer.Option(help="With `--containers`: this image for every task.")
    ] = None,
    network: Annotated[
        str, typer.Option(help="With `--containers`: the network of Docker that tasks see.")
    ] = "none",
    backend: Annotated[
        str | None,
        typer.Option(help="`kfp` or `vertex`. Default: Vertex for a PipelineJob, else KFP."),
    ] = None,
    folder: Annotated[
        pathlib.Path, typer.Option(help="Where object store, logs and state are kept.")
    ] = pathlib.Path(".flywheel/rehearsal"),
    code: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Working directory of tasks, in place of the image's. Default: this one.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option(help="Begin anew, even if a rehearsal of this file was interrupted.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run a compiled pipeline here, task by task, exactly as its backend would.

    Every task is a process of its own with its real command line; it sees its inputs only,
    downloaded from an object store, which is a folder here. One that was interrupted goes on
    where it stopped. Exit codes: 0 pushed or succeeded, 1 failed, 2 the backend would refuse the
    file, 3 blocked by data, 4 not blessed, 130 interrupted.
    """
    from models.errors import ConfigError
    from pipeline.cli.live import LiveRun
    from pipeline.cli.output import emit_json, err, finite
    from pipeline.rehearsal import compiled as compiled_module
    from pipeline.rehearsal.backends import BACKENDS
    from pipeline.rehearsal.launcher import Options
    from pipeline.rehearsal.rehearse import rehearse as run

    if backend is not None and backend not in BACKENDS:
        raise ConfigError(
            "UNKNOWN_BACKEND",
            f"`--backend {backend}` is not one of {', '.join(BACKENDS)}.",
        )
    if image and not containers:
        raise ConfigError("IMAGE_UNUSED", "`--image` means nothing without `--containers`.")
    what = compiled_module.load(
        file,
        backend=backend,
        root=root,
        parameters=compiled_module.parse_parameters(parameter or []),
    )
    options = Options(
        containers=containers,
        image=image,
        network=network,
        code=(code or pathlib.Path.cwd()).resolve(),
    )
    with LiveRun() as live:

        def handle(event: dict[str, Any]) -> None:
            if event["event"] == "run":
                _announce(what, event)
            else:
                live.handle(event)

        try:
            result = run(what, folder, options, fresh=fresh, emit=handle)
        except KeyboardInterrupt:
            err.print(f"\nto go on: [bold]flywheel rehearse {file}[/]")
            raise typer.Exit(_INTERRUPTED) from None
    _show(result)
    if as_json:
        emit_json(finite(result))
    raise typer.Exit(exit_code(result))


def exit_code(result: dict[str, Any]) -> int:
    """Of the command, for a rehearsal's result."""
    from pipeline.cli import run

    return 0 if result["state"] == "succeeded" else run.EXIT_CODES.get(result["state"], 1)


def _announce(compiled: Any, event: dict[str, Any]) -> None:
    from pipeline.cli.output import err

    if err.is_terminal:
        how = "going on with" if event["resumed"] else "rehearsal"
        err.print(
            f"[bold]{compiled.name}[/]  [dim]{how} {event['id']} as on {compiled.backend.name}, "
            f"artifacts in {compiled.root}[/]"
        )


def _show(result: dict[str, Any]) -> None:
    """Verdict and tasks, for people."""
    from pipeline.cli import run
    from pipeline.cli.output import err, finite

    run.show_result(finite(result))
    err.print()
    err.print(tasks_table(result["tasks"]))
    err.print(f"\nlogs      {result['log']}", soft_wrap=True)
    for note in result["notes"]:
        err.print(f"[dim]{note}[/]")


def tasks_table(tasks: list[dict[str, Any]]) -> Table:
    """Every task with how it ended."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("task")
    table.add_column("")
    table.add_column("seconds", justify="right")
    table.add_column("attempts", justify="right")
    for task in tasks:
        ran = task["attempts"] > 0
        table.add_row(
            task["task"],
            _MARKS.get(task["state"], task["state"]),
            f"{task['seconds']:.1f}" if ran else "–",
            str(task["attempts"]) if ran else "–",
        )
    return table
