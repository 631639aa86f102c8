"""What can be configured about the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from models.options import Options

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class SplitOptions(Options):
    """How rows are put into train, eval and test."""

    by: Literal["hash", "key", "time"] = Field(
        "hash",
        description="`hash`: a stable hash of the row. `key`: of one column, so that no group "
        "crosses splits. `time`: oldest rows train, newest test; the honest one wherever the "
        "model will meet the future.",
    )
    column: str | None = Field(None, description="The key or time column; needed for both.")
    train: Share = Field(0.70, description="Share of rows to learn from.")
    eval: Share = Field(0.15, description="Share of rows to choose with.")
    test: Share = Field(0.15, description="Share of rows only the Evaluator sees.")

    @model_validator(mode="after")
    def _whole(self) -> SplitOptions:
        if abs(self.train + self.eval + self.test - 1.0) > 1e-6:
            total = self.train + self.eval + self.test
            raise ValueError(f"train, eval and test must add up to 1, not {total:g}")
        if self.by != "hash" and not self.column:
            raise ValueError(f"split by {self.by} needs `column`")
        return self


Side = Annotated[int, Field(ge=1, le=1024)]


class ImageOptions(Options):
    """The one size that all images are brought to; not looked at without images."""

    height: Side | None = Field(
        None,
        description="Pixels. Default: the size of most images, else the median, at most 96 on "
        "the longer side.",
    )
    width: Side | None = Field(None, description="Pixels; the same default.")
    channels: Literal[1, 3] | None = Field(
        None,
        description="1 for grey, 3 for red, green and blue. Default: 3 if any image has colour.",
    )


class DataOptions(Options):
    """Where the rows come from."""

    path: str = Field(
        description="CSV (also .gz), Parquet or TFRecord of tf.Example: a file, a folder or a "
        "glob; a folder of images with a sub-folder per class; or `demo:chicago-taxi`, "
        "`demo:nyc-flights`, `demo:digits`."
    )
    derive: dict[str, str] = Field(
        default_factory=dict,
        description="New columns as expressions of others, e.g. `big_tipper: tips > 0.2 * fare` "
        "(pandas.eval syntax; missing where an operand is missing; truth values become 0 and 1).",
    )
    split: SplitOptions = Field(default_factory=SplitOptions)
    image: ImageOptions = Field(default_factory=ImageOptions)
