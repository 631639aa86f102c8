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
import tf_keras

from models import metrics
from models.losses import distillation_objective
from models.network import build_network
from models.options import DistillationOptions, StudentOptions
from models.rows import Rows
from models.spec import ModelSpec
from models.training import Curves, Evaluation, class_weights, fit, predict_logits

USUAL_EPOCHS = 60


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


def measure(network: tf_keras.Model, spec: ModelSpec, rows: Rows) -> dict[str, float]:
    """All metrics of the network on the rows."""
    predictions = answers(spec, predict_logits(network, spec, rows))
    return metrics.score(spec.task, labels_of(spec, rows), predictions)


def train(
    spec: ModelSpec,
    train_rows: Rows,
    eval_rows: Rows,
    options,
    *,
    name: str,
    usual_epochs: int,
    balanced: bool = False,
    seed: int = 0,
    **fit_options,
) -> Trained:
    """Builds, trains and measures one network."""
    network = build_network(spec, options, seed)
    weights = None
    if balanced and spec.task != "regression":
        known = np.isfinite(train_rows.labels)
        weights = np.ones(len(train_rows), np.float32)
        weights[known] = class_weights(train_rows.labels[known], max(len(spec.classes), 2))
    curves = fit(
        network,
        spec,
        train_rows,
        eval_rows,
        options,
        name=name,
        usual_epochs=usual_epochs,
        weights=weights,
        seed=seed,
        **fit_options,
    )
    return Trained(network, curves, measure(network, spec, eval_rows))


def distill(
    spec: ModelSpec,
    teacher: tf_keras.Model,
    train_rows: Rows,
    eval_rows: Rows,
    options: StudentOptions,
    distillation: DistillationOptions,
    *,
    extra_rows: Rows | None = None,
    balanced: bool = False,
    seed: int = 0,
) -> tuple[Trained, Trained, Trained, float]:
    """Trains the student and both controls.

    Args:
      spec: The contract, the teacher's own.
      teacher: `(numeric, ids) -> logits`.
      train_rows, eval_rows: Labelled rows.
      options: The student's shape and training.
      distillation: Temperature, alpha, the second control's dropout.
      extra_rows: More rows without labels; only the teacher speaks about them.
      balanced: Weigh rows by inverse class frequency.
      seed: Of all three.

    Returns:
      (distilled, control, control with dropout, the teacher's eval loss).
    """
    seen = train_rows if extra_rows is None else train_rows.append(extra_rows)
    common = {"usual_epochs": USUAL_EPOCHS, "balanced": balanced, "seed": seed}
    distilled = train(
        spec,
        seen,
        eval_rows,
        options,
        name="student",
        objective=distillation_objective(spec, distillation),
        teacher_logits=predict_logits(teacher, spec, seen),
        **common,
    )
    control = train(spec, train_rows, eval_rows, options, name="control on labels", **common)
    with_dropout = train(
        spec,
        train_rows,
        eval_rows,
        options.model_copy(update={"dropout": distillation.control_dropout}),
        name="control with dropout",
        **common,
    )
    return distilled, control, with_dropout, Evaluation(teacher, spec, eval_rows).loss()
