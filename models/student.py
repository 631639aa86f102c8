"""Distillation: the student, and the two controls that say whether it was worth it.

Every network here starts from the same seed and sees the same rows:
  distilled           learns from the teacher
  control             learns from the labels
  control_dropout     learns from the labels, with dropout
Part of what distillation gives is plain regularisation; the second control shows
how much.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
import tf_keras

from models import metrics
from models.losses import distillation_objective, hint_objective, task_loss
from models.network import build_network
from models.options import DistillationOptions, NetworkOptions, StudentOptions
from models.rows import Rows
from models.spec import ModelSpec
from models.training import Curves, class_weights, fit, predict_logits

USUAL_EPOCHS = 60
USUAL_TEACHER_EPOCHS = 14
#: The least for images, of which there are fewer.
LEAST_IMAGE_EPOCHS = 30


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with what is known about it."""

    network: tf_keras.Model
    curves: Curves
    metrics: dict[str, float]

    @property
    def parameters(self) -> int:
        return int(self.network.count_params())

    def report(self) -> dict:
        return {
            "parameters": self.parameters,
            "metrics": self.metrics,
            "curves": dataclasses.asdict(self.curves),
        }


def answers(spec: ModelSpec, logits: np.ndarray) -> np.ndarray:
    """Logits `[n, units]` to what the exported model answers, in NumPy."""
    if spec.task == "regression":
        return logits * spec.target_std + spec.target_mean
    if spec.task == "binary":
        return 1.0 / (1.0 + np.exp(-logits))
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def labels_of(spec: ModelSpec, rows: Rows) -> np.ndarray:
    """Class index, or the target in the label's own unit. `[n]`."""
    if spec.task == "regression":
        return rows.labels * spec.target_std + spec.target_mean
    return rows.labels


def loss_of(spec: ModelSpec, logits: np.ndarray, rows: Rows) -> float:
    """Mean task loss of logits `[n, units]` on labelled rows."""
    return float(tf.reduce_mean(task_loss(spec, tf.constant(logits), rows.labels)))


def row_weights(spec: ModelSpec, rows: Rows, balanced: bool) -> np.ndarray | None:
    """Weight of each row, `[n]`: by inverse class frequency, 1 without a label; None for equal."""
    if not balanced or spec.task == "regression":
        return None
    known = np.isfinite(rows.labels)
    weights = np.ones(len(rows), np.float32)
    weights[known] = class_weights(rows.labels[known], max(len(spec.classes), 2))
    return weights


def last_hidden(network: tf_keras.Model) -> tf_keras.Model:
    """What enters the network's last layer: `(numeric, ids) -> [batch, width]`."""
    return tf_keras.Model(network.inputs, network.get_layer("logits").input)


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What a student learns from.

    Attributes:
      rows: With labels or without.
      logits: What the teacher says about them, `[n, units]`.
      eval_loss: The teacher's, on labelled rows of eval.
      hints: The teacher's last hidden layer on the rows, `[n, width]`, standardised; or None.
      teachers: Who the teacher is: one name, or several whose mean it is.
      candidates: Name to loss on eval of everyone who was asked.
    """

    rows: Rows
    logits: np.ndarray
    eval_loss: float
    hints: np.ndarray | None = None
    teachers: tuple[str, ...] = ("network",)
    candidates: dict[str, float] = dataclasses.field(default_factory=dict)


def measure(network: tf_keras.Model, spec: ModelSpec, rows: Rows) -> dict[str, float]:
    """All metrics of the network on the rows."""
    predictions = answers(spec, predict_logits(network, spec, rows))
    return metrics.score(spec.task, labels_of(spec, rows), predictions)


def train(
    spec: ModelSpec,
    train_rows: Rows,
    eval_rows: Rows,
    options: NetworkOptions,
    *,
    name: str,
    usual_epochs: int,
    balanced: bool = False,
    seed: int = 0,
    hint_width: int = 0,
    **fit_options,
) -> Trained:
    """Builds, trains and measures one network.

    Args:
      spec: The task.
      train_rows, eval_rows: As in `fit`.
      options: The network's shape and training.
      name: For progress and curves.
      usual_epochs: When the options leave them open.
      balanced: Weigh rows by inverse class frequency.
      seed: Of weights, shuffling and dropout.
      hint_width: Width of the hints that the objective compares the last hidden layer with.
      **fit_options: The rest of `fit`'s.
    """
    if spec.image:
        usual_epochs = max(usual_epochs, LEAST_IMAGE_EPOCHS)
    network = build_network(spec, options, seed)
    curves = fit(
        _with_hint(network, hint_width) if hint_width else network,
        spec,
        train_rows,
        eval_rows,
        options,
        name=name,
        usual_epochs=usual_epochs,
        weights=row_weights(spec, train_rows, balanced),
        seed=seed,
        **fit_options,
    )
    return Trained(network, curves, measure(network, spec, eval_rows))


def _with_hint(network: tf_keras.Model, width: int) -> tf_keras.Model:
    """The same layers, whose output goes on after the logits with the mapped hidden layer."""
    layer = network.get_layer("logits")
    mapped = tf_keras.layers.Dense(width, name="hint")(layer.input)
    return tf_keras.Model(
        network.inputs, tf_keras.layers.Concatenate(name="hinted")([layer.output, mapped])
    )


def learn(
    spec: ModelSpec,
    lesson: Lesson,
    eval_rows: Rows,
    options: NetworkOptions,
    distillation: DistillationOptions,
    *,
    name: str = "student",
    usual_epochs: int = USUAL_EPOCHS,
    balanced: bool = False,
    seed: int = 0,
) -> Trained:
    """Trains a student on a lesson."""
    objective, said, width = distillation_objective(spec, distillation), lesson.logits, 0
    if lesson.hints is not None:
        width = lesson.hints.shape[1]
        objective = hint_objective(spec, objective, distillation.hint)
        said = np.concatenate([said, lesson.hints], axis=1)
    return train(
        spec,
        lesson.rows,
        eval_rows,
        options,
        name=name,
        usual_epochs=usual_epochs,
        balanced=balanced,
        seed=seed,
        hint_width=width,
        objective=objective,
        teacher_logits=said,
    )


def distill(
    spec: ModelSpec,
    lesson: Lesson,
    train_rows: Rows,
    eval_rows: Rows,
    options: StudentOptions,
    distillation: DistillationOptions,
    *,
    balanced: bool = False,
    seed: int = 0,
) -> dict[str, Trained]:
    """Trains the student and both controls from one seed.

    Args:
      spec: The contract, the teacher's own.
      lesson: What the student learns from.
      train_rows, eval_rows: Labelled rows; the controls learn from `train_rows`.
      options: The student's shape and training.
      distillation: Temperature, alpha, the weight of hints, the second control's dropout.
      balanced: Weigh rows by inverse class frequency.
      seed: Of all three.

    Returns:
      `distilled`, `control` and `control_dropout`.
    """
    common = {"balanced": balanced, "seed": seed, "usual_epochs": USUAL_EPOCHS}
    dropped = options.model_copy(update={"dropout": distillation.control_dropout})
    return {
        "distilled": learn(spec, lesson, eval_rows, options, distillation, **common),
        "control": train(spec, train_rows, eval_rows, options, name="control on labels", **common),
        "control_dropout": train(
            spec, train_rows, eval_rows, dropped, name="control with dropout", **common
        ),
    }
