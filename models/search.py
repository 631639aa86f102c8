"""The student's shape by successive halving.

Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"
(2016): all candidates get a few epochs, the better half twice as many, and so on; most of the
time goes to the few that deserve it. Each round starts anew, as the learning rate falls to zero
within a round.

The last two are trained in full. The smaller of them wins unless it is worse by more than one
standard error of the paired difference (Breiman et al., "Classification and Regression Trees",
1984, section 3.4.3): quality that cannot be told apart is not worth bytes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from models.losses import task_loss
from models.options import DistillationOptions, StudentOptions
from models.rows import Rows
from models.spec import ModelSpec
from models.student import Lesson, Trained, learn
from models.training import predict_logits


@dataclasses.dataclass
class Candidate:
    """A shape and how it did.

    Attributes:
      embedding, hidden: The shape.
      parameters: Of the network; 0 before it was built.
      losses: Epochs allowed (None: the usual number) and best loss on eval, per round.
      chosen: Goes on.
    """

    embedding: int
    hidden: tuple[int, ...]
    parameters: int = 0
    losses: list[tuple[int | None, float]] = dataclasses.field(default_factory=list)
    chosen: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self),
            "losses": [{"epochs": epochs, "eval_loss": loss} for epochs, loss in self.losses],
        }


def candidates(options: StudentOptions) -> list[Candidate]:
    """Every shape that the options ask for; one when they ask for none."""
    embeddings = dict.fromkeys(options.search.embeddings or (options.embedding,))
    hidden = dict.fromkeys(options.search.hidden or (options.hidden,))
    return [Candidate(e, h) for e, h in itertools.product(embeddings, hidden)]


def search(
    spec: ModelSpec,
    lesson: Lesson,
    eval_rows: Rows,
    options: StudentOptions,
    distillation: DistillationOptions,
    *,
    balanced: bool = False,
    seed: int = 0,
) -> tuple[StudentOptions, list[Candidate]]:
    """Tries the shapes of `options.search`.

    Returns:
      The options with the shape that won, and all candidates; the options as they are and no
      candidates when there is nothing to choose from.
    """
    found = candidates(options)
    if len(found) < 2:
        return (options.model_copy(update=_shape(found[0])), []) if found else (options, [])

    def run(candidate: Candidate, epochs: int | None) -> Trained:
        length = {} if epochs is None else {"epochs": epochs, "steps": None}
        shaped = options.model_copy(update={**_shape(candidate), **length})
        name = f"search: embedding {candidate.embedding}, hidden {list(candidate.hidden)}"
        trained = learn(
            spec,
            lesson,
            eval_rows,
            shaped,
            distillation,
            name=name,
            balanced=balanced,
            seed=seed,
        )
        candidate.parameters = trained.parameters
        candidate.losses.append((epochs, trained.curves.best_eval_loss))
        return trained

    left, epochs = found, options.search.first_epochs
    while len(left) > 2:
        for candidate in left:
            run(candidate, epochs)
        left = sorted(left, key=lambda c: c.losses[-1][1])[: math.ceil(len(left) / 2)]
        epochs *= 2
    by_row = [_losses(spec, run(candidate, options.epochs), eval_rows) for candidate in left]
    order = np.argsort([c.losses[-1][1] for c in left], kind="stable")
    best, other = (left[i] for i in order)
    winner = best
    if other.parameters < best.parameters:
        worse = by_row[order[1]] - by_row[order[0]]
        if worse.mean() <= worse.std() / math.sqrt(len(worse)):
            winner = other
    winner.chosen = True
    return options.model_copy(update=_shape(winner)), found


def _shape(candidate: Candidate) -> dict[str, Any]:
    return {"embedding": candidate.embedding, "hidden": candidate.hidden}


def _losses(spec: ModelSpec, trained: Trained, rows: Rows) -> np.ndarray:
    """Task loss of each row, `[n]`."""
    logits = predict_logits(trained.network, spec, rows)
    return task_loss(spec, tf.constant(logits), rows.labels).numpy()
