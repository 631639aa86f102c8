"""How the deployed model is watched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.options import Fraction, Options
from monitoring.decisions.options import ThresholdOptions

Count = Annotated[int, Field(ge=1)]
#: `15m`, `1h`, `1d`, `2w`.
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[mhdw]$")]


class WindowOptions(Options):
    """Which predictions are looked at together."""

    by: Literal["time", "count", "batch"] = Field(
        "time",
        description="`time`: windows of equal length. `count`: windows of equally many rows, in "
        "the order they arrived. `batch`: whatever came since the last look.",
    )
    length: Duration = Field(
        "1d",
        description="Length of a window by time: `15m`, `1h`, `1d`, `2w`; starts at 00:00 UTC.",
    )
    rows: Count = Field(10_000, description="Rows of a window by count.")
    grace: Duration = Field(
        "1h",
        description="A window by time closes this long after its end; rows that come later still "
        "count, reopen it and mark it as revised.",
    )


class EstimateOptions(Options):
    """Performance while labels are not there yet."""

    enabled: bool = Field(True, description="Estimate performance without labels.")
    rows: Annotated[int, Field(ge=100)] = Field(
        5000, description="Most rows of a window that the estimate and its band are made from."
    )
    band: Annotated[float, Field(gt=0.5, lt=1.0)] = Field(
        0.95, description="Coverage of the sampling band around the estimate."
    )
    min_labels: Count = Field(
        500,
        description="Labelled reference rows that recalibration needs; without them there is "
        "no estimate.",
    )


class MultivariateOptions(Options):
    """Change that shows only in several features together."""

    enabled: bool = Field(True, description="PCA reconstruction error and a domain classifier.")
    rows: Annotated[int, Field(ge=100)] = Field(
        2000, description="Most rows of either side that are looked at together."
    )
    variance: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.65, description="Share of the reference's variance that the kept components explain."
    )


class ShippedOptions(Options):
    """What is watched of the file that serves."""

    shadow_rows: Annotated[int, Field(ge=0)] = Field(
        1000,
        description="Most rows of a window that are predicted again, to see that the file here "
        "answers as the one that served. 0: none.",
    )
    float_model: str | None = Field(
        None,
        description="Folder of the float student (Model artifact) to compare the file with. "
        "Default: the one that the deployed version carries, if it does.",
    )


class MonitoringOptions(Options):
    """Windows, measures and thresholds."""

    log: str = Field(
        ".flywheel/predictions", description="Folder of the prediction log; relative to this file."
    )
    log_predictions: bool = Field(True, description="Whether `flywheel predict` writes to the log.")
    store: str | None = Field(
        None,
        description="SQLAlchemy URL of the store of windows, e.g. "
        "`postgresql+pg8000://user@host/name`. Default: a SQLite file under `root`.",
    )
    window: WindowOptions = Field(default_factory=WindowOptions)
    season: Duration = Field(
        "7d", description="Windows are also compared with the one this long before."
    )
    slices: tuple[str, ...] = Field(
        (), description="Columns by whose values everything is also measured separately."
    )
    max_slices: Count = Field(20, description="Most values of a slice column; the commonest.")
    min_rows: Count = Field(
        50, description="A window or slice with fewer rows is counted and not judged."
    )
    bins: Annotated[int, Field(ge=2, le=200)] = Field(
        10,
        description="Quantile bins of the reference, per numeric feature; two more lie beyond "
        "its range.",
    )
    reference: str | None = Field(
        None,
        description="Rows to hold the windows against, with their labels where there are any (CSV "
        "or Parquet: file, folder or glob). Default: the training statistics that the deployed "
        "version carries, and `data.path` for what needs rows.",
    )
    confidence: Fraction = Field(0.95, description="Coverage of the intervals of realised metrics.")
    freshness: Duration = Field(
        "1d", description="A log without a row for so long is said to be stale."
    )
    multivariate: MultivariateOptions = Field(default_factory=MultivariateOptions)
    estimate: EstimateOptions = Field(default_factory=EstimateOptions)
    shipped: ShippedOptions = Field(default_factory=ShippedOptions)
    thresholds: ThresholdOptions = Field(default_factory=ThresholdOptions)
