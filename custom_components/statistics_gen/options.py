"""What can be configured about the statistics."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.options import Options


class StatisticsOptions(Options):
    """How statistics are computed."""

    engine: Literal["local", "beam"] = Field(
        "local",
        description="`local`: in this process, a few thousand rows at a time. `beam`: TFX's own "
        "executor, on whatever runner the pipeline's beam arguments name.",
    )
    categorical_integers: tuple[str, ...] = Field(
        (),
        description="Columns whose integers are names, not amounts: their values are counted. "
        "Columns of another type may be listed too; nothing changes for them.",
    )
    images: tuple[str, ...] = Field(
        (), description="Columns of images: their bytes are counted, not listed as values."
    )
    max_values: Annotated[int, Field(ge=1000)] = Field(
        50_000,
        description="Most distinct values of a categorical column that are all kept and counted "
        "exactly (TFX: 20 and 1,000).",
    )
    quantiles: Annotated[int, Field(ge=10)] = Field(
        100, description="Buckets of the quantiles histogram of a numeric column (TFX: 10)."
    )
