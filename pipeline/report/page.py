"""The report of a run: one HTML file that opens offline.

Everything is in the page: stylesheet, pictures, one small script for the theme. Its
content security policy allows nothing else, so that even a mistake in escaping
a name from the data could neither run nor fetch anything.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.report import (
    charts,
    data,
    evaluation,
    graph,
    summary,
    training,
    validation,
    variants,
    words,
)
from pipeline.report.inputs import Inputs, cases_table, severity_of
from pipeline.workspace import Workspace

_HERE = pathlib.Path(__file__).parent
_SECTIONS: dict[str, Callable[[Inputs], dict[str, Any]]] = {
    "data": data.section,
    "validation": validation.section,
    "curves": training.curves_section,
    "distillation": training.distillation_section,
    "evaluation": evaluation.section,
    "variants": variants.section,
}

log = logging.getLogger(__name__)


def write_report(workspace: Workspace, run_id: str, path: pathlib.Path) -> None:
    """Writes the report of a run, however far the run got.

    Args:
      workspace: Of the run.
      run_id: Full id.
      path: The HTML file; replaced in one step.
    """
    html = render(Inputs.read(workspace, run_id))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".report-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(html)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def render(inputs: Inputs) -> str:
    """The page as text."""
    light, dark, script = (
        (_HERE / name).read_text("utf-8") for name in ("style.css", "dark.css", "theme.js")
    )
    sections, broken = _sections(inputs)
    html = (
        _environment()
        .get_template("page.html")
        .render(
            policy=_policy(styles=(light, dark), script=script),
            light=Markup(light),
            dark=Markup(dark),
            script=Markup(script),
            run_id=inputs.run.id,
            banner=summary.banner(inputs),
            tiles=summary.glance(inputs),
            steps=summary.next_steps(inputs),
            graph=graph.picture(inputs.run),
            components=list(inputs.run.components.values()),
            config_text=inputs.config_text,
            log=inputs.result.get("log"),
            missing=inputs.why_missing,
            broken=broken,
            problems=inputs.problems,
            **sections,
        )
    )
    return words.printable(html)


def _sections(inputs: Inputs) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Every section's content, and what went wrong where one could not be made.

    A file of an older or newer Flywheel, or one that someone changed, costs its
    section and not the report.
    """
    made, broken = {}, {}
    for name, section in _SECTIONS.items():
        try:
            made[name] = section(inputs)
        except Exception as error:
            log.exception("section %s of the report", name)
            made[name] = {}
            broken[name] = f"{type(error).__name__}: {error}"
    return made, broken


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            name: getattr(words, name)
            for name in (
                "cell",
                "count",
                "metric",
                "metric_name",
                "microseconds",
                "number",
                "percent",
                "prose",
                "seconds",
                "short",
                "signed",
                "size",
            )
        }
    )
    environment.globals.update(
        figure=words.figure,
        is_number=words.is_number,
        cases_table=cases_table,
        severity_of=severity_of,
        swatch=charts.swatch,
    )
    return environment


def _policy(*, styles: tuple[str, ...], script: str) -> str:
    """Content security policy: nothing but these very styles and this very script."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {' '.join(map(source, styles))}; "
        f"script-src {source(script)}; base-uri 'none'; form-action 'none'"
    )
