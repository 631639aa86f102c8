"""What can be configured about the data gate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.options import Options

Action = Literal["block", "warn", "ignore"]

#: Reason codes and what happens on each unless the config says otherwise.
DEFAULT_POLICY: dict[str, Action] = {
    "COLUMN_MISSING": "block",
    "COLUMN_NEW": "warn",
    "COLUMN_RENAMED": "block",
    "TYPE_CHANGED": "block",
    "DOMAIN_UNEXPECTED_VALUES": "warn",
    "PRESENCE_LOW": "warn",
    "SCHEMA_ANOMALY": "warn",
    "LABEL_UNUSABLE": "block",
    "TOO_FEW_ROWS": "block",
    "ROWS_LOST": "block",
    "SPLIT_MISMATCH": "warn",
    "DRIFT_CATEGORICAL": "warn",
    "DRIFT_NUMERIC": "warn",
}


class ValidationOptions(Options):
    """When data is good enough to train on."""

    schema_path: str | None = Field(
        None, description="A curated schema (schema.pbtxt). Default: inferred from train."
    )
    policy: dict[str, Action] = Field(
        default_factory=dict,
        description="What to do per reason code: `block`, `warn` or `ignore`. Defaults: "
        + ", ".join(f"{code} {action}" for code, action in DEFAULT_POLICY.items())
        + ".",
    )
    min_rows: Annotated[int, Field(ge=10)] = Field(
        50, description="Fewer rows than this in all splits together block the run."
    )
    min_label_rows: Annotated[int, Field(ge=1)] = Field(
        2, description="Fewer train rows of a class than this block the run."
    )
    tolerance: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.01,
        description="Against a schema that was inferred: values outside the domain, or missing "
        "cells, in no more than this share of a split's rows are noted and not judged.",
    )
    linf_threshold: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.1, description="Drift of a categorical feature: largest change of one value's share."
    )
    psi_threshold: Annotated[float, Field(gt=0.0)] = Field(
        0.1, description="Drift of any feature: population stability index."
    )
    jsd_threshold: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.02, description="Drift of a numeric feature: Jensen-Shannon divergence in bits."
    )
    p_value: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        0.001,
        description="A threshold alone is not drift: a difference that chance would show with "
        "this probability or more, in samples of this size, is not reported.",
    )

    def action(self, code: str) -> Action:
        """What to do about a reason code."""
        return self.policy.get(code, DEFAULT_POLICY.get(code, "warn"))
