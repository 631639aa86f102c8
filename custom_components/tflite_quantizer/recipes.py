"""Recipes: how a variant is made, as data.

A recipe names what happens to the weights and the activations of the dense
layers, and how the activations' ranges are found. Preprocessing always stays in
float: raw ranges share one scale with missing-value marks otherwise, which cost
1.4 AUC points when measured. A user adds one with `register(Recipe(...))`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from models.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to turn a float network into a TFLite file.

    Attributes:
      name: Unique, lower snake case.
      weights: Type the weights are stored in.
      activations: `int8` computes the dense layers in integers.
      ranges: Where the activations' ranges come from: nothing, representative
        rows after training, or fine-tuning with simulated quantization.
      summary: One sentence for people.
    """

    name: str
    weights: Literal["float32", "float16", "int8"]
    activations: Literal["float", "int8"] = "float"
    ranges: Literal["none", "representative", "aware"] = "none"
    summary: str = ""


_REGISTRY: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Makes a recipe known by its name."""
    if recipe.name in _REGISTRY:
        raise ValueError(f"a recipe named {recipe.name!r} is registered already")
    _REGISTRY[recipe.name] = recipe
    return recipe


def names() -> tuple[str, ...]:
    """All known recipes, in the order of their registration."""
    return tuple(_REGISTRY)


def get(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
      ConfigError: UNKNOWN_RECIPE, naming the closest.
    """
    if name not in _REGISTRY:
        from models.text import did_you_mean

        raise ConfigError(
            "UNKNOWN_RECIPE",
            f"There is no quantization recipe {name!r}.{did_you_mean(name, _REGISTRY)}",
            next=f"Known recipes: {', '.join(_REGISTRY)}.",
        )
    return _REGISTRY[name]


register(Recipe("float32", "float32", summary="The student as trained."))
register(Recipe("float16", "float16", summary="Weights stored in 16 bits, computed in 32."))
register(
    Recipe("dynamic_range", "int8", summary="Large weights stored in 8 bits, activations float.")
)
register(
    Recipe(
        "int8_ptq",
        "int8",
        "int8",
        "representative",
        "Dense layers in 8-bit integers, ranges from representative train rows.",
    )
)
register(
    Recipe(
        "int8_qat",
        "int8",
        "int8",
        "aware",
        "Dense layers in 8-bit integers, fine-tuned with simulated quantization.",
    )
)
