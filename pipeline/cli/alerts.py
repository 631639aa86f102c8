"""`flywheel alerts`: what is wrong, who is at it, and whether messages arrive."""

from __future__ import annotations

import datetime
import getpass
import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

if TYPE_CHECKING:
    from monitoring.alerts.incidents import Incidents
    from monitoring.store.incidents import Incident

app = typer.Typer(help="What monitoring found, and who is told.", no_args_is_help=False)

IncidentArgument = Annotated[
    str, typer.Argument(metavar="INCIDENT", help="Its number, or its key: `drift/fare`.")
]
WhoOption = Annotated[str | None, typer.Option(help="In whose name. Default: the user's.")]
_DEFAULT = pathlib.Path(DEFAULT_FILE)
_STYLES = {"critical": "red", "warning": "yellow", "info": "dim"}


@app.callback(invoke_without_command=True)
def alerts(context: typer.Context) -> None:
    """What monitoring found, and who is told."""
    if context.invoked_subcommand is None:
        context.invoke(list_)


@app.command("list")
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Resolved ones, too.")] = False,
    config: ConfigOption = _DEFAULT,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Incidents that are not resolved, the latest first."""
    from rich.markup import escape
    from rich.table import Table

    from pipeline.cli.output import emit_json, err, out

    found = _incidents(config).list(() if all_ else ("open", "acknowledged", "silenced"))
    if as_json:
        emit_json({"incidents": [_as_dict(i) for i in found]})
        return
    if not found:
        err.print("Nothing is open." if not all_ else "There has been no incident yet.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("", "severity", "state", "since", "windows", "what"):
        table.add_column(name)
    for i in found:
        table.add_row(
            str(i.id),
            f"[{_STYLES[i.severity]}]{i.severity}[/]",
            i.state,
            f"{i.opened_at:%Y-%m-%d %H:%M}",
            str(i.windows),
            escape(i.title),
        )
    out.print(table)
    err.print("[cyan]→[/] flywheel alerts show NUMBER")


@app.command()
def show(
    incident: IncidentArgument,
    config: ConfigOption = _DEFAULT,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """One incident: its findings, comments and history."""
    from rich.markup import escape

    from pipeline.cli.output import emit_json, err, out

    i = _incidents(config).get(incident)
    if as_json:
        emit_json(_as_dict(i))
        return
    out.print(f"[bold]{i.id}  {escape(i.title)}[/]")
    windows = "1 window" if i.windows == 1 else f"{i.windows} windows"
    out.print(
        f"[{_STYLES[i.severity]}]{i.severity}[/], {i.state}, in {windows} from "
        f"{escape(i.first_window)} to {escape(i.last_window)}"
    )
    for finding in i.findings:
        also = f" (also {', '.join(finding['also'])})" if finding["also"] else ""
        out.print(f"  {escape(finding['words'])}")
        out.print(
            f"    [dim]{finding['statistic']} {finding['value']:.4g}, limit "
            f"{finding['limit']:.4g}, {finding['n']:,} rows{escape(also)}[/]"
        )
    for remark in i.comments:
        who = f" {remark['who']}:" if remark["who"] else ""
        out.print(f"  [dim]{remark['time'][:16]}[/]{escape(who)} {escape(remark['text'])}")
    if i.state == "open":
        err.print(f"[cyan]→[/] flywheel alerts ack {i.id}")


@app.command()
def ack(
    incident: IncidentArgument,
    comment: Annotated[str, typer.Option("--comment", "-m", help="What is being done.")] = "",
    who: WhoOption = None,
    config: ConfigOption = _DEFAULT,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Somebody is at it: no more reminders, no escalation."""
    _said(_incidents(config).acknowledge(incident, _who(who), comment), as_json)


@app.command()
def silence(
    incident: IncidentArgument,
    hours: Annotated[float, typer.Option("--hours", min=0.01, help="For so long.")] = 24.0,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why.")] = "",
    who: WhoOption = None,
    config: ConfigOption = _DEFAULT,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Nothing is told about it for some hours."""
    _said(_incidents(config).silence(incident, hours, _who(who), comment), as_json)


@app.command()
def comment(
    incident: IncidentArgument,
    text: Annotated[str, typer.Argument(help="What to add.")],
    who: WhoOption = None,
    config: ConfigOption = _DEFAULT,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Add a remark to an incident."""
    _said(_incidents(config).comment(incident, text, _who(who)), as_json)


@app.command()
def test(
    config: ConfigOption = _DEFAULT, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Send a test message over every channel, and say which of them it reached."""
    from monitoring.alerts import channels, picture
    from monitoring.alerts.message import Message
    from pipeline import config as config_module

    settings = config_module.load(config)
    example = picture.bars("fare: an example", ["low", "high"], [0.6, 0.4], [0.4, 0.6])
    message = Message(
        title=f"This is a test of {settings.name}'s alerts",
        text="Nothing is wrong. Somebody typed `flywheel alerts test`.",
        severity="critical",  # so that no channel leaves it out
        facts={"pipeline": settings.name},
        next="flywheel alerts list",
        picture=example,
        key="test",
        status="resolved",
    )
    _delivered(channels.send(message, settings.alerts.targets), as_json)


@app.command()
def resend(
    config: ConfigOption = _DEFAULT, as_json: JsonOption = False, debug: DebugOption = False
) -> None:
    """Try again what no attempt delivered."""
    from monitoring.alerts import channels
    from monitoring.alerts.channels.dead_letters import DeadLetters
    from pipeline import config as config_module

    options = config_module.load(config).alerts
    letters = DeadLetters(pathlib.Path(options.dead_letters))
    _delivered(letters.resend(options.targets, channels.send), as_json)


def _incidents(config: pathlib.Path) -> Incidents:
    from monitoring.alerts.incidents import Incidents
    from monitoring.store.store import Store
    from pipeline import config as config_module
    from pipeline.monitoring_run import store_url

    settings = config_module.load(config)
    return Incidents(Store(store_url(settings)), settings.alerts)


def _who(name: str | None) -> str:
    if name is not None:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""


def _as_dict(incident: Incident) -> dict[str, Any]:
    values = {c.key: getattr(incident, c.key) for c in incident.__table__.columns}
    return {
        name: value.isoformat() if isinstance(value, datetime.datetime) else value
        for name, value in values.items()
    }


def _said(incident: Incident, as_json: bool) -> None:
    from rich.markup import escape

    from pipeline.cli.output import emit_json, err

    if as_json:
        emit_json(_as_dict(incident))
        return
    until = incident.silenced_until
    end = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
    err.print(f"{incident.id} {escape(incident.title)}: {incident.state}{end}")


def _delivered(deliveries: list[Any], as_json: bool) -> None:
    import dataclasses

    from rich.markup import escape

    from pipeline.cli.output import emit_json, err

    failed = [d for d in deliveries if d.state == "failed"]
    if as_json:
        emit_json({"deliveries": [dataclasses.asdict(d) for d in deliveries]})
    else:
        for d in deliveries:
            mark = {"sent": "[green]✓[/]", "failed": "[red]✗[/]"}.get(d.state, "[dim]–[/]")
            why = f": {d.error}" if d.error else ""
            err.print(f"{mark} {escape(d.channel)} {d.state}{escape(why)}")
        if not deliveries:
            err.print("There was nothing to send.")
    if failed:
        raise typer.Exit(1)
