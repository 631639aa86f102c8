"""What a model takes and answers: the contract that travels with every model file.

A `ModelSpec` holds every constant of the preprocessing (computed once, from the
statistics of the train split) and the meaning of the output. It is written as
`model.json` beside each model, so that prediction, evaluation, monitoring and
serving read the same contract and never the training code.

Encoding of the inputs, one `[batch, 1]` tensor per column, named by `ModelSpec.tensors`:
  numeric               float32, NaN where missing
  categorical, integer  float32 holding the whole number, NaN where missing
  categorical, string   bytes (UTF-8), b'' where missing
An image is one `[batch, height, width, channels]` tensor of uint8 pixels, black where missing.

Identifiers inside the model, per categorical feature with vocabulary of size v:
  0 missing, 1 out of vocabulary, 2 .. v+1 the vocabulary in its order.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
from typing import Any, Literal

Task = Literal["binary", "multiclass", "regression"]

SPEC_FILE = "model.json"
MISSING_ID = 0
OUT_OF_VOCABULARY_ID = 1
RESERVED_IDS = 2
OUTPUT_NAMES = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}


@dataclasses.dataclass(frozen=True)
class NumericFeature:
    """A number: imputed with `impute`, clipped to [low, high], then standardised.

    Attributes:
      name: Column.
      impute: Replaces a missing value; the median of the train split.
      low, high: Clipping bounds, from quantiles of the train split.
      mean, std: Moments of the clipped values; std > 0.
      column_type: How the training data held it: `integer` or `real`.
    """

    name: str
    impute: float
    low: float
    high: float
    mean: float
    std: float
    column_type: Literal["integer", "real"] = "real"


@dataclasses.dataclass(frozen=True)
class CategoricalFeature:
    """One of a set of values.

    Attributes:
      name: Column.
      dtype: `integer` (fed as a number) or `string` (fed as bytes).
      vocabulary: The known values as text, most frequent first for strings,
        ascending for integers.
      column_type: How the training data held it: `integer` or `text`.
    """

    name: str
    dtype: Literal["integer", "string"]
    vocabulary: tuple[str, ...]
    column_type: Literal["integer", "text"] = "text"

    @property
    def size(self) -> int:
        """Rows of the embedding table: the vocabulary and the two reserved ids."""
        return len(self.vocabulary) + RESERVED_IDS


@dataclasses.dataclass(frozen=True)
class ImageFeature:
    """A picture, fed as its pixels; files are decoded and resized by `models.images`.

    Attributes:
      name: Column.
      height, width: In pixels.
      channels: 1 grey; 3 red, green, blue.
    """

    name: str
    height: int
    width: int
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    @property
    def words(self) -> str:
        """`uint8 8 x 8 x 1`."""
        return "uint8 " + " x ".join(map(str, self.shape))

    @property
    def size(self) -> int:
        """Values of one picture."""
        return self.height * self.width * self.channels


Feature = NumericFeature | CategoricalFeature | ImageFeature


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Inputs, label and output of a model.

    Attributes:
      task: Kind of problem.
      label: Label column.
      classes: The label's values as text, in output order; binary: (negative,
        positive); empty for regression.
      numeric, categorical: The features in input order.
      target_mean, target_std: Regression only: the network answers in units of
        (y - mean) / std and the exported graph turns that back.
      image: The picture among the features, if there is one; fed after the others.
    """

    task: Task
    label: str
    classes: tuple[str, ...]
    numeric: tuple[NumericFeature, ...]
    categorical: tuple[CategoricalFeature, ...]
    target_mean: float = 0.0
    target_std: float = 1.0
    image: ImageFeature | None = None

    @property
    def features(self) -> tuple[Feature, ...]:
        return self.numeric + self.categorical + ((self.image,) if self.image else ())

    @functools.cached_property
    def tensors(self) -> dict[str, str]:
        """Column to the name of its input tensor: the column's own, as far as TensorFlow allows."""
        taken: dict[str, str] = {}
        for feature in self.features:
            name = re.sub(r"[^A-Za-z0-9_]", "_", feature.name)
            name = name if re.match(r"[A-Za-z]", name) else f"f_{name}"
            unique, number = name, 2
            while unique.lower() in {other.lower() for other in taken.values()}:
                unique, number = f"{name}_{number}", number + 1
            taken[feature.name] = unique
        return taken

    @property
    def output(self) -> str:
        """Name of the output tensor: `probability`, `probabilities` or `value`."""
        return OUTPUT_NAMES[self.task]

    @property
    def units(self) -> int:
        """Width of the last layer: the number of classes, else 1."""
        return len(self.classes) if self.task == "multiclass" else 1

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each categorical feature's rows start in the shared embedding table."""
        starts, total = [], 0
        for feature in self.categorical:
            starts.append(total)
            total += feature.size
        return tuple(starts)

    @property
    def table_size(self) -> int:
        """Rows of the shared embedding table."""
        return sum(feature.size for feature in self.categorical)

    def to_dict(self) -> dict[str, Any]:
        fields = dataclasses.asdict(self)
        if self.image is None:  # a table's contract is written as it always was
            del fields["image"]
        return {"format": 1, **fields}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelSpec:
        data = dict(data)
        if data.pop("format", None) != 1:
            raise ValueError("this model.json was written by a newer Flywheel; upgrade to read it")
        data["classes"] = tuple(data["classes"])
        data["numeric"] = tuple(NumericFeature(**f) for f in data["numeric"])
        data["categorical"] = tuple(
            CategoricalFeature(**{**f, "vocabulary": tuple(f["vocabulary"])})
            for f in data["categorical"]
        )
        if data.get("image"):
            data["image"] = ImageFeature(**data["image"])
        return cls(**data)

    def save(self, folder: str | pathlib.Path) -> None:
        """Writes `model.json` into the folder."""
        path = pathlib.Path(folder) / SPEC_FILE
        path.write_text(json.dumps(self.to_dict(), ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | pathlib.Path) -> ModelSpec:
        """Reads `model.json` from the folder."""
        return cls.from_dict(
            json.loads((pathlib.Path(folder) / SPEC_FILE).read_text(encoding="utf-8"))
        )
