"""`flywheel deploy`: the pipeline goes to a cluster, runs there, and is followed."""

from __future__ import annotations

import datetime
import functools
import pathlib
import tempfile
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from models.errors import ConfigError
from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

_INTERRUPTED = 130
_MARKS = {"SUCCEEDED": "[green]✓[/]", "FAILED": "[red]✗[/]", "RUNNING": "[cyan]›[/]"}


def deploy(
    file: Annotated[
        pathlib.Path | None,
        typer.Argument(metavar="[SPEC]", help="A compiled spec. Default: compile the config now."),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address of the Kubeflow Pipelines API.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Your namespace on a multi-user Kubeflow.")
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="Experiment the run belongs to.")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="CRON",
            help="Run it regularly instead of once: `30 4 * * 1` is Mondays 4:30 UTC.",
        ),
    ] = None,
    unschedule: Annotated[
        bool, typer.Option("--unschedule", help="Delete this pipeline's schedule.")
    ] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="NAME=VALUE of a pipeline parameter; repeatable."),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option("--pipeline-root", help="Where artifacts go: minio://, s3://, gs://."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the run; ends with its exit code.")
    ] = False,
    list_runs: Annotated[
        bool, typer.Option("--list", help="Show runs and schedules of the experiment.")
    ] = False,
    terminate: Annotated[
        str | None, typer.Option("--terminate", metavar="RUN", help="End a run.")
    ] = None,
    target: Annotated[
        Literal["kfp", "vertex"], typer.Option("--target", help="Kubeflow Pipelines, or Vertex AI.")
    ] = "kfp",
    ca_file: Annotated[
        pathlib.Path | None,
        typer.Option("--ca-file", help="PEM file of certificate authorities to trust."),
    ] = None,
    poll_seconds: Annotated[
        float, typer.Option("--poll-seconds", min=0.01, help="Between two looks while waiting.")
    ] = 5.0,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Upload the pipeline to Kubeflow Pipelines and run it there, once or on a schedule.

    The same content is uploaded once, and a pipeline has at most one schedule: the command can
    be repeated safely. A token comes from KF_PIPELINES_TOKEN, a session cookie from
    KF_PIPELINES_COOKIES.
    """
    from pipeline import config as config_module
    from pipeline.cli.output import emit_json
    from pipeline.cluster.options import ClusterOptions, VertexOptions
    from pipeline.rehearsal.compiled import parse_parameters

    needs_config = file is None or config.exists()
    loaded = None
    if needs_config and not (host and (list_runs or terminate)):
        loaded = config_module.load(config)
    vertex = loaded.kubeflow.vertex if loaded else VertexOptions()
    if target == "vertex" and (schedule or unschedule):
        raise ConfigError(
            "NO_SCHEDULE_ON_VERTEX",
            "Schedules on Vertex AI are not made by this command.",
            next="Make one of a submitted job in the Google Cloud console, or call `flywheel "
            "deploy --target vertex` from a scheduler of your own.",
        )
    options = loaded.kubeflow.cluster if loaded else ClusterOptions()
    given = {
        "host": host,
        "namespace": namespace,
        "experiment": experiment,
        "ca_file": str(ca_file) if ca_file else None,
    }
    options = options.model_copy(update={k: v for k, v in given.items() if v is not None})
    where = vertex if target == "vertex" else options
    if list_runs:
        show = _list_vertex if target == "vertex" else _list
        show(where, as_json)
        return
    if terminate:
        _terminate(where, terminate, as_json)
        return
    parameters = parse_parameters(parameter or [])
    how = {
        "pipeline_root": root,
        "service_account": loaded.kubeflow.service_account if loaded else None,
    }
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        if file is None:
            file = _compiled(loaded, target, pathlib.Path(scratch))
        if target == "vertex":
            result = _to_vertex(file, vertex, parameters, how, quiet=as_json)
        else:
            result = _to_kubeflow(
                *(file, options, parameters, how),
                schedule=schedule,
                unschedule=unschedule,
                quiet=as_json,
            )
    if wait and ("run_id" in result or "job_id" in result):
        result = _followed(_looker(where, result), result, poll_seconds)
    if as_json:
        emit_json(result)
    raise typer.Exit(result.get("exit_code", 0))


def _to_kubeflow(
    file: pathlib.Path,
    options: Any,
    parameters: dict[str, str],
    how: dict[str, Any],
    *,
    schedule: str | None,
    unschedule: bool,
    quiet: bool,
) -> dict[str, Any]:
    from pipeline.cli.output import err, out
    from pipeline.cluster.client import Cluster
    from pipeline.cluster.submission import parameter_values, read_package, six_fields

    package = read_package(file)
    values = parameter_values(package, parameters)
    cron = six_fields(schedule) if schedule else None
    say = err if quiet else out
    with err.status("asking the cluster"):
        cluster = Cluster(options)
    if unschedule:
        count = cluster.unschedule(package.name)
        say.print(f"{package.name}: {count} schedule{'s' * (count != 1)} deleted")
        return {"pipeline": package.name, "deleted_schedules": count}
    with err.status("uploading"):
        uploaded = cluster.upload(package.path, package.name, package.version)
    result: dict[str, Any] = {
        "pipeline": package.name,
        "version": package.version,
        "pipeline_id": uploaded.pipeline_id,
        "version_id": uploaded.version_id,
        "uploaded": uploaded.new,
    }
    say.print(
        f"{package.name} version {package.version}: "
        + ("uploaded" if uploaded.new else "is there already")
    )
    if cron:
        made, what = cluster.schedule(uploaded, package.name, cron, values, **how)
        result |= {
            "schedule_id": made.recurring_run_id,
            "schedule": what,
            "cron": cron,
            "url": cluster.link("recurringrun", made.recurring_run_id),
        }
        say.print(f"schedule {what}: {cron}  [dim]{result['url']}[/]", soft_wrap=True)
        return result
    # One name per call: should the answer be lost, the run is found by it and not started twice.
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    name = f"{package.name}-{moment}"
    run, _ = cluster.start(uploaded, name, values, **how)
    result |= {"run_id": run.run_id, "run": name, "url": cluster.link("runs", run.run_id)}
    say.print(f"run {name}: started  [dim]{result['url']}[/]", soft_wrap=True)
    return result


def _looker(options: Any, result: dict[str, Any]) -> Callable[[], Any]:
    """Asks whoever runs it how far it is."""
    if "job_id" in result:
        from pipeline.cluster.vertex import Vertex

        return functools.partial(Vertex(options).progress, result["job_id"])
    from pipeline.cluster.client import Cluster

    return functools.partial(Cluster(options).progress, result["run_id"])


def _followed(
    look: Callable[[], Any], result: dict[str, Any], poll_seconds: float
) -> dict[str, Any]:
    """Shows the tasks while the run goes on."""
    from rich.live import Live

    from pipeline.cli.output import err
    from pipeline.cluster.follow import follow

    told: dict[str, str] = {}
    with Live(console=err, refresh_per_second=4) if err.is_terminal else _nothing() as live:
        try:
            for progress in follow(look, every_seconds=poll_seconds):
                if live is not None:
                    live.update(_tasks_table(progress))
                    continue
                for task in progress.tasks:
                    if told.get(task.name) != task.state:
                        told[task.name] = task.state
                        err.print(f"{task.name} {task.state}")
        except KeyboardInterrupt:
            err.print(_goes_on(result), soft_wrap=True)
            raise typer.Exit(_INTERRUPTED) from None
    err.print(f"[bold]{progress.state}[/]" + (f": {progress.error}" if progress.error else ""))
    for task in progress.tasks:
        if task.error:
            err.print(f"  [red]✗[/] {task.name}: {task.error}")
    return {
        **result,
        "state": progress.state,
        "exit_code": progress.exit_code,
        "tasks": [
            {"name": t.name, "state": t.state, "seconds": t.seconds, "error": t.error}
            for t in progress.tasks
        ],
    }


def _goes_on(result: dict[str, Any]) -> str:
    """What to know when only the following was interrupted."""
    run = result.get("run_id") or f"{result['job_id']} --target vertex"
    return (
        f"No longer followed; the run goes on: {result['url']}\n"
        f"to end it: flywheel deploy --terminate {run}"
    )


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


def _tasks_table(progress: Any) -> Any:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for task in progress.tasks:
        seconds = f"{task.seconds:.0f} s" if task.seconds is not None else ""
        table.add_row(_MARKS.get(task.state, "·"), task.name, seconds, f"[dim]{task.state}[/]")
    if progress.silent_seconds:
        table.add_row("[yellow]![/]", f"no answer for {progress.silent_seconds:.0f} s", "", "")
    return table


def _list(options: Any, as_json: bool) -> None:
    from pipeline.cli.output import emit_json, out
    from pipeline.cluster.client import Cluster

    cluster = Cluster(options)
    runs, schedules = cluster.runs(), cluster.schedules()
    rows = [
        {
            "run_id": r.run_id,
            "run": r.display_name,
            "state": r.state,
            "created": r.created_at.isoformat() if r.created_at else None,
        }
        for r in runs
    ]
    recurring = [
        {
            "schedule_id": s.recurring_run_id,
            "pipeline": s.display_name,
            "cron": s.trigger.cron_schedule.cron if s.trigger and s.trigger.cron_schedule else None,
            "status": str(s.status),
        }
        for s in schedules
    ]
    if as_json:
        emit_json({"runs": rows, "schedules": recurring})
        return
    for title, things in (("runs", rows), ("schedules", recurring)):
        if not things:
            out.print(f"No {title} in experiment {options.experiment!r}.")
            continue
        out.print(_rows_table(things))


def _rows_table(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for key in rows[0]:
        table.add_column(key)
    for row in rows:
        table.add_row(*(str(value or "–") for value in row.values()))
    return table


def _terminate(options: Any, run_id: str, as_json: bool) -> None:
    from pipeline.cli.output import emit_json, out
    from pipeline.cluster.client import Cluster
    from pipeline.cluster.options import VertexOptions
    from pipeline.cluster.vertex import Vertex

    if isinstance(options, VertexOptions):
        name, state = run_id, Vertex(options).cancel(run_id)
    else:
        run = Cluster(options).terminate(run_id)
        name, state = run.display_name, run.state
    if as_json:
        emit_json({"run_id": run_id, "state": state})
    else:
        out.print(f"run {name}: {state}")


def _to_vertex(
    file: pathlib.Path,
    options: Any,
    parameters: dict[str, Any],
    how: dict[str, Any],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from pipeline.cli.output import err, out
    from pipeline.cluster.submission import parameter_values
    from pipeline.cluster.vertex import Vertex, read_job

    package = read_job(file)
    values = parameter_values(package, parameters)
    moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
    job_id = f"{package.name.lower()}-{moment}"
    with err.status("submitting to Vertex AI"):
        vertex = Vertex(options)
        job = vertex.submit(file, job_id, values, **how)
    url = vertex.link(job_id)
    say = err if quiet else out
    say.print(f"job {job_id}: submitted to {options.region}  [dim]{url}[/]", soft_wrap=True)
    return {"job_id": job_id, "resource": job.name, "region": options.region, "url": url}


def _list_vertex(options: Any, as_json: bool) -> None:
    from pipeline.cli.output import emit_json, out
    from pipeline.cluster.vertex import Vertex, read_progress

    rows = [
        {
            "job_id": job.name.rsplit("/", 1)[-1],
            "state": read_progress(job).state,
            "created": job.create_time.isoformat() if job.create_time else None,
        }
        for job in Vertex(options).jobs()
    ]
    if as_json:
        emit_json({"jobs": rows})
    elif rows:
        out.print(_rows_table(rows))
    else:
        out.print(f"No jobs in {options.region}.")


def _compiled(config: Any, target: str, folder: pathlib.Path) -> pathlib.Path:
    """The config, compiled now."""
    from pipeline.cli.compile import compile_to

    return compile_to(config, target, folder)
