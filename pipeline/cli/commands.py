"""Registers every command, in the order in which `--help` lists them."""

from __future__ import annotations

from pipeline.cli import (
    alerts,
    benchmark,
    compile,
    deploy,
    doctor,
    functions,
    init,
    models,
    monitor,
    predict,
    rehearse,
    report,
    run,
    runs,
    ui,
)
from pipeline.cli.app import app

app.command("init")(init.init)
app.command("run")(run.run)
app.add_typer(runs.app, name="runs")
app.command("report")(report.report)
app.add_typer(models.app, name="models")
app.command("predict")(predict.predict)
app.command("monitor")(monitor.monitor)
app.command("benchmark")(benchmark.benchmark)
app.command("compile")(compile.compile)
app.command("rehearse")(rehearse.rehearse)
app.command("deploy")(deploy.deploy)
app.add_typer(functions.app, name="functions")
app.command("ui")(ui.ui)
app.add_typer(alerts.app, name="alerts")
app.command("doctor")(doctor.doctor)
