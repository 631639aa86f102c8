"""What each technique bought: from the teacher to the file that ships, one real file per step.

Each step changes one thing, and its file was made and measured in this run. A technique that
the shipped recipe does not use is no step; one that it uses, and of which the run made no file
by itself, goes with the next step. Both are said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipeline.report import svg, words

WIDTH, _LEFT, _RIGHT, _ROW = 640, 175, 150, 30
_CHARACTERS = 22  # of a name that fit to the left of the bars
_TABLES = {"layout": "compact", "coverage": 1.0}
_FLOAT = {"weights": "float32", "activations": "float", "ranges": "none"}
#: What a recipe is made of beside its steps.
_ASIDE = ("name", "summary", "least_elements", "slim")


@dataclasses.dataclass(frozen=True)
class Step:
    """One file on the way.

    Attributes:
      name: Of the technique.
      file: Which variant it is.
      bytes: Its size.
      quality: Of the file on eval.
      saved: Bytes less than the step before; None for the first.
      change: Of quality against the step before; None for the first.
    """

    name: str
    file: str
    bytes: int
    quality: float | None
    saved: int | None = None
    change: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Waterfall:
    """Attributes:
    steps: From the teacher to the file that ships.
    left_out: What is no step, and why, as sentences.
    """

    steps: tuple[Step, ...]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"steps": [s.to_dict() for s in self.steps], "left_out": list(self.left_out)}


def waterfall(report: Mapping[str, Any]) -> Waterfall:
    """The steps of the shipped variant.

    Args:
      report: `variants.json`.

    Returns:
      No steps where nothing ships or the recipes are not known.
    """
    metric, recipes = report.get("primary_metric"), report.get("recipes") or {}
    made = {v["recipe"]: v for v in report.get("variants") or [] if v.get("bytes")}
    shipped = next((v for v in made.values() if v.get("state") == "shipped"), None)
    if shipped is None or shipped["recipe"] not in recipes:
        return Waterfall((), ())
    recipe = recipes[shipped["recipe"]]
    steps: list[Step] = []
    left_out: list[str] = []
    waiting: list[str] = []

    def step(name: str, file: str, found: Mapping[str, Any]) -> None:
        quality = (found.get("metrics") or {}).get(metric)
        before = steps[-1] if steps else None
        known = before and words.is_number(before.quality) and words.is_number(quality)
        steps.append(
            Step(
                " + ".join((*waiting, name)),
                file,
                found["bytes"],
                quality if words.is_number(quality) else None,
                before.bytes - found["bytes"] if before else None,
                quality - before.quality if known else None,
            )
        )
        waiting.clear()

    teacher = report.get("teacher") or {}
    if teacher.get("bytes"):
        step("teacher", "teacher_float32", teacher)
    else:
        left_out.append("The teacher's own file was not made.")
    unused = [name for name, wanted in _wanted(recipe) if wanted is None]
    if unused:
        left_out.append(f"Not part of `{shipped['name']}`: {', '.join(unused)}.")
    for name, wanted in _wanted(recipe):
        if wanted is None:
            continue
        if file := _made(wanted, recipe, recipes, made, shipped):
            if not steps or steps[-1].file != file["name"]:
                step(name, file["name"], file)
        else:
            waiting.append(name)
            left_out.append(
                f"{name.capitalize()} has no step of its own: the run made no file with that alone."
            )
    return Waterfall(tuple(steps), tuple(left_out)) if len(steps) > 1 else Waterfall((), ())


def _wanted(recipe: Mapping[str, Any]) -> list[tuple[str, dict[str, Any] | None]]:
    """Each technique with the recipe up to it; None where the shipped one does not use it."""
    plain = {**_FLOAT, "tables": {**_TABLES, "layout": "as_trained"}}
    compact = {**_FLOAT, "tables": _TABLES}
    pruned = {**compact, "sparsity": recipe.get("sparsity")}
    shared = {**pruned, "clustering": recipe.get("clustering")}
    quantized = {**recipe, "tables": _TABLES}
    tables = recipe.get("tables") or {}
    reduced = tables.get("coverage", 1.0) < 1.0 or tables.get("width") is not None
    compacted = tables.get("layout") == "compact"
    integers = recipe.get("weights") != "float32"
    return [
        ("student", plain),
        ("compact graph", compact if compacted else None),
        ("pruned", pruned if recipe.get("sparsity") else None),
        ("clustered", shared if recipe.get("clustering") else None),
        ("quantized", quantized if integers else None),
        ("tables reduced", dict(recipe) if reduced else None),
    ]


def _made(
    wanted: Mapping[str, Any],
    recipe: Mapping[str, Any],
    recipes: Mapping[str, Any],
    made: Mapping[str, dict[str, Any]],
    shipped: dict[str, Any],
) -> dict[str, Any] | None:
    """The run's variant that means the same; the shipped one where that is asked for."""
    if _meaning(wanted) == _meaning(recipe):
        return shipped
    found = [
        made[name]
        for name, fields in recipes.items()
        if name in made and _meaning(fields) == _meaning(wanted)
    ]
    same = [v for v in found if _least(recipes, v) == recipe.get("least_elements")]
    return next(iter(same or found), None)


def _least(recipes: Mapping[str, Any], variant: Mapping[str, Any]) -> Any:
    return recipes[variant["recipe"]].get("least_elements")


def _meaning(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe does, without what is empty."""
    found = {key: value for key, value in recipe.items() if value and key not in _ASIDE}
    tables = {key: value for key, value in (found.get("tables") or {}).items() if value}
    return {**found, "tables": tables}


def picture(found: Waterfall, metric: str) -> Markup:
    """The steps as bars: what is left, and what went with each."""
    if not found.steps:
        return Markup("")
    most = max(step.bytes for step in found.steps)
    unit = (WIDTH - _LEFT - _RIGHT) / most
    height = _ROW * len(found.steps) + 6
    parts = [svg.line(_LEFT, 0, _LEFT, height, "axis")]
    for place, step in enumerate(found.steps):
        top, wide = place * _ROW + 4, max(step.bytes * unit, 1.5)
        before = step.bytes + step.saved if step.saved else step.bytes
        tip = f"{step.name} ({step.file}): {words.size(step.bytes)}, {_gain(step, metric)}"
        name = words.short(step.name, _CHARACTERS)
        parts.append(svg.text(_LEFT - 8, top + 15, name, anchor="end"))
        if before > step.bytes:
            gone = (before - step.bytes) * unit
            parts.append(svg.rectangle(_LEFT + wide, top + 3, gone, _ROW - 12, "bar faint", tip))
        parts.append(svg.rectangle(_LEFT, top + 3, wide, _ROW - 12, "bar", tip))
        text = words.size(step.bytes)
        if step.saved is not None and before:
            text += f" ({words.percent(abs(step.saved) / before)} {_word(step.saved)})"
        parts.append(svg.text(_LEFT + max(before, step.bytes) * unit + 6, top + 15, text))
    label = "Bytes from the teacher to the file that ships: " + ", ".join(
        f"{step.name} {words.size(step.bytes)}" for step in found.steps
    )
    return svg.picture(WIDTH, height, label, *parts)


def _word(saved: int) -> str:
    return "less" if saved >= 0 else "more"


def _gain(step: Step, metric: str) -> str:
    return f"{words.metric_name(metric)} {words.metric(step.quality)}"
