"""The training loop: a whole epoch is one call into the graph.

Small networks on tables are bound by Python, not by arithmetic: with the loop
inside the graph a step costs what its operations cost.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import tensorflow as tf
import tf_keras

from models import progress
from models.losses import Objective, label_objective, task_loss
from models.options import NetworkOptions
from models.predictor import batch_rows
from models.rows import Rows
from models.spec import ModelSpec

LEAST_STEPS, MOST_STEPS = 1500, 7500
IMAGE_STEPS = (300, 3000)
EVALUATION_ROWS = 8192


@dataclasses.dataclass(frozen=True)
class Curves:
    """How training went, a value per epoch.

    Attributes:
      name: Of the network.
      train_loss: Mean objective over the epoch's steps.
      eval_loss: Task loss on the eval split after the epoch.
      best_epoch: Whose weights were kept, counted from 1.
      batch_size, steps: Rows per step and steps per epoch.
    """

    name: str
    train_loss: tuple[float, ...]
    eval_loss: tuple[float, ...]
    best_epoch: int
    batch_size: int
    steps: int

    @property
    def best_eval_loss(self) -> float:
        return self.eval_loss[self.best_epoch - 1]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Batch size and epochs that suit the number of rows; what the options set, wins."""

    batch_size: int
    steps: int
    epochs: int
    patience: int

    @classmethod
    def of(
        cls,
        options: NetworkOptions,
        rows: int,
        usual_epochs: int,
        bounds: tuple[int, int] = (LEAST_STEPS, MOST_STEPS),
    ) -> Schedule:
        size = options.batch_size
        if size is None:
            size = 512 if rows >= 80_000 else 128 if rows >= 2048 else max(8, rows // 16)
        size = min(size, rows)
        steps = max(1, rows // size)
        if options.steps:
            steps = min(steps, options.steps)
            return cls(
                size, steps, math.ceil(options.steps / steps), options.patience or MOST_STEPS
            )
        epochs = options.epochs or max(
            math.ceil(bounds[0] / steps), min(usual_epochs, math.ceil(bounds[1] / steps))
        )
        return cls(size, steps, epochs, options.patience or max(5, epochs // 3))


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weight per row, `[rows]`: n / (classes × rows of the row's class)."""
    index = labels.astype(int)
    counts = np.maximum(np.bincount(index, minlength=classes), 1)
    return (len(labels) / (classes * counts))[index].astype(np.float32)


def fit(
    network: tf_keras.Model,
    spec: ModelSpec,
    train: Rows,
    valid: Rows,
    options: NetworkOptions,
    *,
    name: str,
    usual_epochs: int,
    objective: Objective | None = None,
    teacher_logits: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> Curves:
    """Trains in place and leaves the weights of the best epoch.

    Args:
      network: Preprocessed inputs to logits.
      spec: The task.
      train, valid: Preprocessed rows; `valid` decides when to stop and what to keep.
      options: Epochs, batch size, learning rate, decay.
      name: For progress and curves.
      usual_epochs: When the options leave them open.
      objective: Per-row loss; the labels' own unless given.
      teacher_logits: `[rows, units]`, for objectives that use them.
      weights: `[rows]`, multiplied into the loss.
      seed: Of shuffling and dropout.

    Returns:
      The learning curves.
    """
    tf.random.set_seed(seed)
    # A step on images takes long enough: a few epochs of few rows have to do.
    bounds = IMAGE_STEPS if spec.image else (LEAST_STEPS, MOST_STEPS)
    schedule = Schedule.of(options, len(train), usual_epochs, bounds)
    objective = objective or label_objective(spec)
    optimizer = tf_keras.optimizers.AdamW(
        tf_keras.optimizers.schedules.CosineDecay(
            options.learning_rate, schedule.steps * schedule.epochs
        ),
        weight_decay=options.weight_decay,
    )
    variables = network.trainable_variables
    optimizer.build(variables)
    data = (
        [tf.constant(x) for x in train.network_inputs(spec)],
        tf.constant(train.labels),
        tf.constant(
            np.zeros((len(train), spec.units), np.float32)
            if teacher_logits is None
            else teacher_logits
        ),
        tf.constant(np.ones(len(train), np.float32) if weights is None else weights),
    )

    def step(index: tf.Tensor) -> tf.Tensor:
        inputs, labels, teacher, weight = tf.nest.map_structure(lambda x: tf.gather(x, index), data)
        with tf.GradientTape() as tape:
            losses = objective(network(inputs, training=True), labels, teacher)
            loss = tf.reduce_mean(losses * weight)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    # autograph off: the loop is written out, and tracing Keras's own code through
    # autograph would cost more than the training.
    @tf.function(autograph=False)
    def epoch() -> tf.Tensor:
        order = tf.random.shuffle(tf.range(len(train)))[: schedule.steps * schedule.batch_size]
        order = tf.reshape(order, [schedule.steps, schedule.batch_size])
        total = tf.while_loop(
            lambda i, total: i < schedule.steps,
            lambda i, total: (i + 1, total + step(order[i])),
            [0, 0.0],
        )[1]
        return total / schedule.steps

    measure = Evaluation(network, spec, valid)
    train_losses, eval_losses = [], []
    best, best_weights = math.inf, network.get_weights()
    for number in range(1, schedule.epochs + 1):
        train_losses.append(float(epoch()))
        eval_losses.append(measure.loss())
        if eval_losses[-1] < best:
            best, best_weights = eval_losses[-1], network.get_weights()
        progress.step(name, number, schedule.epochs, loss=eval_losses[-1])
        if not math.isfinite(train_losses[-1]) or (
            number - int(np.argmin(eval_losses)) > schedule.patience
        ):
            break
    network.set_weights(best_weights)
    return Curves(
        name,
        tuple(train_losses),
        tuple(eval_losses),
        int(np.nanargmin(eval_losses)) + 1,
        schedule.batch_size,
        schedule.steps,
    )


class Evaluation:
    """Logits and loss of a network over rows, in a graph."""

    def __init__(self, network: tf_keras.Model, spec: ModelSpec, rows: Rows):
        self._rows = rows
        self._spec = spec
        self._run = tf.function(
            lambda x: network(x, training=False), autograph=False, reduce_retracing=True
        )

    def logits(self) -> np.ndarray:
        """float32 `[rows, units]`."""
        inputs = self._rows.network_inputs(self._spec)
        size = batch_rows(self._spec, EVALUATION_ROWS)
        parts = [
            self._run([tf.constant(x[start : start + size]) for x in inputs]).numpy()
            for start in range(0, len(self._rows), size)
        ]
        return np.concatenate(parts)

    def loss(self) -> float:
        """Mean task loss."""
        return float(
            tf.reduce_mean(task_loss(self._spec, tf.constant(self.logits()), self._rows.labels))
        )


def predict_logits(network: tf_keras.Model, spec: ModelSpec, rows: Rows) -> np.ndarray:
    """float32 `[rows, units]`."""
    return Evaluation(network, spec, rows).logits()
