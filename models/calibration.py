"""Probabilities that mean what they say: temperature scaling, folded into the last layer.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017), section 4.2:
logits are divided by one number T that minimises the log loss on held-out rows. Within a row the
order of the classes stays, and so does the order of rows by probability for two classes: AUC and
accuracy do not change.

A network whose last layer is linear takes T into its weights and bias: the file gains nothing.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import tf_keras
from scipy import optimize, special, stats

from models import metrics
from models.spec import ModelSpec

CONFIDENCE = 0.95
_LOG_BOUNDS = (-3.0, 3.0)
#: Fewer eval rows say nothing about a temperature.
_LEAST_ROWS = 50
#: Nor do rows of which fewer get a wrong label: where all are right, the surer is always the better
#: there, T goes to zero, and the first mistake elsewhere costs all that was gained.
_LEAST_MISTAKES = 20


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What temperature scaling does on held-out rows, and whether it is worth it.

    Log loss and calibration error are of rows that the temperature was not fitted on: each half
    of the rows is scaled by the other half's.

    Attributes:
      temperature: Fitted on all rows; above 1 the network was too sure.
      applied: The gain in log loss is above zero beyond chance.
      gain: Mean drop of the log loss per row, with its interval `low` to `high` (Student's t
        over rows).
      log_loss, calibration_error: (before, after).
      rows: Used.
    """

    temperature: float
    applied: bool
    gain: float
    low: float
    high: float
    log_loss: tuple[float, float]
    calibration_error: tuple[float, float]
    rows: int

    def to_dict(self) -> dict[str, Any]:
        result = dataclasses.asdict(self)
        for name in ("log_loss", "calibration_error"):
            result[name] = dict(zip(("before", "after"), result[name], strict=True))
        return {**result, "interval": "Student's t over eval rows", "confidence": CONFIDENCE}


def log_losses(spec: ModelSpec, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each row in nats, float64 `[n]`; logits `[n, units]`."""
    z, index = logits.astype(np.float64), labels.astype(int)
    if spec.task == "binary":
        return np.logaddexp(0.0, np.where(index == 1, -z[:, 0], z[:, 0]))
    return special.logsumexp(z, axis=1) - z[np.arange(len(z)), index]


def fit_temperature(spec: ModelSpec, logits: np.ndarray, labels: np.ndarray) -> float:
    """The T in [e^-3, e^3] with the lowest log loss of logits / T; 1 when none is lower."""

    def loss(log_t: float) -> float:
        return float(np.mean(log_losses(spec, logits / math.exp(log_t), labels)))

    # In 1/T the loss is convex, so in log T it has one minimum.
    found = optimize.minimize_scalar(
        loss, bounds=_LOG_BOUNDS, method="bounded", options={"xatol": 1e-4}
    )
    return math.exp(found.x) if found.fun < loss(0.0) else 1.0


def calibrate(
    spec: ModelSpec, logits: np.ndarray, labels: np.ndarray, seed: int = 0
) -> Calibration | None:
    """Fits the temperature and asks held-out rows whether it helps.

    Args:
      spec: Binary or multiclass.
      logits: `[n, units]` on rows that the network did not learn from.
      labels: `[n]`, class index.
      seed: Of the halves.

    Returns:
      None for regression, and for too few rows or too few mistakes to learn from.
    """
    rows = len(labels)
    if spec.task == "regression" or rows < _LEAST_ROWS:
        return None
    if _mistakes(spec, logits, labels) < _LEAST_MISTAKES:
        return None
    order = np.random.default_rng(seed).permutation(rows)
    first, second = order[: rows // 2], order[rows // 2 :]
    scaled = logits.astype(np.float64)
    for fitted, held_out in ((first, second), (second, first)):
        scaled[held_out] /= fit_temperature(spec, logits[fitted], labels[fitted])
    before, after = (log_losses(spec, z, labels) for z in (logits, scaled))
    gained = before - after
    half_width = stats.t.ppf(0.5 + CONFIDENCE / 2, rows - 1) * gained.std(ddof=1) / math.sqrt(rows)
    gain = float(gained.mean())
    temperature = fit_temperature(spec, logits, labels)
    return Calibration(
        temperature,
        bool(gain - half_width > 0.0 and temperature != 1.0),
        gain,
        float(gain - half_width),
        float(gain + half_width),
        (float(before.mean()), float(after.mean())),
        (_error(spec, logits, labels), _error(spec, scaled, labels)),
        rows,
    )


def _mistakes(spec: ModelSpec, logits: np.ndarray, labels: np.ndarray) -> int:
    """Rows that get a wrong label."""
    given = logits[:, 0] > 0 if spec.task == "binary" else logits.argmax(axis=1)
    return int(np.sum(given != labels.astype(int)))


def fold(network: tf_keras.Model, temperature: float) -> None:
    """Divides the network's logits by the temperature, in its last layer's weights; in place."""
    layer = network.get_layer("logits")
    layer.set_weights([w / np.float32(temperature) for w in layer.get_weights()])


def _error(spec: ModelSpec, logits: np.ndarray, labels: np.ndarray) -> float:
    z = logits.astype(np.float64)
    p = special.expit(z) if spec.task == "binary" else special.softmax(z, axis=1)
    return metrics.score(spec.task, labels, p)["calibration_error"]
