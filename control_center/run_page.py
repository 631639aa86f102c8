"""What the page of a run shows: components with the cache's reasons, and sections of the report."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from typing import Any

import jinja2
from markupsafe import Markup

from control_center.center import Center
from control_center.runs_index import Row, memory
from pipeline.report import data, evaluation, graph, summary, training, validation, variants, words
from pipeline.report.inputs import Inputs
from pipeline.reuse import Memory, explain
from pipeline.runs import Component, Run

#: Tab to what is on it: template, title, content, component whose absence explains a gap.
TABS: dict[str, tuple[tuple[str, str, Any, str], ...]] = {
    "data": (
        ("data", "Data and statistics", data.section, "ExampleGen"),
        ("validation", "Anomalies and drift", validation.section, "SchemaValidator"),
    ),
    "training": (
        ("curves", "Learning curves", training.curves_section, "Trainer"),
        ("distillation", "Distillation", training.distillation_section, "Distiller"),
    ),
    "evaluation": (("evaluation", "Evaluation on test", evaluation.section, "Evaluator"),),
    "variants": (("variants", "Variants", variants.section, "TFLiteQuantizer"),),
}
NAMES = {
    "": "Overview",
    "data": "Data",
    "training": "Training",
    "evaluation": "Evaluation",
    "variants": "Variants",
    "files": "Files",
    "log": "Log",
}
_KEPT = 60
_reasons: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}


@dataclasses.dataclass(frozen=True)
class Part:
    """One section, ready for the page."""

    id: str
    title: str
    html: Markup


class Sections:
    """The report's sections for runs that ended: made once, kept while they are asked for.

    Args:
      environment: With the report's templates.
    """

    def __init__(self, environment: jinja2.Environment):
        self._environment = environment
        self._made: dict[tuple[str, str, float], list[Part]] = {}
        self._lock = threading.Lock()

    def of(self, center: Center, row: Row, tab: str) -> list[Part]:
        """The sections of a tab."""
        result = center.workspace.run(row.id).result
        stamp = result.stat().st_mtime if result.exists() else 0.0
        key = (row.id, tab, stamp)
        with self._lock:
            if stamp and key in self._made:
                return self._made[key]
        inputs = center.inputs(row.id)
        made = [self._section(inputs, *section) for section in TABS[tab]]
        with self._lock:
            if len(self._made) >= _KEPT:
                self._made.pop(next(iter(self._made)))
            self._made[key] = made
        return made

    def _section(self, inputs: Inputs, id_: str, title: str, content: Any, component: str) -> Part:
        """One; a file that cannot be read costs its section, not the page."""
        try:
            found = content(inputs)
            if not found:
                return Part(id_, title, _absent(inputs.why_missing(component)))
            template = self._environment.get_template(f"report/{id_}.html")
            html = template.render({id_: found, "missing": inputs.why_missing})
            return Part(id_, title, Markup(words.printable(html)))
        except Exception as error:  # whatever a changed or foreign file does to a section
            return Part(
                id_,
                title,
                _absent(
                    "This section could not be made from what the run left "
                    f"({type(error).__name__}: {words.short(error, 200)})."
                ),
            )


def _absent(text: str) -> Markup:
    return Markup('<p class="absent">{}</p>').format(text)


def overview(center: Center, row: Row) -> dict[str, Any]:
    """Verdict, tiles, DAG and components of a run that ended."""
    inputs = center.inputs(row.id)
    ids = center.runs.ids()
    earlier = ids[ids.index(row.id) + 1 :] if row.id in ids else []
    why = _why(center, row, earlier)
    held = memory(center.workspace.run(row.id))
    # Before any component, or with unreadable files, there is nothing to say yet.
    try:
        tiles = summary.glance(inputs)
    except Exception:
        tiles = []
    components = [
        {
            "name": c.name,
            "state": c.state,
            "seconds": c.seconds,
            "memory": held.get(c.name),
            "outputs": sorted(c.outputs),
            **why.get(c.name, {"inputs": [], "cache": "", "why": ""}),
        }
        for c in inputs.run.components.values()
    ]
    return {
        "banner": summary.banner(inputs),
        "tiles": tiles,
        "picture": graph.picture(inputs.run),
        "components": components,
        "steps": summary.next_steps(inputs),
        "hits": sum(c["cache"] == "hit" for c in components),
    }


def _why(center: Center, row: Row, earlier: list[str]) -> dict[str, dict[str, Any]]:
    """Inputs and the cache's reasons: slow to read, and unchanged once the run ended."""
    folder = center.workspace.run(row.id)
    key = (str(folder.path), folder.result.stat().st_mtime if folder.result.exists() else 0.0)
    if key not in _reasons or not key[1]:
        if len(_reasons) >= _KEPT:
            _reasons.pop(next(iter(_reasons)), None)
        _reasons[key] = explain(Memory(center.workspace), row.id, earlier)
    return _reasons[key]


def live_picture(snapshot: dict[str, Any], run_id: str) -> Markup:
    """The DAG of a run at work; the page's script repaints it as events come."""
    components = {
        c["name"]: Component(c["name"], c["state"], c["seconds"] or 0.0, {})
        for c in snapshot["components"]
        if c["state"] != "waiting"
    }
    return graph.picture(Run(run_id, 0.0, components))


def config_text(center: Center, run_id: str) -> str:
    try:
        return pathlib.Path(center.workspace.run(run_id).config).read_text("utf-8")
    except (OSError, ValueError):
        return ""
