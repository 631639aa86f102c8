"""`flywheel models`: deployed versions."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

app = typer.Typer(
    help="Deployed versions: list, show, roll back, verify.", invoke_without_command=True
)
VersionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION", help="Beginning of a version's name. Default: the deployed one."
    ),
]


def registry_of(config: pathlib.Path) -> Any:
    """The registry a config file names."""
    from models.registry import Registry
    from pipeline import config as config_module

    return Registry(config_module.load(config).deploy.path)


@app.callback()
def models(
    context: typer.Context,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Deployed versions: list (the default), show, rollback, verify."""
    if context.invoked_subcommand is None:
        list_models(config, as_json, debug)


@app.command("list")
def list_models(
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """All versions, newest first; the deployed one is marked."""
    from rich.table import Table

    from pipeline.cli.output import emit_json, finite, out

    versions = registry_of(config).versions()
    if as_json:
        emit_json(finite([dataclasses.asdict(v) for v in versions]))
        return
    if not versions:
        out.print("Nothing is deployed yet. Train and push a model: [bold]flywheel run[/]")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "version", "created", "bytes", "quality on test", "run"):
        table.add_column(name)
    for v in versions:
        metric = next(iter(v.metrics.items()), None)
        table.add_row(
            "[green]●[/]" if v.current else "",
            v.name,
            v.created,
            f"{v.bytes:,}",
            f"{metric[0]} {metric[1]:.4f}" if metric else "–",
            v.run_id,
        )
    out.print(table)


@app.command("show")
def show(
    version: VersionArgument = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """One version: where it came from, its files, what it takes and answers."""
    from models.spec import ModelSpec
    from pipeline.cli.output import emit_json, finite, out

    registry = registry_of(config)
    name = registry.resolve(version)
    manifest = registry.manifest(name)
    spec = ModelSpec.load(registry.folder(name))
    result = {
        **manifest,
        "path": str(registry.folder(name)),
        "deployed": registry.current() == name,
        "task": spec.task,
        "label": spec.label,
        "classes": list(spec.classes),
        "inputs": {
            **{
                spec.tensors[f.name]: "string" if getattr(f, "dtype", "") == "string" else "float32"
                for f in (*spec.numeric, *spec.categorical)
            },
            **({spec.tensors[spec.image.name]: spec.image.words} if spec.image else {}),
        },
        "output": spec.output,
        "history": [entry for entry in registry.history() if entry["to"] == name],
    }
    if as_json:
        emit_json(finite(result))
        return
    out.print(f"[bold]{name}[/]{'  [green]deployed[/]' if result['deployed'] else ''}")
    for key in ("path", "created", "run_id", "data_fingerprint", "task", "label", "output"):
        out.print(f"  {key:<17} {result[key]}", soft_wrap=True)
    if spec.classes:
        out.print(f"  {'classes':<17} {', '.join(spec.classes)}")
    for title in ("metrics", "inputs"):
        facts = ", ".join(
            f"{k} {v:.4f}" if isinstance(v, float) else f"{k} ({v})"
            for k, v in result[title].items()
        )
        out.print(f"  {title:<17} {facts}")
    for file, entry in manifest["files"].items():
        out.print(f"  {file:<42} {entry['bytes']:>9,} B  [dim]{entry['sha256'][:16]}…[/]")


@app.command("rollback")
def rollback(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="Beginning of the version's name.")
    ],
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Deploy an earlier version again, after checking its files and golden requests."""
    from pipeline.cli.output import emit_json, out

    registry = registry_of(config)
    name = registry.resolve(version)
    before = registry.rollback(name)
    if as_json:
        emit_json({"version": name, "previous": before})
        return
    if before == name:
        out.print(f"{name} was deployed already; its files and answers are right.")
    else:
        out.print(f"deployed [bold]{name}[/], was {before}")


@app.command("verify")
def verify(
    version: VersionArgument = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Check every file's SHA-256 and that golden requests get the recorded answers."""
    from pipeline.cli.output import emit_json, out

    checked = registry_of(config).verify(version)
    if as_json:
        emit_json(checked)
        return
    out.print(
        f"[green]✓[/] {checked['version']}: {checked['files']} files unchanged, "
        f"{checked['requests']} golden requests answered as recorded "
        f"(largest difference {checked['largest_difference']:.1e})"
    )
