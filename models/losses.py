"""What is minimised: the task's loss, and the distillation loss.

All losses are per row: `[batch]`. Labels are float32 `[batch]`: the class index,
or the standardised target.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from models.options import DistillationOptions
from models.spec import ModelSpec

Objective = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def task_loss(spec: ModelSpec, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Binary or categorical cross-entropy, or squared error.

    Logits `[batch, units]`; columns beyond the task's units (hints) are not looked at.
    """
    if spec.task == "binary":
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits[:, 0])
    if spec.task == "multiclass":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.cast(labels, tf.int32), logits[:, : spec.units]
        )
    return tf.square(logits[:, 0] - labels)


def soft_loss(
    spec: ModelSpec, logits: tf.Tensor, teacher: tf.Tensor, temperature: float
) -> tf.Tensor:
    """Distance to the teacher's answer, both softened, times T².

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network"
    (2015), section 2: the factor keeps the gradient's size independent of T.
    Regression compares the values themselves.

    Args:
      spec: The task.
      logits, teacher: `[batch, units]`.
      temperature: T > 0.
    """
    if spec.task == "regression":
        return tf.square(logits[:, 0] - teacher[:, 0])
    if spec.task == "binary":
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.sigmoid(teacher / temperature), logits / temperature
        )[:, 0]
    else:
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits(
            tf.nn.softmax(teacher / temperature), logits / temperature
        )
    return cross_entropy * temperature**2


def label_objective(spec: ModelSpec) -> Objective:
    """Learn from the labels."""
    return lambda logits, labels, teacher: task_loss(spec, logits, labels)


def distillation_objective(spec: ModelSpec, options: DistillationOptions) -> Objective:
    """alpha × the labels + (1 - alpha) × the teacher.

    Rows without a label (NaN) learn from the teacher alone.
    """

    def objective(logits, labels, teacher):
        soft = soft_loss(spec, logits, teacher, options.temperature)
        if options.alpha == 0.0:
            return soft
        known = tf.math.is_finite(labels)
        hard = task_loss(spec, logits, tf.where(known, labels, 0.0))
        return tf.where(known, options.alpha * hard + (1.0 - options.alpha) * soft, soft)

    return objective


def hint_objective(spec: ModelSpec, objective: Objective, weight: float) -> Objective:
    """Another objective + weight × the distance between hidden layers.

    Romero et al., "FitNets: Hints for Thin Deep Nets" (2015), equation 3: the student's hidden
    layer is mapped onto the teacher's and compared by squares, here averaged over units so that
    the weight does not depend on the teacher's width.

    Args:
      spec: The task.
      objective: Of the logits.
      weight: Of the hint.

    Returns:
      An objective of what both sides say with their hidden layers after the logits,
      `[batch, units + teacher's width]`.
    """

    def hinted(outputs, labels, teacher):
        logits, mapped = outputs[:, : spec.units], outputs[:, spec.units :]
        distance = tf.reduce_mean(tf.square(mapped - teacher[:, spec.units :]), axis=1)
        return objective(logits, labels, teacher[:, : spec.units]) + weight * distance

    return hinted
