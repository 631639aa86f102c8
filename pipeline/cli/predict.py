"""`flywheel predict`: batch prediction with the deployed model."""

from __future__ import annotations

import pathlib
import secrets
import time
from typing import Annotated

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE


def predict(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Rows or images: as `data.path`.")],
    output: Annotated[
        pathlib.Path,
        typer.Option("--output", "-o", help="Where to write: `.csv` or `.parquet`."),
    ] = pathlib.Path("predictions.csv"),
    version: Annotated[
        str | None, typer.Option(help="Predict with this version. Default: the deployed one.")
    ] = None,
    log: Annotated[
        bool | None,
        typer.Option(
            "--log/--no-log",
            help="Write to the prediction log. Default: the config's `monitoring.log_predictions`.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Predict every row of a table with the deployed TFLite model.

    The output holds the input's rows and columns in their order, then `prediction` (the
    label), and `probability` of the positive class or `probability_CLASS` of each. What was
    predicted goes into the prediction log as well, for `flywheel monitor`; a column `request_id`
    or `id` is what labels join it by later.
    """
    import os

    from custom_components.example_gen.reader import open_dataset
    from models.errors import ConfigError
    from models.predictor import Predictor
    from models.registry import Registry
    from pipeline import config as config_module
    from pipeline.cli.output import emit_json, err
    from pipeline.predictions import (
        PredictionWriter,
        add_predictions,
        log_predictions,
        read_as,
    )

    if output.suffix not in (".csv", ".parquet"):
        raise ConfigError(
            "UNKNOWN_FORMAT",
            f"`--output {output}` ends in `{output.suffix}`; predictions are written as CSV or "
            "Parquet.",
            next="Name a file that ends in .csv or .parquet.",
        )
    settings = config_module.load(config)
    registry = Registry(settings.deploy.path)
    name = registry.resolve(version)
    start = time.perf_counter()
    predictor = Predictor.load(registry.folder(name), threads=os.cpu_count() or 1)
    dataset = open_dataset(file, kinds=read_as(predictor.spec))
    rows = 0
    logged = settings.monitoring.log_predictions if log is None else log
    token = secrets.token_hex(6)
    with PredictionWriter(output) as writer:
        for number, batch in enumerate(dataset.batches()):
            answers = predictor.predict(batch)
            writer.write(add_predictions(predictor, batch, answers))
            if logged:
                key = f"predict-{token}-{number}"
                log_predictions(settings.monitoring.log, predictor.spec, name, batch, answers, key)
            rows += batch.num_rows
    seconds = time.perf_counter() - start
    result = {
        "version": name,
        "rows": rows,
        "output": str(output.resolve()),
        "seconds": round(seconds, 3),
        "log": settings.monitoring.log if logged else None,
    }
    if as_json:
        emit_json(result)
        return
    err.print(f"{rows:,} rows predicted with {name} in {seconds:.2f} s → {output}")
