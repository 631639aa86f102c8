"""What can be configured about the models: typed, documented, and data.

Every component takes its options as one JSON exec property; the config file is
these same classes put together (`pipeline/config.py`).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from models.strict import Options

Kind = Literal["numeric", "categorical", "image", "ignore"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


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
    most_rows: Annotated[int, Field(ge=1000)] = Field(
        1_000_000,
        description="Of larger train splits the networks learn from so many rows, drawn at random "
        "and held in memory; of eval, a fifth as many. Statistics and evaluation take all rows.",
    )

    def most(self) -> dict[str, int]:
        """Split to the rows of it that are held in memory."""
        return {"train": self.most_rows, "eval": self.most_rows // 5}


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


Embedding = Annotated[int, Field(ge=1, le=256, description="Width of the shared embedding table.")]
Hidden = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096)], ...],
    Field(description="Units of each hidden layer; with images, after the convolutions."),
]
Filters = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1024)], ...] | None,
    Field(
        description="Images only: filters of each convolution block; the picture halves from block "
        "to block. Default: as many blocks as leave 2 pixels on a side, twice the filters in "
        "each: 32 to 128 for the teacher, 16 to 64 for the student."
    ),
]
Dropout = Annotated[
    float, Field(ge=0.0, lt=1.0, description="Share of activations dropped while training.")
]
Frequencies = Annotated[
    int | None,
    Field(
        ge=0,
        le=512,
        description="Periodic embedding of each numeric feature: how many learnt frequencies; 0 "
        "for none. Default for the teacher: 24 from 2,048 train rows on.",
    ),
]
Convolution = Annotated[
    Literal["full", "separable"],
    Field(
        description="Images only. `full`: two convolutions of 3 x 3 per block. `separable`: a "
        "depthwise one of 3 x 3 and one of 1 x 1, which takes about an eighth of the weights."
    ),
]
LearningRate = Annotated[float, Field(gt=0.0, description="Peak of the cosine schedule.")]
WeightDecay = Annotated[float, Field(ge=0.0, description="AdamW's decoupled weight decay.")]
Count = Annotated[int, Field(ge=1)]


class NetworkOptions(Options):
    """Shape and training of one network."""

    embedding: Embedding
    hidden: Hidden
    dropout: Dropout
    learning_rate: LearningRate
    weight_decay: WeightDecay
    frequencies: Frequencies = 0
    epochs: Count | None = Field(
        None,
        description="Most passes over the train split. Default: 14 for the teacher, 60 for the "
        "student, within what makes 1,500 to 7,500 steps; with images 30 and 60, within 300 to "
        "3,000 steps.",
    )
    steps: Count | None = Field(
        None, description="Steps in all, instead of `epochs`; may be less than one pass."
    )
    batch_size: Count | None = Field(
        None,
        description="Rows per step. Default: 128; 512 from 80,000 train rows on; a sixteenth of "
        "the train rows below 2,048.",
    )
    patience: Count | None = Field(
        None,
        description="Epochs without a better validation loss before training stops. Default: a "
        "third of the epochs, at least 5.",
    )
    filters: Filters = None
    convolution: Convolution = "full"

    def blocks(self, height: int, width: int) -> tuple[int, ...]:
        """Filters of each block for images of a size."""
        if self.filters is not None:
            return self.filters
        first = 16 if self.convolution == "separable" else 32
        count = 1 + math.ceil(math.log2(max(min(height, width), 2) / 2))
        return tuple(first * min(4, 2**i) for i in range(max(2, min(count, 6))))


class TeacherOptions(NetworkOptions):
    """The large model that others learn from."""

    embedding: Embedding = 8
    hidden: Hidden = (128, 64)
    dropout: Dropout = 0.2
    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 1e-3
    frequencies: Frequencies = None

    def for_rows(self, rows: int) -> TeacherOptions:
        """The same options with what depends on the number of train rows filled in."""
        if self.frequencies is not None:
            return self
        return self.model_copy(update={"frequencies": 24 if rows >= 2048 else 0})


class SearchOptions(Options):
    """Shapes of the student to try before it is trained; nothing is searched while both are empty.

    Every embedding width with every choice of hidden layers, by successive halving: all for a few
    epochs, the better half for twice as many, and the last two in full. The smaller of these wins
    unless its loss on eval is higher by more than one standard error.
    """

    embeddings: tuple[Count, ...] = Field(
        (), description="Embedding widths to try, e.g. `[2, 4, 8]`. Empty: the student's own."
    )
    hidden: tuple[tuple[Count, ...], ...] = Field(
        (),
        description="Hidden layers to try, e.g. `[[8], [16], [16, 8]]`. Empty: the student's own.",
    )
    first_epochs: Count = Field(4, description="Epochs of the first round; doubled in each.")


class StudentOptions(NetworkOptions):
    """The small model that ships."""

    embedding: Embedding = 4
    hidden: Hidden = (16,)
    dropout: Dropout = 0.0
    learning_rate: LearningRate = 3e-3
    weight_decay: WeightDecay = 0.0
    convolution: Convolution = "separable"
    search: SearchOptions = Field(default_factory=SearchOptions)


TeacherName = Literal["network", "ensemble", "trees"]


class DistillationOptions(Options):
    """How the student learns from the teacher."""

    teachers: tuple[TeacherName, ...] = Field(
        ("network", "trees"),
        min_length=1,
        description="Who may label the rows for the student: `network` (the Trainer's), `ensemble` "
        "(the mean of several such networks), `trees` (the gradient-boosted reference, which is "
        "trained anyway). The one with the lowest loss on eval does, or their mean where that is "
        "lower still.",
    )
    ensemble: Annotated[int, Field(ge=2, le=20)] = Field(
        3, description="Networks of the teacher `ensemble`, the Trainer's among them."
    )
    seeds: Annotated[int, Field(ge=1, le=50)] = Field(
        1,
        description="How often the student and both controls are trained, each time from another "
        "seed. The best student on eval goes on; from two seeds on, the report has the gain with "
        "its interval over seeds, else over the rows of eval alone.",
    )
    temperature: Annotated[float, Field(gt=0.0)] = Field(
        1.0, description="Softens both sides' probabilities before they are compared."
    )
    alpha: Fraction = Field(
        0.0, description="Weight of the true labels; 1 - alpha is the weight of the teacher."
    )
    hint: Annotated[float, Field(ge=0.0)] = Field(
        0.0,
        description="Weight of the hint loss: the student's last hidden layer also learns to "
        "tell, through a linear map that is thrown away, the last hidden layer of the Trainer's "
        "network. 0 for none.",
    )
    calibrate: bool = Field(
        True,
        description="Classification only: divides the logits of the network that goes on by a "
        "temperature fitted on eval, where that lowers the log loss of held-out rows beyond "
        "chance. It is folded into the weights: the file does not grow, and ranking stays.",
    )
    control_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.2, description="Dropout of the second control: the same student, regularised."
    )
    extra_data: str | None = Field(
        None,
        description="More rows without labels (CSV or Parquet: file, folder or glob); the teacher "
        "labels them.",
    )
