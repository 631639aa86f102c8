"""The network that a recipe works on, and what it may learn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import tf_keras

from custom_components.tflite_quantizer.compact import Preprocessor
from models import training
from models.graph import Serving
from models.losses import distillation_objective
from models.options import DistillationOptions, NetworkOptions
from models.rows import Rows
from models.spec import ModelSpec

LEARNING_RATE = 1e-3
#: Fine-tuning of a network of convolutions takes so many steps at least: its ranges and its
#: normalisation settle slowly, and there are few images often.
LEAST_IMAGE_STEPS = 400


@dataclasses.dataclass(frozen=True)
class Student:
    """A float network with its rows; every technique answers with a changed copy.

    Attributes:
      contract: What the file takes and answers; never changes.
      spec: The features as the network sees them: vocabularies and their order
        may differ from the contract's.
      options: The network's shape.
      network: `(numeric, ids) -> logits`.
      train, valid: Rows with ids of `spec`.
      logits: `[train rows, units]`, the float network's own: what fine-tuning learns from. Its
        labels or its teacher's answers would lead it elsewhere, into losses against itself.
      epochs: Passes of fine-tuning.
      seed: Of fine-tuning.
      copies: Rows of the embedding table `[n, 2]` that repeat another one:
        (row, repeated row). Fine-tuning moves only the repeated ones.
      hashed: Text feature to those of its values that share a row, with the row among the
        feature's own (`Tables.buckets`); its vocabulary then ends with a word for each bucket.
      layout: Of the graph in front of the network: `direct` is compact without a
        look-up table for integer categories.
    """

    contract: ModelSpec
    spec: ModelSpec
    options: NetworkOptions
    network: tf_keras.Model
    train: Rows
    valid: Rows
    logits: np.ndarray
    epochs: int
    seed: int
    copies: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), int))
    hashed: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    layout: Literal["as_trained", "compact", "direct"] = "as_trained"

    def replace(self, **changes) -> Student:
        return dataclasses.replace(self, **changes)

    def clone(self) -> tf_keras.Model:
        """A copy of the network: annotating in place would change it for the next technique."""
        copy = tf_keras.models.clone_model(self.network)
        copy.set_weights(self.network.get_weights())
        return copy

    def serving(self, network: tf_keras.Model | None = None) -> Serving:
        """Raw features in, prediction out; with another network of the same inputs if given."""
        preprocessor = None
        if self.layout != "as_trained":
            preprocessor = Preprocessor(self.spec, self.layout == "direct", self.hashed)
        return Serving(self.contract, network or self.network, preprocessor)

    def passes(self, steps: int) -> int:
        """Passes over train that make so many steps; of a table's network, one."""
        if not self.spec.image:
            return 1
        each = training.Schedule.of(self.options, len(self.train), 1).steps
        return -(-steps // each)

    def repeated(self, steps: int) -> Student:
        """With its train rows several times over, so that a pass takes about so many steps."""
        times = self.passes(steps)
        if times == 1:
            return self
        index = np.tile(np.arange(len(self.train)), times)
        return self.replace(train=self.train.take(index), logits=self.logits[index])

    def fine_tune(
        self, network: tf_keras.Model, name: str, epochs: int | None = None
    ) -> tf_keras.Model:
        """Trains the network in place on the float network's answers and keeps its best epoch."""
        epochs = epochs or max(self.epochs, self.passes(LEAST_IMAGE_STEPS))
        training.fit(
            network,
            self.spec,
            self.train,
            self.valid,
            self.options.model_copy(
                update={
                    "epochs": epochs,
                    "steps": None,
                    "learning_rate": LEARNING_RATE,
                    "dropout": 0.0,
                }
            ),
            name=name,
            usual_epochs=epochs,
            objective=distillation_objective(self.spec, DistillationOptions()),
            teacher_logits=self.logits,
            seed=self.seed,
        )
        if len(self.copies):
            layer = network.get_layer("embedding")
            [table] = layer.get_weights()
            table[self.copies[:, 0]] = table[self.copies[:, 1]]
            layer.set_weights([table])
        return network
