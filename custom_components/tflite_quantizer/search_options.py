"""What can be configured about the search for a variant."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.options import Options

Objective = Literal["bytes", "gzip", "latency"]


class SearchOptions(Options):
    """The search for the best variant beyond the recipes that are named."""

    trials: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0,
        description="Recipes to try, the built-in ones first. 0: no search. 25 usually come "
        "within a tenth of the best of all combinations.",
    )
    minutes: Annotated[float, Field(gt=0.0)] = Field(
        30.0,
        description="Most time it takes, interruptions not counted. What was found by then counts.",
    )
    objective: Objective = Field(
        "bytes",
        description="What is made small: `bytes` of the file, `gzip` of it (what a phone downloads "
        "in a package), or the median `latency` of one row.",
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        0, description="Of the order in which recipes are tried; the same seed, the same trials."
    )
