"""`flywheel monitor`: one look at what the deployed model has been doing."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

if TYPE_CHECKING:
    from monitoring.monitor import Look


def monitor(
    log: Annotated[
        str | None,
        typer.Option(
            help="A prediction log, or rows to bring into it: CSV, Parquet, JSON lines, a "
            "BigQuery export. Default: the log of the config."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labels that have come: `request_id` and `label`, in any such file."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="The version that imported rows are of. Default: deployed.")
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(
            help="Play past rows against themselves and say how often this very config would "
            "cry wolf, and how soon it would see a fault. Nothing is kept."
        ),
    ] = None,
    tfdv: Annotated[
        bool,
        typer.Option(
            "--tfdv",
            help="Also ask TensorFlow Data Validation: schema anomalies, and L-infinity of text. "
            "Takes TensorFlow along.",
        ),
    ] = False,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Close windows, measure, alert, report.

    Reads what is new in the prediction log, joins labels that have come, measures every window
    that is complete, and ends with one paragraph, a table and the path of the report.
    """
    from pipeline import config as config_module
    from pipeline import monitoring_run
    from pipeline.cli.output import emit_json, err, finite

    settings = config_module.load(config)
    if replay is not None:
        result = monitoring_run.replay(settings, replay, as_json=as_json)
        if as_json:
            emit_json(finite(result))
        return
    status = err.status("looking") if err.is_terminal else None
    if status is not None:
        status.start()
    try:
        done = monitoring_run.look(
            settings,
            log=log,
            labels=labels,
            version=version,
            tfdv=tfdv,
            progress=(lambda text: status.update(text)) if status is not None else None,
        )
    finally:
        if status is not None:
            status.stop()
    if as_json:
        emit_json(finite(done.to_dict()))
        return
    _show(done.look, done.paragraph, done.report)


def _show(look: Look, paragraph: str, report: str | None) -> None:
    from rich.markup import escape
    from rich.table import Table

    from pipeline.cli.output import err, out

    rows: list[tuple[Any, ...]] = []
    for result in look.windows[-20:]:
        window = result.window
        # Drift and quality of one feature are two findings in the same words.
        words = list(dict.fromkeys(f.words for f in result.findings))
        more = len(words) - 3
        said = words[:3] + ([f"… {more} more"] if more > 0 else [])
        rows.append(
            (
                window.id.split("/", 1)[1],
                window.state,
                f"{window.rows:,}",
                _metric(result.measures),
                "\n".join(said) or "-",
            )
        )
    if rows:
        table = Table(box=None, pad_edge=False)
        table.add_column("window", no_wrap=True)
        for name, justify in (("state", "left"), ("rows", "right"), ("quality", "left")):
            table.add_column(name, justify=justify)
        table.add_column("found")
        for row in rows:
            table.add_row(*(escape(str(cell)) for cell in row))
        out.print(table)
    err.print()
    err.print(escape(paragraph))
    if report:
        err.print(f"report: {report}")


def _metric(measures: list) -> str:
    """The realised metric that decides between models, else the estimate."""
    by_name = {m.statistic: m for m in measures if not m.slice}
    for name in ("auc", "accuracy", "mae"):
        realised, estimated = by_name.get(name), by_name.get(f"estimated_{name}")
        if realised is not None:
            return f"{name} {realised.value:.3f}"
        if estimated is not None:
            doubt = "?" if estimated.unreliable else ""
            return f"{name} ~{estimated.value:.3f}{doubt}"
    return "-"
