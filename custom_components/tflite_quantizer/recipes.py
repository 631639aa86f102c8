"""Recipes: how a variant is made, as data.

A recipe names what happens to the weights, the activations and the tables of a
float network, and how. It is made of frozen dataclasses, goes to JSON and back
(`to_dict`, `from_dict`), and joins the registry with `register(Recipe(...))` or
under `quantizer.custom_recipes` in flywheel.yaml. Those that come with Flywheel
are in `builtin.py`. Imports no TensorFlow.

Preprocessing always stays in float: raw ranges share one scale with missing-value
marks otherwise, which cost 1.4 AUC points when measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pydantic

from custom_components.tflite_quantizer.builtin import RECIPES
from custom_components.tflite_quantizer.recipe import Clustering, Edge, Recipe, Sparsity, Tables
from models.errors import ConfigError
from models.text import did_you_mean

__all__ = [
    "Clustering",
    "Edge",
    "Recipe",
    "Sparsity",
    "Tables",
    "from_dict",
    "get",
    "names",
    "register",
]

_ADAPTER: pydantic.TypeAdapter[Recipe] = pydantic.TypeAdapter(Recipe)
_REGISTRY: dict[str, Recipe] = {}


def from_dict(fields: Mapping[str, Any]) -> Recipe:
    """A recipe from its fields; what is left out has its default.

    Raises:
      ConfigError: RECIPE_INVALID, naming every key that is unknown or wrong.
    """
    name = fields.get("name", "?")
    try:
        # Through JSON, so that lists become tuples and types are checked as in a file.
        return _ADAPTER.validate_python(dict(fields))
    except pydantic.ValidationError as error:
        problems = [_problem(found) for found in error.errors()]
        text = "; ".join(problems)
        raise ConfigError(
            "RECIPE_INVALID",
            f"The recipe `{name}` cannot be read: {text if text.endswith('?') else text + '.'}",
            next="Known keys: "
            + ", ".join(f.name for f in dataclasses.fields(Recipe))
            + "; docs/optimization.md describes them.",
            cases=[{"recipe": name, "problem": problem} for problem in problems],
        ) from None


def _problem(found: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in found["loc"])
    if found["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        owner = {
            "sparsity": Sparsity,
            "clustering": Clustering,
            "tables": Tables,
            "edge": Edge,
        }.get(str(found["loc"][0]) if len(found["loc"]) > 1 else "", Recipe)
        known = [f.name for f in dataclasses.fields(owner)]
        return f"unknown key `{key}`.{did_you_mean(str(found['loc'][-1]), known)}".rstrip(".")
    text = found["msg"].removeprefix("Value error, ")
    return f"`{key}`: {text}" if key else text


def register(recipe: Recipe) -> Recipe:
    """Makes a recipe known by its name."""
    if recipe.name in _REGISTRY:
        raise ValueError(f"a recipe named {recipe.name!r} is registered already")
    _REGISTRY[recipe.name] = recipe
    return recipe


def names() -> tuple[str, ...]:
    """All known recipes, in the order of their registration."""
    return tuple(_REGISTRY)


def get(name: str, custom: Mapping[str, Mapping[str, Any]] | None = None) -> Recipe:
    """The recipe of that name.

    Args:
      name: Of a registered recipe or of a key of `custom`.
      custom: Name to fields, as `quantizer.custom_recipes` holds them.

    Raises:
      ConfigError: UNKNOWN_RECIPE, naming the closest; RECIPE_INVALID.
    """
    if custom and name in custom:
        return from_dict({**custom[name], "name": name})
    if name not in _REGISTRY:
        known = (*_REGISTRY, *(custom or ()))
        raise ConfigError(
            "UNKNOWN_RECIPE",
            f"There is no quantization recipe {name!r}.{did_you_mean(name, known)}",
            next=f"Known recipes: {', '.join(known)}.",
        )
    return _REGISTRY[name]


for _recipe in RECIPES:
    register(_recipe)
