"""What can be configured about quantization."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from custom_components.tflite_quantizer import recipes
from custom_components.tflite_quantizer.picks import Limits
from custom_components.tflite_quantizer.search_options import SearchOptions
from models.options import Options


class QuantizerOptions(Options):
    """Which variants are made and which may ship."""

    recipes: tuple[str, ...] = Field(
        ("float32", "float16", "dynamic_range", "int8_ptq", "int8_qat"),
        description="Recipes to try, by name.",
    )
    custom_recipes: dict[str, dict[str, Any]] = Field(
        {},
        description="Recipes of your own: a name, and under it the fields of a recipe. Tried when "
        "`recipes` names them.",
    )
    pick: Literal["quality", "balanced", "compact"] = Field(
        "balanced",
        description="Which variant ships. `quality`: the smallest of which no loss can be shown; "
        "`balanced`: the smallest within the bounds below; `compact`: the smallest within three "
        "times these bounds.",
    )
    max_drop: Annotated[float, Field(ge=0.0)] = Field(
        0.003,
        description="Most quality a variant may lose against the float student on eval: AUC "
        "(binary), accuracy (multiclass), R² (regression). The whole 95 % interval of the loss "
        "must stay within it.",
    )
    max_drop_slice: Annotated[float, Field(ge=0.0)] = Field(
        0.02,
        description="The same in every slice: the rows of one value of one categorical feature.",
    )
    min_slice_rows: Annotated[int, Field(ge=1)] = Field(
        200, description="Slices with fewer eval rows are not judged."
    )
    max_bytes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Largest file that may ship."
    )
    max_latency_us: Annotated[float, Field(gt=0.0)] | None = Field(
        None,
        description="Largest median latency of one row that may ship, in microseconds, measured "
        "where the pipeline runs.",
    )
    search: SearchOptions = SearchOptions()
    sensitivity: bool = Field(
        False,
        description="Also quantize one layer at a time and show which of them bears 8 bits; costs "
        "a conversion for each layer. A search then tries to leave the worst in float.",
    )
    representative_rows: Annotated[int, Field(ge=1)] = Field(
        1000, description="Train rows that calibrate post-training int8."
    )
    most_rows: Annotated[int, Field(ge=1000)] = Field(
        250_000,
        description="Of larger train and eval splits the variants are fine-tuned and judged on so "
        "many rows, drawn at random and held in memory.",
    )
    qat_epochs: Annotated[int, Field(ge=1)] = Field(
        5, description="Passes of every fine-tuning: simulated quantization, pruning, clustering."
    )
    timeout_seconds: Annotated[int, Field(ge=1)] = Field(
        300, description="A recipe that takes longer is given up; the run goes on."
    )
    memory_mb: Annotated[int, Field(ge=512)] = Field(
        8192, description="A recipe that needs more memory is given up; the run goes on."
    )

    @model_validator(mode="after")
    def _custom_recipes_are_readable(self) -> QuantizerOptions:
        for name in self.custom_recipes:
            recipes.get(name, self.custom_recipes)
            if name in recipes.names():
                raise ValueError(f"`custom_recipes.{name}` has the name of a built-in recipe")
        return self

    def limits(self) -> Limits:
        """The bounds that the picks keep."""
        return Limits(self.max_drop, self.max_drop_slice, self.max_bytes, self.max_latency_us)

    def chosen(self) -> tuple[recipes.Recipe, ...]:
        """The recipes to try.

        Raises:
          ConfigError: UNKNOWN_RECIPE, naming the closest.
        """
        return tuple(recipes.get(name, self.custom_recipes) for name in self.recipes)
