"""The report of a run: one HTML file that opens offline.

Everything is in the page: stylesheet, pictures, one small script for the theme. Its
content security policy allows nothing else, so that even a mistake in escaping
a name from the data could neither run nor fetch anything.
"""

from __future__ import annotations

import base64
import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
      id: Anchor, and name of its template.
      title: Heading.
      content: What the template gets; `{}` when the run did not get that far.
      component: Whose absence explains that there is nothing.
    """

    id: str
    title: str
    content: Callable[[Inputs], dict[str, Any]]
    component: str = ""


SECTIONS = (
    Section("glance", "At a glance", lambda inputs: {"tiles": summary.glance(inputs)}),
    Section("pipeline", "Pipeline", lambda inputs: {"picture": graph.picture(inputs.run)}),
    Section("data", "Data and statistics", data.section, "ExampleGen"),
    Section("validation", "Anomalies and drift", validation.section, "SchemaValidator"),
    Section("curves", "Learning curves", training.curves_section, "Trainer"),
    Section("distillation", "Distillation", training.distillation_section, "Distiller"),
    Section("evaluation", "Evaluation on test", evaluation.section, "Evaluator"),
    Section("variants", "Variants", variants.section, "TFLiteQuantizer"),
    Section("next", "What to do next", lambda inputs: {"steps": summary.next_steps(inputs)}),
)

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
    environment = _environment(inputs)
    sections = [(section, _render_section(section, inputs, environment)) for section in SECTIONS]
    html = environment.get_template("page.html").render(
        policy=policy(styles=(light, dark), script=script),
        light=Markup(light),
        dark=Markup(dark),
        script=Markup(script),
        run_id=inputs.run.id,
        banner=summary.banner(inputs),
        sections=sections,
        components=list(inputs.run.components.values()),
        config_text=inputs.config_text,
        log=inputs.result.get("log"),
        problems=inputs.problems,
    )
    return words.printable(html)


def _render_section(section: Section, inputs: Inputs, environment: jinja2.Environment) -> Markup:
    """A section's inside; where it cannot be made, what is missing.

    A file of an older or newer Flywheel, or one that someone changed, costs its
    section and not the report.
    """
    try:
        content = section.content(inputs)
        if not content:
            return _absent(inputs.why_missing(section.component))
        return Markup(environment.get_template(f"{section.id}.html").render({section.id: content}))
    except Exception as error:
        log.exception("section %s of the report", section.id)
        return _absent(
            "This section could not be made from what the run left "
            f"({type(error).__name__}: {words.short(error, 200)}). The files are listed under "
            "“Config and artifacts”."
        )


def _absent(text: str) -> Markup:
    return Markup('<p class="absent">{}</p>').format(text)


def _environment(inputs: Inputs) -> jinja2.Environment:
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
                "breakable",
                "cell",
                "fixed",
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
        missing=inputs.why_missing,
    )
    return environment


def policy(*, styles: tuple[str, ...], script: str) -> str:
    """Content security policy: these very styles, this very script, pictures within the page."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {' '.join(map(source, styles))}; "
        f"script-src {source(script)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
