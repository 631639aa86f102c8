"""`flywheel functions`: the cloud functions on this machine, and the folders to deploy."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

if TYPE_CHECKING:
    from cloud_functions.settings import Settings

app = typer.Typer(
    help="Serve the deployed model, and react to data, drift and runs.", no_args_is_help=True
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="See `functions list`.")]


def settings_of(path: pathlib.Path) -> Settings:
    """What the functions know of a config file."""
    from cloud_functions.settings import Settings
    from pipeline import config as config_module

    config = config_module.load(path)
    log = pathlib.Path(config.monitoring.log).expanduser()
    return Settings(
        name=config.name,
        deployed=config.deploy.path,
        log=str(log if log.is_absolute() else path.resolve().parent / log),
        # As pipeline.monitoring_run has it, whose measures take seconds to import.
        store=config.monitoring.store
        or f"sqlite:///{pathlib.Path(config.root).resolve() / 'monitoring.sqlite'}",
        config=str(path.resolve()),
        serving=config.serving,
        automation=config.automation,
        monitoring=config.monitoring,
        alerts=config.alerts,
    )


def _folder(path: pathlib.Path) -> pathlib.Path:
    """Where the functions of a config leave settings and logs on this machine."""
    from pipeline import config as config_module

    return pathlib.Path(config_module.load(path).root) / "functions"


@app.command("list")
def list_functions(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """The functions, what starts them, and what they do."""
    from rich.table import Table

    from pipeline.cli.output import emit_json, out

    if as_json:
        emit_json([{"name": n, "trigger": t, "does": d} for n, t, d in FUNCTIONS])
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("function", "trigger", ""):
        table.add_column(title)
    for row in FUNCTIONS:
        table.add_row(*row)
    out.print(table)


FUNCTIONS = (
    ("predict", "HTTP", "serves the deployed model and logs what it answers"),
    ("on_new_data", "object finalized, HTTP", "starts a run when a drop of data is complete"),
    ("check_drift", "scheduler", "closes windows of the log, publishes alerts"),
    ("on_alert", "topic of alerts", "tells people, asks for a new model by policy"),
    ("on_run_finished", "topic of runs", "records the verdict, tells people"),
)


@app.command()
def serve(
    name: NameArgument,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Where to listen. Default: `serving.port`."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    debug: DebugOption = False,
) -> None:
    """Run one function on this machine, until Ctrl-C."""
    import os

    from cloud_functions import local
    from pipeline.cli.output import err

    local.check_name(name)
    settings = settings_of(config)
    port = port or settings.serving.port
    local.check_port(port, host)
    file = _folder(config) / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(settings.model_dump_json(indent=1), "utf-8")
    url = f"http://{host}:{port}"
    if name == "predict":
        err.print(f"[bold]predict[/]  {url}/v1/models/{settings.name}:predict")
        err.print(f"[dim]what it takes: {url}/v1/models/{settings.name}/metadata[/]")
        err.print(f"[dim]versions: {settings.deployed}, log: {settings.log}[/]")
    else:
        err.print(f"[bold]{name}[/]  {url}")
        err.print(f"[dim]ledger: {settings.automation.ledger}[/]")
    command = local.command(name, port, host)
    os.execve(command[0], command, local.environment(file, settings.serving.threads))


@app.command()
def up(
    inbox: Annotated[
        pathlib.Path | None, typer.Option(help="Folder to watch. Default: `automation.inbox`.")
    ] = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    debug: DebugOption = False,
) -> None:
    """Run all functions with a local bus, a watched folder and a clock, until Ctrl-C."""
    import signal
    import threading

    from cloud_functions.local import Stack
    from models.errors import FlywheelError
    from pipeline.cli.output import err

    settings = settings_of(config)
    if inbox is not None:
        settings = settings.at({"inbox": str(inbox.resolve())})
    folder = _folder(config)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Stack(settings, folder, ports={"predict": settings.serving.port}).running() as stack:
        for function in stack.functions.values():
            err.print(f"{function.name:<16} {function.url}")
        watched = stack.settings.automation.inbox or "– (set `automation.inbox`)"
        err.print(f"{'inbox':<16} {watched}")
        err.print(f"{'logs':<16} {folder}\n[dim]Ctrl-C ends it[/]")
        while not stopped.wait(1.0) and not stack.ended():
            pass
        for function in stack.ended():
            raise FlywheelError(
                "FUNCTION_ENDED",
                f"The function `{function.name}` ended by itself, so the others were stopped.",
                next=f"Its words are in `{function.log}`.",
            )
        err.print("stopping …")


@app.command()
def build(
    name: NameArgument,
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", help="The folder. Default: build/functions/NAME."),
    ] = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Assemble the folder that is deployed: main.py, requirements.txt, what is imported."""
    from cloud_functions import assemble
    from pipeline.cli.output import emit_json, err

    target = output or pathlib.Path("build/functions") / name
    files = assemble.build(name, settings_of(config), target)
    if as_json:
        emit_json({"name": name, "folder": str(target), "files": [f.as_posix() for f in files]})
        return
    err.print(f"{len(files)} files → {target}; how to deploy them: {target / 'README.md'}")


@app.command()
def status(
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Brakes, runs that were started, and dead letters."""
    import httpx

    from cloud_functions import brakes, dead_letter
    from cloud_functions import retrain as automation
    from cloud_functions.ledger import open_ledger
    from pipeline.cli.output import emit_json, err, out

    settings = settings_of(config)
    ledger = open_ledger(settings.automation.ledger)
    try:
        automation.settle(settings, ledger)
    except (httpx.HTTPError, OSError) as error:
        text = f"the backend could not be asked how the run goes: {error}"
        err.print(text, style="yellow", markup=False)
    state = brakes.status(ledger, settings.name)
    dead = dead_letter.records(ledger)
    if as_json:
        emit_json({"model": settings.name, "brakes": state, "dead_letters": dead})
        return
    flying = state["in_flight"]
    since = f"{flying['job']} since {flying['since'][:19]}" if flying else "–"
    out.print(f"in flight  {since}")
    if not state["starts"]:
        out.print("no run was asked for within 30 days", style="dim")
    ended = {end["job"]: end["state"] for end in state["ended"]}
    for start in state["starts"][-10:]:
        out.print(f"{start['at'][:19]}  {start['job']}  {ended.get(start['job'], '…')}", end="  ")
        out.print(start["why"], style="dim", markup=False)
    for entry in state["overrides"][-5:]:
        text = f"override   {entry['at'][:19]} by {entry['who']}, past {entry['brake']}: "
        out.print(text + entry["why"], markup=False)
    if not dead:
        out.print("no dead letters", style="dim")
    for record in dead[-10:]:
        text = f"dead       {record['at'][:19]} {record['function']} {record['code']}: "
        out.print(text + record["message"], markup=False)


@app.command()
def retrain(
    why: Annotated[str, typer.Argument(metavar="WHY", help="For the record.")],
    override: Annotated[
        bool, typer.Option(help="Go past cooldown, cap and a run in flight; it is recorded.")
    ] = False,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask for a run as the functions do: by the brakes, where `automation.backend` says."""
    import getpass

    import httpx

    from cloud_functions import retrain as automation
    from cloud_functions.brakes import Override
    from cloud_functions.ledger import open_ledger, utc_now
    from cloud_functions.submit import Job, job_id
    from models.errors import FlywheelError
    from pipeline.cli.output import emit_json, err

    if not why.strip():
        raise typer.BadParameter("say why, for the record.", param_hint="WHY")
    settings = settings_of(config)
    ledger = open_ledger(settings.automation.ledger)
    job = Job(
        job_id(settings.name, "person", utc_now().isoformat()), settings.name, None, why, force=True
    )
    word = Override(getpass.getuser(), why) if override else None
    try:
        answer: dict[str, Any] = automation.start(settings, ledger, job, "person", word)
    except (httpx.HTTPError, OSError) as error:
        raise FlywheelError(
            "NOT_STARTED",
            f"The run could not be started: {error}",
            next="See `automation.backend` in flywheel.yaml, then ask again.",
        ) from error
    if answer["state"] == "refused":
        raise FlywheelError(
            answer["code"],
            answer["message"],
            next="Wait, or go past it with `--override`; who and why are recorded.",
        )
    if as_json:
        emit_json(answer)
        return
    err.print(f"{answer['state']}  {answer['job']}  {answer['where']}")
    err.print("[dim]how it ends: flywheel functions status[/]")


@app.command()
def loop(
    folder: Annotated[
        pathlib.Path, typer.Option(help="Where the demo lives; must not hold anything.")
    ] = pathlib.Path("loop"),
    rows: Annotated[
        int | None, typer.Option(help="Most trips to replay while nothing drifts.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """The whole loop on the taxi demo: serve, replay, drift, retrain, serve.

    Exit code 0 when a version that the loop made serves at the end, 4 when none was pushed.
    """
    import dataclasses
    import time

    from pipeline import loop as demo
    from pipeline.cli.output import emit_json, err

    start = time.monotonic()

    def say(text: str) -> None:
        err.print(f"[dim]{time.monotonic() - start:6.1f} s[/]  ", end="")
        err.print(text, markup=False)

    summary = demo.run(folder.resolve(), say, rows)
    err.print()
    for line in summary.lines():
        err.print(line, markup=False)
    if as_json:
        emit_json({**dataclasses.asdict(summary), "closed": summary.closed})
    if not summary.closed:
        raise typer.Exit(4)
