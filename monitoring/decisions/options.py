"""How large a change must be before it is a finding."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from models.options import Options

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Size = Annotated[float, Field(ge=0.0)]


class FloorOptions(Options):
    """Changes smaller than these are no finding, however sure they are."""

    psi: Size = Field(0.01, description="PSI of a feature, the prediction or the label.")
    ks: Size = Field(0.02, description="Kolmogorov-Smirnov distance.")
    rate: Size = Field(
        0.005, description="Change of the share of missing, new, mistyped or non-zero rows."
    )
    relative: Size = Field(
        0.1, description="Relative change of a non-zero mean, and of the rate of a label."
    )
    latency: Annotated[float, Field(ge=1.0)] = Field(
        1.5, description="Latency, as a multiple of the earlier windows' median."
    )
    volume: Annotated[float, Field(ge=1.0)] = Field(
        3.0, description="Rows, as a multiple (or fraction) of the earlier windows' median."
    )
    performance: Size = Field(
        0.01,
        description="Fall of a metric: absolute for shares (AUC, accuracy …), relative for "
        "losses and errors.",
    )


class ThresholdOptions(Options):
    """Fixed thresholds, or thresholds learnt so that false alarms are as rare as asked for."""

    mode: Literal["learnt", "fixed"] = Field(
        "learnt",
        description="`learnt`: from the reference, for `false_alarms`. `fixed`: `fixed` alone "
        "decides.",
    )
    false_alarms: Share = Field(
        0.01,
        description="Share of windows with any false alarm of data drift, all features together.",
    )
    rows: Literal["auto", "independent", "blocks"] = Field(
        "auto",
        description="`independent`: known laws of chance. `blocks`: whole days of the reference "
        "are resampled at the window's length, as rows of one day are alike. `auto`: blocks "
        "where the reference has times on at least `min_blocks` days.",
    )
    min_blocks: Annotated[int, Field(ge=5)] = Field(
        20, description="Days that a reference needs for its days to be resampled."
    )
    resamples: Annotated[int, Field(ge=100, le=100_000)] = Field(
        1000, description="Windows resampled from the reference."
    )
    floors: FloorOptions = Field(default_factory=FloorOptions)
    fixed: dict[str, Size] = Field(
        {},
        description="Threshold of a statistic (`psi: 0.2`) or of one feature's "
        "(`fare/psi: 0.1`); goes before a learnt one.",
    )
    persistence: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="In so many of the last `persistence_of` windows a threshold is exceeded."
    )
    persistence_of: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="Windows looked back at, the present one included."
    )
    min_importance: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.01,
        description="A feature with a smaller share of the model's importance drifts as "
        "information, not as an alarm.",
    )
    power: Share = Field(
        0.8, description="Probability with which the smallest visible shift would be found."
    )

    @pydantic.model_validator(mode="after")
    def _some_of_them(self) -> ThresholdOptions:
        if self.persistence > self.persistence_of:
            raise ValueError("persistence cannot exceed persistence_of")
        return self
