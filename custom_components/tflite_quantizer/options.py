"""What can be configured about quantization."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.options import Options


class QuantizerOptions(Options):
    """Which variants are made and which may ship."""

    recipes: tuple[str, ...] = Field(
        ("float32", "float16", "dynamic_range", "int8_ptq", "int8_qat"),
        description="Recipes to try, by name.",
    )
    max_drop: Annotated[float, Field(ge=0.0)] = Field(
        0.003,
        description="Most quality a variant may lose against the float student on eval: AUC "
        "(binary), accuracy (multiclass), R² (regression). The smallest file within it ships.",
    )
    representative_rows: Annotated[int, Field(ge=1)] = Field(
        1000, description="Train rows that calibrate post-training int8."
    )
    qat_epochs: Annotated[int, Field(ge=1)] = Field(
        5, description="Passes of quantization-aware fine-tuning."
    )
    timeout_seconds: Annotated[int, Field(ge=1)] = Field(
        300, description="A recipe that takes longer is given up; the run goes on."
    )
    memory_mb: Annotated[int, Field(ge=512)] = Field(
        8192, description="A recipe that needs more memory is given up; the run goes on."
    )
