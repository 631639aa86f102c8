"""`flywheel benchmark`: how small, fast and frugal TFLite files are, here and on phones."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

if TYPE_CHECKING:
    from models.benchmark.result import Row
    from models.benchmark.workload import Workload
    from models.spec import ModelSpec

#: Of files whose rows are read from a table: enough to go through different ones.
_MOST_ROWS = 4096
_SEED = 0


def benchmark(
    models: Annotated[
        list[pathlib.Path] | None,
        typer.Argument(
            metavar="MODEL",
            help="TFLite files of any origin, folders of deployed versions or of variants. "
            "Default: the variants of the newest run.",
        ),
    ] = None,
    against: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE", help="Compare with this file. Default: `float32`, else the first."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Rows to measure with, for Flywheel's own models. Default: made from the "
            "model's contract, or from the shapes and types of its inputs.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Interpreter threads.")] = 1,
    rounds: Annotated[
        int, typer.Option(min=1, help="Interleaved rounds, each with fresh interpreters.")
    ] = 10,
    runs: Annotated[
        int, typer.Option(min=1, help="Timed calls per file, round and batch size.")
    ] = 20,
    batch: Annotated[int, typer.Option(min=1, help="Rows per call of the second figure.")] = 256,
    xnnpack: Annotated[
        bool, typer.Option(help="Whether LiteRT may use XNNPACK, as it does when serving.")
    ] = True,
    android: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="SCRIPT", help="Measure nothing: write the adb commands for a phone here."
        ),
    ] = None,
    import_results: Annotated[
        list[pathlib.Path] | None,
        typer.Option(
            metavar="FILE", help="Add what the commands printed on a phone. May be repeated."
        ),
    ] = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure TFLite files: size, latency, load time, memory, and the verdict against one.

    Files take turns in interleaved rounds, so that a busy moment hits all of them. The ratio
    comes with its 95 % interval, and the interval decides: a file is called faster only when
    all of it lies below 1.

    [bold]flywheel benchmark[/]  all variants of the newest run against float32

    [bold]flywheel benchmark mine.tflite --against theirs.tflite[/]  any two files

    [bold]flywheel benchmark --android phone.sh[/], then [bold]sh phone.sh > phone.txt[/], then
    [bold]flywheel benchmark --import-results phone.txt[/]  the same on a phone
    """
    from models.benchmark import machine, result, timing
    from models.benchmark.files import find, names
    from models.errors import ConfigError
    from pipeline.cli.benchmark_table import show
    from pipeline.cli.output import emit_json, err, finite

    asked = [path for model in models or [] for path in find(model)]
    if not asked and (config.exists() or not import_results):
        asked = _newest_variants(config)
    other = find(against) if against else []
    if len(other) > 1:
        raise ConfigError(
            "SEVERAL_REFERENCES",
            f"`--against {against}` holds {len(other)} files: {', '.join(f.name for f in other)}.",
            next="Name one of them.",
        )
    files = names([*asked, *other])
    reference = _reference(files, other)
    if android:
        _write_script(
            android,
            files,
            as_json,
            again=shlex.join(
                ["flywheel", "benchmark", *map(str, models or []), "--import-results", "phone.txt"]
            ),
            threads=threads,
            xnnpack=xnnpack,
            rounds=max(5, rounds // 2),
            runs=max(50, runs),
        )
        return
    imported = _imported(import_results or [])
    stamp = machine.stamp()
    rows, notes = _measure_here(
        files, reference, data, batch, rounds=rounds, runs=runs, threads=threads, xnnpack=xnnpack
    )
    rows += result.measured_elsewhere(imported, rows, reference)
    settings = {
        "threads": threads,
        "xnnpack": xnnpack,
        "rounds": rounds,
        "runs_per_round": runs,
        "warm_ups": timing.WARM_UPS,
        "batch": batch,
        "seed": _SEED,
    }
    if imported:
        notes.append(
            "figures of phones come from benchmark_model, without Python: compare them with each "
            "other, not with this machine's"
        )
    if stamp.load is not None and stamp.load > stamp.cores / 2:
        notes.append(
            f"this machine was busy before (load {stamp.load:g} on {stamp.cores} cores): trust "
            "the ratios, not the times"
        )
    if as_json:
        answer = {
            "machine": stamp.to_dict(),
            "settings": settings,
            "reference": reference,
            "models": [row.to_dict() for row in rows],
            "notes": notes,
        }
        emit_json(finite(answer))
        return
    show(rows, stamp, settings, notes)
    if not imported:
        err.print("[dim]On a phone: flywheel benchmark --android phone.sh[/]")


def _newest_variants(config: pathlib.Path) -> list[pathlib.Path]:
    """The files of the newest run that made some."""
    from models.errors import ConfigError
    from pipeline.cli.runs import workspace_of
    from pipeline.runs import RunStore

    workspace = workspace_of(config)
    workspace.resolve(None)  # says so when there are no runs at all
    store = RunStore(workspace)
    for run_id in workspace.run_ids():
        variants = store.load(run_id).artifact("TFLiteQuantizer", "variants")
        files = sorted(pathlib.Path(variants.uri).glob("*.tflite")) if variants else []
        if files:
            return files
    raise ConfigError(
        "NO_VARIANTS",
        f"No run in `{workspace.root}` got as far as quantizing.",
        next="Name a .tflite file, or see `flywheel runs` for why they stopped.",
    )


def _reference(files: dict[str, pathlib.Path], other: list[pathlib.Path]) -> str | None:
    """Whom the others are compared with; nobody when there is one file only."""
    if other:
        return next(name for name, path in files.items() if path == other[0].resolve())
    if len(files) < 2:
        return None
    return "float32" if "float32" in files else next(iter(files))


def _write_script(
    path: pathlib.Path, files: dict[str, pathlib.Path], as_json: bool, **settings: Any
) -> None:
    from models.benchmark.device import script
    from models.errors import ConfigError
    from pipeline.cli.output import emit_json, out

    try:
        path.write_text(script({n: str(p) for n, p in files.items()}, **settings), "utf-8")
    except OSError as error:
        raise ConfigError(
            "CANNOT_WRITE",
            f"`{path}` cannot be written: {error.strerror}.",
            next="Name another file.",
        ) from error
    if as_json:
        emit_json({"script": str(path.resolve()), "models": list(files)})
        return
    out.print(
        f"{path} measures {len(files)} file{'s' * (len(files) > 1)} on the phone at the USB cable. "
        f"Next:\n  sh {path} > phone.txt\n  {settings['again']}",
        soft_wrap=True,
    )


def _imported(paths: list[pathlib.Path]) -> list[Any]:
    """Results by phone and file, from transcripts."""
    import dataclasses

    from models.benchmark.device import parse, summarize
    from models.errors import ConfigError

    runs = []
    for path in paths:
        try:
            text = path.read_text("utf-8", errors="replace")
        except OSError as error:
            raise ConfigError(
                "NO_SUCH_FILE",
                f"`{path}` cannot be read: {error.strerror}.",
                next="Name the file that holds what the commands printed.",
            ) from error
        try:
            told = parse(text, name=path.stem)
        except ConfigError as error:
            raise ConfigError(
                error.reason.code, f"`{path}`: {error.reason.message}", next=error.reason.next
            ) from None
        runs += [dataclasses.replace(run, device=run.device or path.stem) for run in told]
    return summarize(runs)


def _measure_here(
    files: dict[str, pathlib.Path],
    reference: str | None,
    data: str | None,
    batch: int,
    *,
    rounds: int,
    runs: int,
    threads: int,
    xnnpack: bool,
) -> tuple[list[Row], list[str]]:
    """Rows of this machine, the skipped ones last, and notes that hold for all."""
    from models.benchmark import footprint, measure, result
    from models.benchmark.files import size
    from models.errors import FlywheelError
    from pipeline.cli.output import err

    interpreter = {"threads": threads, "xnnpack": xnnpack}
    rows_of = _rows_of(files, data, batch)
    workloads: dict[str, Workload] = {}
    memory: dict[str, footprint.Footprint] = {}
    failures: dict[str, FlywheelError] = {}
    with _Progress(err) as progress:
        for number, (name, path) in enumerate(files.items()):
            progress.show(f"loading {name}", number, len(files))
            try:
                workload = rows_of(name, path)
                memory[name] = footprint.footprint(workload, **interpreter)
            except FlywheelError as error:
                failures[name] = error
                continue
            if memory[name].block_error:
                workload = workload.without_block(memory[name].block_error)
            workloads[name] = workload
        for name in (reference, *files):
            if name in failures and (name == reference or not workloads):
                raise failures[name]
        timings = measure(
            workloads,
            rounds=rounds,
            runs=runs,
            seed=_SEED,
            on_round=lambda done: progress.show(f"timing {len(workloads)} files", done, rounds),
            **interpreter,
        )
        counted, notes = {}, []
        refusal = footprint.counting_refusal() if workloads else ""
        if refusal:
            notes.append(f"instructions were not counted: {refusal}")
        for number, (name, workload) in enumerate(workloads.items()):
            progress.show(f"counting instructions of {name}", number, len(workloads))
            counted[name] = (
                footprint.Instructions(None)
                if refusal
                else footprint.instructions(workload, **interpreter)
            )
    rows = [
        result.measured_here(
            name,
            workload.path,
            size(files[name]),
            timings[name],
            memory[name],
            counted[name],
            (f"rows {workload.rows}", workload.note),
        )
        for name, workload in workloads.items()
    ]
    skipped = [
        result.Row(name, path=str(files[name]), **size(files[name]), verdict="skipped",
                   notes=(f"{error.reason.code}: {error}",))
        for name, error in failures.items()
    ]  # fmt: skip
    return [*result.against(rows, timings, reference), *skipped], notes


def _rows_of(
    files: dict[str, pathlib.Path], data: str | None, batch: int
) -> Callable[[str, pathlib.Path], Workload]:
    """How to get the rows of a file, by its name and path."""
    import functools

    from models.benchmark import footprint, workload
    from models.benchmark.files import contract
    from models.errors import ConfigError
    from models.predictor import by_tensor

    contracts = {name: contract(path) for name, path in files.items()}
    if data and not any(contracts.values()):
        raise ConfigError(
            "NO_CONTRACT",
            f"`--data {data}` cannot be used: none of the files has a model.json beside it, which "
            "says which column feeds which input.",
            next="Leave `--data` out: rows are then made from the shapes of the inputs.",
        )
    tables: dict[ModelSpec, dict[str, Any]] = {}

    def rows_of(name: str, path: pathlib.Path) -> Workload:
        spec = contracts[name]
        if spec is None:
            make = functools.partial(workload.from_tensors, str(path), batch, _SEED)
            return footprint.make_apart(str(path), make)
        if data is None:
            return workload.from_spec(path, spec, batch, _SEED)
        if spec not in tables:
            tables[spec] = _read(data, spec)
        return workload.from_rows(path, by_tensor(spec, tables[spec]), batch, rows=f"of {data}")

    return rows_of


def _read(data: str, spec: ModelSpec) -> dict[str, Any]:
    """The first rows of a table, as the model is fed with them."""
    import itertools

    import pyarrow as pa

    from custom_components.example_gen.reader import open_dataset
    from models import feeds
    from pipeline.predictions import read_as

    dataset = open_dataset(data, kinds=read_as(spec))
    batches = list(itertools.islice(dataset.batches(), 1))
    table = pa.Table.from_batches(batches, dataset.schema).slice(0, _MOST_ROWS)
    return feeds.encode(spec, table)


class _Progress:
    """What is being measured, on one line of a terminal; silent elsewhere."""

    def __init__(self, console: Any):
        self._console = console
        self._status: Any = None

    def __enter__(self) -> _Progress:
        if self._console.is_terminal:
            self._status = self._console.status("")
            self._status.start()
        return self

    def show(self, text: str, done: int, total: int) -> None:
        if self._status is not None:
            from rich.markup import escape

            self._status.update(f"{escape(text)} [dim]{done}/{total}[/]")

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
