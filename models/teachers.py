"""Who labels the rows for the student: the teacher network, several, boosted trees, or their mean.

The one with the lowest loss on eval labels, or the mean of all where that is lower still (Hinton,
Vinyals and Dean 2015 distil the mean of an ensemble's probabilities).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tf_keras
from scipy import special

from models.options import DistillationOptions, NetworkOptions
from models.reference import Reference
from models.rows import Rows
from models.spec import ModelSpec
from models.student import USUAL_TEACHER_EPOCHS, Lesson, last_hidden, loss_of, train
from models.training import predict_logits

#: Logits `[n, units]` of rows.
Teacher = Callable[[Rows], np.ndarray]

MEAN = "mean"


def mean_logits(spec: ModelSpec, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Logits of the mean probability (regression: the mean value), float32 `[n, units]`."""
    stacked = np.stack(parts).astype(np.float64)
    if spec.task == "regression" or len(parts) == 1:
        return stacked.mean(axis=0).astype(np.float32)
    # By logarithms, so that no probability is rounded to 0 or 1; the number of parts cancels.
    if spec.task == "binary":
        sides = [special.logsumexp(special.log_expit(z), axis=0) for z in (stacked, -stacked)]
        return (sides[0] - sides[1]).astype(np.float32)
    mean = special.logsumexp(special.log_softmax(stacked, axis=2), axis=0) - np.log(len(parts))
    return mean.astype(np.float32)


def choose(
    spec: ModelSpec, said: dict[str, np.ndarray], eval_rows: Rows
) -> tuple[tuple[str, ...], dict[str, float]]:
    """The teacher with the lowest loss on eval; the mean of all where that is lower still.

    Args:
      spec: The task.
      said: Name to logits on eval, `[n, units]`.
      eval_rows: Labelled.

    Returns:
      The names that label, and name to loss of everyone, `mean` among them if there are several.
    """
    losses = {name: loss_of(spec, logits, eval_rows) for name, logits in said.items()}
    if len(said) > 1:
        losses[MEAN] = loss_of(spec, mean_logits(spec, list(said.values())), eval_rows)
    best = min(losses, key=losses.get)
    return (tuple(said) if best == MEAN else (best,)), losses


def ensemble(
    spec: ModelSpec,
    network: tf_keras.Model,
    shape: NetworkOptions,
    train_rows: Rows,
    eval_rows: Rows,
    size: int,
    *,
    balanced: bool = False,
    seed: int = 0,
) -> Teacher:
    """The network and `size - 1` more that differ in their seeds."""
    members = [network]
    for number in range(2, size + 1):
        trained = train(
            spec,
            train_rows,
            eval_rows,
            shape,
            name=f"teacher {number} of {size}",
            usual_epochs=USUAL_TEACHER_EPOCHS,
            balanced=balanced,
            seed=seed + number - 1,
        )
        members.append(trained.network)
    return lambda rows: mean_logits(spec, [predict_logits(m, spec, rows) for m in members])


def prepare(
    spec: ModelSpec,
    network: tf_keras.Model,
    shape: NetworkOptions,
    reference: Reference,
    train_rows: Rows,
    eval_rows: Rows,
    options: DistillationOptions,
    *,
    extra_rows: Rows | None = None,
    balanced: bool = False,
    seed: int = 0,
) -> Lesson:
    """Asks every teacher that the options name, and lets the best one label.

    Args:
      spec: The contract.
      network: The Trainer's.
      shape: What it was built and trained with.
      reference: The boosted trees.
      train_rows, eval_rows: Labelled rows.
      options: Which teachers, and whether hints are wanted.
      extra_rows: More rows without labels; only the teacher speaks about them.
      balanced: How further networks weigh rows.
      seed: Of further networks.
    """
    teachers: dict[str, Teacher] = {}
    for name in dict.fromkeys(options.teachers):
        if name == "network":
            teachers[name] = functools.partial(predict_logits, network, spec)
        elif name == "trees":
            teachers[name] = reference.logits
        else:
            teachers[name] = ensemble(
                spec,
                network,
                shape,
                train_rows,
                eval_rows,
                options.ensemble,
                balanced=balanced,
                seed=seed,
            )
    said = {name: teacher(eval_rows) for name, teacher in teachers.items()}
    names, losses = choose(spec, said, eval_rows)
    parts = [train_rows] if extra_rows is None else [train_rows, extra_rows]
    logits = np.concatenate(
        [mean_logits(spec, [teachers[name](part) for name in names]) for part in parts]
    )
    rows = functools.reduce(Rows.append, parts)
    return Lesson(
        rows,
        logits,
        losses[names[0] if len(names) == 1 else MEAN],
        _hints(spec, network, rows) if options.hint else None,
        names,
        losses,
    )


def _hints(spec: ModelSpec, network: tf_keras.Model, rows: Rows) -> np.ndarray:
    """The network's last hidden layer, each unit with mean 0 and variance 1: `[n, width]`."""
    hidden = predict_logits(last_hidden(network), spec, rows)
    deviation = hidden.std(axis=0)
    return ((hidden - hidden.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)).astype(
        np.float32
    )
