"""Registers every command, in the order in which `--help` lists them."""

from __future__ import annotations

from pipeline.cli import benchmark, doctor, init, models, predict, report, run, runs
from pipeline.cli.app import app

app.command("init")(init.init)
app.command("run")(run.run)
app.add_typer(runs.app, name="runs")
app.command("report")(report.report)
app.add_typer(models.app, name="models")
app.command("predict")(predict.predict)
app.command("benchmark")(benchmark.benchmark)
app.command("doctor")(doctor.doctor)
