"""`flywheel run`: the whole pipeline."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

EXIT_CODES = {"pushed": 0, "failed": 1, "blocked_by_data": 3, "not_blessed": 4}
_INTERRUPTED = 130
_PEEK_ROWS = 1000
SHOWN_METRICS = ("auc", "pr_auc", "accuracy", "log_loss", "mae", "rmse", "r2")


def run(
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    data: Annotated[
        str | None,
        typer.Option(help="Use this data instead of the config's `data.path`."),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run the pipeline: validate, train, distill, quantize, evaluate, push.

    What did not change since an earlier run is reused, so an interrupted run goes on
    where it stopped. Exit codes: 0 pushed, 1 failed, 2 config or usage error,
    3 blocked by data, 4 not blessed, 130 interrupted.
    """
    from pipeline import config as config_module
    from pipeline.cli.live import LiveRun
    from pipeline.cli.output import emit_json, err, finite
    from pipeline.launch import Worker

    settings = config_module.load(config)
    if data is not None:
        data_options = settings.data.model_copy(update={"path": data})
        settings = config_module.with_absolute_paths(
            settings.model_copy(update={"data": data_options}), pathlib.Path.cwd()
        )
    _peek(settings)
    worker = Worker(settings)
    interrupted = False
    if err.is_terminal:
        err.print(
            f"[bold]{settings.name}[/]  [dim]run {worker.folder.id}, data {settings.data.path}[/]"
        )
    with LiveRun() as live:
        try:
            for event in worker.events():
                live.handle(event)
        except KeyboardInterrupt:
            interrupted = True
            err.print("stopping …")
            worker.stop()
    result = finite(worker.result())
    show_result(result)
    if debug and result["state"] == "failed":
        err.print(pathlib.Path(result["log"]).read_text("utf-8")[-8000:], markup=False)
    if interrupted:
        command = "flywheel run" + (f" --config {config}" if str(config) != DEFAULT_FILE else "")
        err.print(f"\nto go on: [bold]{command}[/]")
    if as_json:
        emit_json(result)
    raise typer.Exit(_INTERRUPTED if interrupted else exit_code(result))


def _peek(settings: Any) -> None:
    """Most mistakes show in the first rows, and are worth knowing before ten seconds of imports."""
    from custom_components.example_gen.files import find_files
    from custom_components.example_gen.reader import open_dataset

    if any(file.format == "tfrecord" for file in find_files(settings.data.path)):
        return  # reading those needs TensorFlow
    open_dataset(
        settings.data.path,
        kinds={**settings.features, settings.task.label: "label"},
        derived=settings.data.derive,
        max_rows=_PEEK_ROWS,
    )


def exit_code(result: dict[str, Any]) -> int:
    """Of the command, for a run's result."""
    config_codes = {"NO_SUCH_FILE", "NO_SUCH_DEMO", "DEMO_NOT_INSTALLED"}
    if any(r["code"] in config_codes and r["severity"] == "block" for r in result["reasons"]):
        return 2
    return EXIT_CODES.get(result["state"], 1)


def show_result(result: dict[str, Any]) -> None:
    """Verdict, metrics, variants and what to do next, for people."""
    from rich.markup import escape
    from rich.table import Table

    from pipeline.cli.output import STYLES, err, show_reasons

    state = result["state"]
    err.print()
    err.print(
        f"[bold {STYLES.get(state, '')}]{state.replace('_', ' ')}[/]  run {result['run_id']}"
        + (f"  [dim]{result['seconds']['total']:.1f} s[/]" if result["seconds"]["total"] else "")
    )
    show_reasons([r for r in result["reasons"] if r["severity"] != "info"])
    metrics = result.get("metrics") or {}
    if metrics:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("on test")
        names = [n for n in SHOWN_METRICS if any(n in values for values in metrics.values())]
        for name in names:
            table.add_column(name, justify="right")
        for model, values in metrics.items():
            table.add_row(model, *(_number(values.get(name)) for name in names))
        err.print()
        err.print(table)
    if result.get("variants"):
        err.print()
        err.print(variants_table(result["variants"]))
        for variant in result["variants"]:
            if variant["state"] != "eligible":
                err.print(
                    f"[dim]{variant['name']} {variant['state']}: {escape(variant['reason'])}[/]"
                )
    pushed = result.get("pushed")
    if pushed:
        note = "" if pushed["new"] else " (the same content was deployed before)"
        err.print(f"\ndeployed  [bold]{pushed['version']}[/]{note}  {pushed['path']}")
    if result.get("report"):
        err.print(f"report    {result['report']}", soft_wrap=True)


def variants_table(variants: list[dict[str, Any]]) -> Any:
    """Every variant with its size, quality, speed and fate."""
    from rich.table import Table

    marks = {"shipped": "[green]✓ shipped[/]", "rejected": "[red]rejected[/]"}
    table = Table(box=None, pad_edge=False, header_style="dim")
    made = {name for v in variants for name in v["metrics"]}
    metric = next((name for name in ("auc", "r2", "accuracy") if name in made), "quality")
    table.add_column("variant")
    for name in ("bytes", "gzip", f"{metric} (eval)", "p50 µs", "rows/s"):
        table.add_column(name, justify="right")
    table.add_column("")
    for v in variants:
        made = v["bytes"] is not None
        table.add_row(
            v["name"],
            f"{v['bytes']:,}" if made else "–",
            f"{v['gzip_bytes']:,}" if made else "–",
            _number(v["metrics"].get(metric)),
            f"{v['latency_us']['p50']:.0f}" if made else "–",
            f"{v['rows_per_s']:,.0f}" if made else "–",
            marks.get(v["state"], v["state"]),
        )
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
