"""`flywheel compile`: the pipeline as a file that a cluster runs."""

from __future__ import annotations

import enum
import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import ConfigOption, DebugOption, JsonOption
from pipeline.workspace import DEFAULT_FILE

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.kubeflow.finding import Finding

_SUFFIX = {"kfp": ".yaml", "vertex": ".json"}
_COMPILING = "Compiling: importing TFX takes some ten seconds …"


class Target(str, enum.Enum):
    """Who runs the file."""

    kfp = "kfp"
    vertex = "vertex"


def compile(
    target: Annotated[
        Target, typer.Option("--target", "-t", help="Open-source Kubeflow Pipelines, or Vertex.")
    ] = Target.kfp,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(
            "--output", "-o", help="Where to write. Default: NAME.yaml (kfp), NAME.json (vertex)."
        ),
    ] = None,
    lint: Annotated[
        pathlib.Path | None,
        typer.Option("--lint", metavar="FILE", help="Only check this file, whoever compiled it."),
    ] = None,
    config: ConfigOption = pathlib.Path(DEFAULT_FILE),
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines v2 or Vertex AI, and check the file.

    Whatever the backend would refuse is named in plain words. Ends with 1 when there is an
    error; warnings alone end with 0. Try the file on this machine with `flywheel rehearse FILE`.
    """
    from pipeline.cli.output import emit_json, err
    from pipeline.kubeflow import document
    from pipeline.kubeflow.lint import lint as check

    result: dict[str, Any]
    if lint is not None:
        findings = check(document.read(lint), target.value)
        result = {"file": str(lint), "target": target.value}
    else:
        from pipeline import config as config_module
        from pipeline.kubeflow.child import compile_in_child
        from pipeline.kubeflow.vertex import ignored

        settings = config_module.load(config)
        path = output or pathlib.Path(settings.name + _SUFFIX[target.value])
        with err.status(_COMPILING):
            compile_in_child(settings, target.value, path)
        compiled = document.read(path)
        findings = check(compiled, target.value)
        if target is Target.vertex:
            findings += ignored(settings)
        result = {"file": str(path), "target": target.value}
        if not as_json:
            err.print(f"Compiled for {target.value} → [bold]{path}[/]")
    errors = sum(f.severity == "error" for f in findings)
    if as_json:
        emit_json({**result, "clean": not errors, "findings": [f.to_dict() for f in findings]})
    else:
        _show(findings, errors)
        if lint is None and not errors and target is Target.kfp:
            err.print(f"    [cyan]→[/] Run it on this machine: flywheel rehearse {result['file']}")
    raise typer.Exit(1 if errors else 0)


def compile_to(config: Config, target: str, folder: pathlib.Path) -> pathlib.Path:
    """Compiles a config for a command that goes on with the file.

    Args:
      config: Checked, paths absolute.
      target: `kfp` or `vertex`.
      folder: Where to write.

    Returns:
      The file; it has been checked.

    Raises:
      ConfigError: As `pipeline.kubeflow.compile`; SPEC_REFUSED.
    """
    from models.errors import ConfigError
    from pipeline.cli.output import err
    from pipeline.kubeflow import document
    from pipeline.kubeflow.child import compile_in_child
    from pipeline.kubeflow.lint import lint as check

    path = folder / (config.name + _SUFFIX[target])
    with err.status(_COMPILING):
        compile_in_child(config, target, path)
    errors = [f for f in check(document.read(path), target) if f.severity == "error"]
    if errors:
        raise ConfigError(
            "SPEC_REFUSED",
            "The backend would refuse the compiled pipeline: "
            + " ".join(finding.message for finding in errors),
            next=errors[0].next,
            cases=[finding.to_dict() for finding in errors],
        )
    return path


def _show(findings: list[Finding], errors: int) -> None:
    from rich.markup import escape

    from pipeline.cli.output import err

    for finding in findings:
        mark = "[red]✗[/]" if finding.severity == "error" else "[yellow]![/]"
        err.print(f"{mark} [bold]{finding.code}[/]  {escape(finding.message)}")
        err.print(f"    [cyan]→[/] {escape(finding.next)}")
    warnings = len(findings) - errors
    if not findings:
        err.print("[green]✓[/] Nothing that a backend would refuse.")
    else:
        err.print(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
