"""How much each feature matters to the model, by permuting it (Breiman, Random Forests, 2001)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Inputs = Mapping[str, np.ndarray]


def importance(
    predict: Callable[[dict[str, np.ndarray]], np.ndarray],
    inputs: Inputs,
    *,
    loss: Callable[[np.ndarray], float] | None = None,
    repeats: int = 3,
    seed: int = 0,
) -> dict[str, float]:
    """Each feature's share of the model's importance, largest first; shares add up to 1.

    Args:
      predict: Inputs, one array of n rows per feature, to scores `[n]` or `[n, k]`; e.g.
        `Predictor.predict_inputs`.
      inputs: Reference rows; a few thousand are enough.
      loss: Scores to a loss of these very rows, where they have labels: importance is then what
        the loss rises by. Without: how far the scores move, as the mean absolute change.
      repeats: Permutations per feature.
      seed: Of the permutations.
    """
    inputs = dict(inputs)
    rng = np.random.default_rng(seed)
    base = np.asarray(predict(inputs), np.float64)
    rows = len(base)
    raw = {}
    for name, values in inputs.items():
        changes = []
        for _ in range(repeats):
            scores = np.asarray(
                predict({**inputs, name: values[rng.permutation(rows)]}), np.float64
            )
            if loss is None:
                changes.append(float(np.mean(np.abs(scores - base))))
            else:
                changes.append(loss(scores) - loss(base))
        raw[name] = max(float(np.mean(changes)), 0.0)
    total = sum(raw.values())
    shares = {name: value / total if total > 0 else 0.0 for name, value in raw.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))
