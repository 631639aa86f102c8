"""What can be configured about the models: typed, documented, and data.

Every component takes its options as one JSON exec property; the config file is
these same classes put together (`pipeline/config.py`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field


class Options(pydantic.BaseModel):
    """Base of all options: unknown keys are refused, values do not change."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


Kind = Literal["numeric", "categorical", "ignore"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]


class TaskOptions(Options):
    """What is predicted."""

    label: str = Field(description="Column to predict.")
    type: Literal["binary", "multiclass", "regression"] = Field(description="Kind of problem.")
    positive: str | None = Field(
        None,
        description="Binary only: the value that counts as positive. Default: `1`, `true`, `yes`, "
        "or the later of the two values in alphabetical order.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="`balanced` weighs each row by the inverse frequency of its class while "
        "training. It moves the probabilities: leave it off when they are used as such.",
    )


class PreprocessingOptions(Options):
    """How raw features become numbers, inside the graph."""

    clip_quantile: Annotated[float, Field(ge=0.0, le=0.2)] = Field(
        0.01,
        description="Numeric features are clipped to the range between the quantiles q and 1 - q "
        "of train, widened by its own width on each side.",
    )
    max_vocabulary: Annotated[int, Field(ge=1, le=100_000)] = Field(
        500, description="Most values kept per categorical feature; the rest is out of vocabulary."
    )
    min_frequency: Annotated[int, Field(ge=1)] = Field(
        5, description="A value seen fewer times in train is out of vocabulary."
    )


class NetworkOptions(Options):
    """Shape and training of one network."""

    embedding: Annotated[int, Field(ge=1, le=256)] = Field(
        description="Width of the shared embedding table."
    )
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        description="Units of each hidden layer."
    )
    dropout: Rate = Field(description="Share of activations dropped while training.")
    epochs: Annotated[int, Field(ge=1)] | None = Field(
        description="Most passes over the train split; small tables get more, so that training "
        "takes at least 1,500 steps, unless this is set."
    )
    batch_size: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Rows per step. Default: 128; 512 from 80,000 train rows on; a sixteenth of "
        "the train rows below 2,048.",
    )
    learning_rate: Annotated[float, Field(gt=0.0)] = Field(
        description="Peak of the cosine schedule."
    )
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(description="AdamW's decoupled decay.")
    patience: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Epochs without a better validation loss before training stops. Default: a "
        "third of the epochs, at least 5.",
    )


class TeacherOptions(NetworkOptions):
    """The large model that others learn from."""

    embedding: int = 8
    hidden: tuple[int, ...] = (128, 64)
    dropout: Rate = 0.2
    epochs: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3


class StudentOptions(NetworkOptions):
    """The small model that ships."""

    embedding: int = 4
    hidden: tuple[int, ...] = (16,)
    dropout: Rate = 0.0
    epochs: int | None = None
    learning_rate: float = 1e-2
    weight_decay: float = 0.0


class DistillationOptions(Options):
    """How the student learns from the teacher."""

    temperature: Annotated[float, Field(gt=0.0)] = Field(
        1.0, description="Softens both sides' probabilities before they are compared."
    )
    alpha: Fraction = Field(
        0.0, description="Weight of the true labels; 1 - alpha is the weight of the teacher."
    )
    control_dropout: Rate = Field(
        0.2, description="Dropout of the second control: the same student, regularised."
    )
    extra_data: str | None = Field(
        None,
        description="More rows without labels (CSV or Parquet: file, folder or glob); the teacher "
        "labels them.",
    )
