"""`flywheel run`: the whole pipeline."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config import Config
    from pipeline.launch import Prepared

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
    force: Annotated[
        bool, typer.Option(help="Run even if nothing changed since the deployed version.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Stay, and run again whenever the config or the data change: at once, since "
            "everything is imported meanwhile (in some 600 MB of memory).",
        ),
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run the pipeline: validate, train, distill, quantize, evaluate, push.

    What did not change since an earlier run is reused, so an interrupted run goes on
    where it stopped; when nothing changed since the run whose version is deployed,
    nothing is done. Exit codes: 0 pushed, 1 failed, 2 config or usage error,
    3 blocked by data, 4 not blessed, 130 interrupted.
    """
    from pipeline.cli.output import emit_json, err
    from pipeline.cli.watch import watch as keep_watching

    def settings() -> Config:
        return _settings(config, data)

    def once(settings: Config, prepared: Prepared | None = None) -> int:
        result, interrupted = _once(settings, prepared, force=force, debug=debug)
        show_result(result)
        if interrupted:
            command = "flywheel run" + (f" -c {config}" if str(config) != DEFAULT_FILE else "")
            command += f" --data {data}" if data is not None else ""
            err.print(f"\nto go on: [bold]{command}[/]")
        if as_json:
            emit_json(result)
        if interrupted:
            raise KeyboardInterrupt
        return exit_code(result)

    try:
        if watch:
            keep_watching(config, settings, once)
        code = once(settings())
    except KeyboardInterrupt:
        code = _INTERRUPTED
    raise typer.Exit(code)


def _settings(file: pathlib.Path, data: str | None) -> Config:
    from pipeline import config as config_module

    config = config_module.load(file)
    if data is None:
        return config
    options = config.data.model_copy(update={"path": data})
    return config_module.with_absolute_paths(
        config.model_copy(update={"data": options}), pathlib.Path.cwd()
    )


def _once(
    config: Config, prepared: Prepared | None, *, force: bool, debug: bool
) -> tuple[dict[str, Any], bool]:
    """The result of one run, and whether Ctrl-C ended it."""
    from models.errors import DataError
    from pipeline.cli.live import LiveRun
    from pipeline.cli.output import err, finite
    from pipeline.launch import Prepared, Worker, refuse
    from pipeline.unchanged import find_same, run_fingerprint

    prepared = prepared or Prepared(config.engine)  # imports while we look at the data
    try:
        _peek(config)
    except DataError as error:
        prepared.close()
        return finite(refuse(config, error)), False
    same = None if force else find_same(config, run_fingerprint(config))
    if same:
        prepared.close()
        return finite({**same, "unchanged": True}), False
    worker = Worker(config, prepared)
    interrupted = False
    if err.is_terminal:
        err.print(
            f"[bold]{config.name}[/]  [dim]run {worker.folder.id}, data {config.data.path}[/]"
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
    if debug and result["state"] == "failed":
        err.print(pathlib.Path(result["log"]).read_text("utf-8")[-8000:], markup=False)
    return result, interrupted


def _peek(settings: Any) -> None:
    """Most mistakes show in the first rows, and are worth knowing before ten seconds of imports."""
    from custom_components.example_gen.files import find_files
    from custom_components.example_gen.reader import open_dataset

    files = find_files(settings.data.path)
    if len(files) > 1 or files[0].format == "tfrecord":
        return  # later files may add columns; TFRecord needs TensorFlow
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


def show_result(result: dict[str, Any], err: Console | None = None) -> None:
    """Verdict, metrics, variants and what to do next, for people."""
    from rich.markup import escape
    from rich.table import Table

    from pipeline.cli import output
    from pipeline.cli.output import STYLES, show_reasons

    err = err or output.err
    state = result["state"]
    if result.get("unchanged"):
        err.print(
            f"[bold green]unchanged[/]  data, config and code are those of run {result['run_id']}, "
            f"whose version {result['pushed']['version']} is deployed"
        )
        err.print(f"report    {result['report']}", soft_wrap=True)
        err.print("    [cyan]→[/] run all the same with `flywheel run --force`")
        return
    err.print()
    err.print(
        f"[bold {STYLES.get(state, '')}]{state.replace('_', ' ')}[/]  run {result['run_id']}"
        + (f"  [dim]{result['seconds']['total']:.1f} s[/]" if result["seconds"]["total"] else "")
    )
    show_reasons([r for r in result["reasons"] if r["severity"] != "info"], err=err)
    if any(r["code"] == "NO_BASELINE" for r in result["reasons"]):
        err.print("[dim]NO_BASELINE  nothing was deployed: no drift and no champion to judge by[/]")
    _show_cache(result.get("cache") or {}, result.get("components") or (), err)
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
        word = "shipped" if state == "pushed" else "chosen"
        err.print(variants_table(result["variants"], word))
        for variant in result["variants"]:
            if variant["state"] != "eligible":
                fate = word if variant["state"] == "shipped" else variant["state"]
                reason = variant["reason"]
                if fate == word and variant.get("verdict") not in (None, "", "reference"):
                    reason += f"; {variant['verdict']} here, against float32"
                err.print(f"[dim]{variant['name']} {fate}: {escape(reason)}[/]")
    pushed = result.get("pushed")
    if pushed:
        note = "" if pushed["new"] else " (the same content was deployed before)"
        err.print(f"\ndeployed  [bold]{pushed['version']}[/]{note}  {pushed['path']}")
    if result.get("report"):
        err.print(f"report    {result['report']}", soft_wrap=True)


def _show_cache(cache: dict[str, dict[str, Any]], order: Iterable[str], err: Console) -> None:
    """What was reused, and each change with the components that ran for it."""
    from rich.markup import escape

    names = [name for name in order if name in cache]
    hits = [name for name in names if cache[name]["cache"] == "hit"]
    changed: dict[str, list[str]] = {}
    for name in names:
        for change in cache[name]["changed"]:
            changed.setdefault(change, []).append(name)
    if hits:
        err.print(f"[blue]HIT[/]   [dim]{', '.join(hits)}[/]")
    for change, ran in changed.items():
        err.print(f"MISS  {escape(change)}  [dim]{', '.join(ran)}[/]")


def variants_table(variants: list[dict[str, Any]], chosen: str) -> Any:
    """Every variant with its size, quality, speed (× of float32's latency) and fate."""
    from rich.table import Table

    marks = {"shipped": f"[green]✓ {chosen}[/]", "rejected": "[red]rejected[/]"}
    table = Table(box=None, pad_edge=False, header_style="dim")
    made = {name for v in variants for name in v["metrics"]}
    metric = next((name for name in ("auc", "r2", "accuracy") if name in made), "quality")
    table.add_column("variant")
    for name in ("bytes", "gzip", f"{metric} (eval)", "loss ≤", "p50 µs", "×"):
        table.add_column(name, justify="right")
    table.add_column("")
    for v in variants:
        made = v["bytes"] is not None
        table.add_row(
            v["name"],
            f"{v['bytes']:,}" if made else "–",
            f"{v['gzip_bytes']:,}" if made else "–",
            _number(v["metrics"].get(metric)),
            _loss(v),
            f"{v['latency_us']['p50']:.0f}" if made else "–",
            _speed(v),
            marks.get(v["state"], v["state"]),
        )
    return table


def _loss(variant: dict[str, Any]) -> str:
    """The most that may be lost against the float student, at 95 %."""
    drop = (variant.get("quality") or {}).get("overall") or {}
    return _number(max(drop["high"], 0.0)) if drop.get("high") is not None else "–"


def _speed(variant: dict[str, Any]) -> str:
    """Latency against the float32 file's."""
    ratio = (variant.get("latency_ratio") or {}).get("point")
    return f"{ratio:.2f}" if ratio else "–"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
