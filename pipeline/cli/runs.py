"""`flywheel runs`: what was run, and how two runs differ."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

app = typer.Typer(help="Past runs: list, show, compare.", invoke_without_command=True)
RunArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="Beginning of a run's id. Default: the newest.")
]


def workspace_of(config: pathlib.Path) -> Any:
    """The workspace a config file names."""
    from pipeline import config as config_module
    from pipeline.workspace import Workspace

    return Workspace(pathlib.Path(config_module.load(config).root))


@app.callback()
def runs(
    context: typer.Context,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Past runs: list (the default), show, compare."""
    if context.invoked_subcommand is None:
        list_runs(config, as_json, debug)


@app.command("list")
def list_runs(
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """All runs, newest first."""
    from rich.table import Table

    from pipeline.cli.output import STYLES, emit_json, finite, out

    rows = all_results(workspace_of(config))
    if as_json:
        emit_json(finite(rows))
        return
    if not rows:
        out.print("No runs yet. Start one: [bold]flywheel run[/]")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "state", "rows", "seconds", "shipped", "version"):
        table.add_column(name, justify="right" if name in ("rows", "seconds") else "left")
    for row in rows:
        state = row["state"]
        shipped = row["metrics"].get("shipped", {})
        metric = next(iter(shipped.items()), None)
        table.add_row(
            row["run_id"],
            f"[{STYLES.get(state, 'default')}]{state}[/]",
            f"{sum(row['rows'].values()):,}" if row["rows"] else "–",
            f"{row['seconds']['total']:.1f}" if row["seconds"].get("total") else "–",
            f"{metric[0]} {metric[1]:.4f}" if metric else "–",
            (row["pushed"] or {}).get("version", "–"),
        )
    out.print(table)


def all_results(workspace: Any) -> list[dict[str, Any]]:
    """The result of every run, newest first; of one that left none, what ML Metadata knows."""
    return [result_of(workspace, run_id) for run_id in workspace.run_ids()]


def result_of(workspace: Any, run_id: str) -> dict[str, Any]:
    """How a run ended."""
    from pipeline.runs import RunStore, end_state, summarize

    result = workspace.run(run_id).read_result()
    if result is None:
        run = RunStore(workspace).load(run_id)
        result = {"state": end_state(run), **summarize(run), "report": None}
        result["seconds"]["total"] = None
    return result


@app.command("show")
def show(
    run: RunArgument = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """One run: components, verdict, variants."""
    from rich.table import Table

    from pipeline.cli.output import emit_json, finite, out
    from pipeline.cli.run import show_result
    from pipeline.runs import RunStore

    workspace = workspace_of(config)
    run_id = workspace.resolve(run)
    result = result_of(workspace, run_id)
    loaded = RunStore(workspace).load(run_id)
    result["artifacts"] = {
        f"{c.name}.{key}": artifact.uri
        for c in loaded.components.values()
        for key, artifact in c.outputs.items()
    }
    if as_json:
        emit_json(finite(result))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("component", "state", "seconds", "outputs"):
        table.add_column(name)
    for component in loaded.components.values():
        table.add_row(
            component.name,
            component.state,
            f"{component.seconds:.1f}",
            "\n".join(f"{key}  [dim]{a.uri}[/]" for key, a in component.outputs.items()),
        )
    out.print(table)
    show_result(finite(result), out)


@app.command("compare")
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Beginning of a run's id.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Beginning of another's.")],
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """What differs between two runs: config, rows, metrics, variants."""
    from rich.table import Table

    from pipeline.cli.output import emit_json, finite, out

    workspace = workspace_of(config)
    ids = [workspace.resolve(a), workspace.resolve(b)]
    difference = differences(workspace, *ids)
    if as_json:
        emit_json(finite({"runs": ids, "differences": difference}))
        return
    if not difference:
        out.print("The two runs do not differ.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("what", *ids, ""):
        table.add_column(name)
    for row in difference:
        change = ""
        if isinstance(row["a"], (int, float)) and isinstance(row["b"], (int, float)):
            change = f"{row['b'] - row['a']:+.4g}"
        table.add_row(row["key"], _text(row["a"]), _text(row["b"]), change)
    out.print(table)


def differences(workspace: Any, a: str, b: str) -> list[dict[str, Any]]:
    """Every setting and figure in which two runs differ: `key`, `a`, `b`."""
    import yaml

    sides = []
    for run_id in (a, b):
        result = result_of(workspace, run_id)
        config = yaml.safe_load(workspace.run(run_id).config.read_text("utf-8"))
        sides.append(
            _flat("config", config)
            | _flat("rows", result["rows"])
            | _flat("metrics", result["metrics"])
            | {
                f"variants.{v['name']}.{key}": v[key]
                for v in result["variants"]
                for key in ("bytes", "state")
            }
            | {"state": result["state"], "version": (result["pushed"] or {}).get("version")}
        )
    keys = dict.fromkeys([*sides[0], *sides[1]])
    return [
        {"key": key, "a": sides[0].get(key), "b": sides[1].get(key)}
        for key in keys
        if sides[0].get(key) != sides[1].get(key)
    ]


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        flat: dict[str, Any] = {}
        for key, item in value.items():
            flat |= _flat(f"{prefix}.{key}", item)
        return flat
    return {prefix: value}


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "–" if value is None else str(value)
