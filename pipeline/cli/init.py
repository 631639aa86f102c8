"""`flywheel init`: from data to a config file."""

from __future__ import annotations

import pathlib
import re
from typing import Annotated, Any

import typer

from pipeline.cli.app import DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

_ROWS = 50_000


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="CSV, Parquet or TFRecord: file, folder or glob; a folder of images with a "
            "sub-folder per class; or `demo:chicago-taxi`, `demo:nyc-flights`, `demo:digits`.",
        ),
    ],
    label: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    output: Annotated[
        pathlib.Path, typer.Option("--output", "-o", help="Config file to write.")
    ] = pathlib.Path(DEFAULT_FILE),
    force: Annotated[bool, typer.Option(help="Overwrite an existing config file.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Look at the data, guess label, task and feature kinds, say why, write the config."""
    from custom_components.example_gen.options import ImageOptions
    from custom_components.example_gen.reader import open_dataset
    from models.errors import ConfigError
    from pipeline import config as config_module
    from pipeline.cli.output import emit_json, out
    from pipeline.demos import DEMOS
    from pipeline.guess import guess, guess_images, look
    from pipeline.starter import starter_config

    if output.exists() and not force:
        raise ConfigError(
            "CONFIG_EXISTS",
            f"`{output}` exists already.",
            next="Overwrite it with `--force`, or write another with `--output FILE`.",
        )
    demo = DEMOS.get(data)
    if demo and label is not None:
        demo = None
    dataset = open_dataset(
        data,
        derived=(demo or {}).get("derive"),
        max_rows=None if demo or pathlib.Path(data).is_dir() else _ROWS,
        image=ImageOptions(),
    )
    label = label or (demo or {}).get("label")
    if dataset.image:
        table = dataset.table(set(dataset.schema.names) - set(dataset.picture_names))
        guessed = guess_images(table, dataset.image, dataset.picture_names[1:], dataset.size, label)
    else:
        table = dataset.table()
        guessed = guess(look(table), label)
    name = (demo or {}).get("name") or _name(data)
    text = starter_config(name, _relative(data, output), guessed, demo, table.num_rows)
    import yaml

    config_module.parse(yaml.safe_load(text), "the config just written")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    kinds = yaml.safe_load(text)["features"]
    result: dict[str, Any] = {
        "config": str(output.resolve()),
        "label": guessed.label,
        "task": guessed.task,
        "features": kinds,
        "rows_looked_at": table.num_rows,
    }
    if as_json:
        emit_json(result)
        return
    by_kind = {
        kind: [n for n, k in kinds.items() if k == kind]
        for kind in ("image", "numeric", "categorical", "ignore")
        if kind != "image" or dataset.image
    }
    why = demo["question"] if demo else guessed.task_why
    out.print(f"label        [bold]{guessed.label}[/]  [dim]{why}[/]")
    out.print(f"task         {guessed.task}")
    for kind, names in by_kind.items():
        shown = ", ".join(names[:12]) + (f" … {len(names) - 12} more" if len(names) > 12 else "")
        out.print(f"{kind:<12} {shown or '–'}")
    out.print(
        f"\nwrote [bold]{output}[/]; read it, change what is wrong, then: [cyan]flywheel run"
        + ("[/]" if str(output) == DEFAULT_FILE else f" --config {output}[/]")
    )


def _name(data: str) -> str:
    stem = pathlib.PurePath(data).name.split(".")[0]
    name = re.sub(r"[^a-zA-Z0-9]+", "-", stem).strip("-")[:63]
    return name or "flywheel"


def _relative(data: str, output: pathlib.Path) -> str:
    """The path as the config file should name it: from its own folder where that is near."""
    if data.startswith("demo:") or "://" in data:
        return data
    path = pathlib.Path(data).expanduser().absolute()
    try:
        return str(path.relative_to(output.absolute().parent))
    except ValueError:
        return str(path)
