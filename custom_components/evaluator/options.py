"""What can be configured about the evaluation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.options import Options


class EvaluationOptions(Options):
    """When a candidate is good enough to ship.

    Quality is AUC for binary, accuracy for multiclass and R² for regression models.
    """

    slices: tuple[tuple[str, ...], ...] = Field(
        (),
        description="Columns (or combinations of columns) whose every value is judged on its own, "
        "e.g. `[[payment_type], [trip_start_hour]]`.",
    )
    min_slice_rows: Annotated[int, Field(ge=1)] = Field(
        100, description="Slices with fewer test rows are shown but not judged."
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict,
        description="Bounds on the candidate's own metrics over all test rows: a lower bound for "
        "auc, accuracy, r2 …, an upper one for log_loss, mae, rmse …. Unless you bound it "
        "yourself, quality must be better than a constant answer's (auc ≥ 0.55; accuracy above "
        "the largest class; r2 ≥ 0).",
    )
    max_drop_teacher: Annotated[float, Field(ge=0.0)] = Field(
        0.01, description="Most quality lost against the teacher, over all test rows."
    )
    max_drop_teacher_slice: Annotated[float, Field(ge=0.0)] = Field(
        0.05, description="The same for each judged slice."
    )
    max_drop_champion: Annotated[float, Field(ge=0.0)] = Field(
        0.002, description="Most quality lost against the deployed model, over all test rows."
    )
    max_drop_champion_slice: Annotated[float, Field(ge=0.0)] = Field(
        0.05, description="The same for each judged slice."
    )
    confidence: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.95,
        description="A drop beyond these limits counts when it is larger than chance explains on "
        "so few rows, at this confidence (paired, on the same rows; shared out among the judged "
        "slices). 0: every drop counts.",
    )
