"""Quality of predictions, by the names every report uses.

binary      auc, pr_auc, accuracy, log_loss, calibration_error
multiclass  accuracy, log_loss, auc, calibration_error
regression  mae, rmse, r2
"""

from __future__ import annotations

import numpy as np
from sklearn import metrics as sk

from models.spec import Task

#: The metric that decides between models, per task; larger is better.
PRIMARY: dict[str, str] = {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}
_EPSILON = 1e-7


def score(task: Task, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """All metrics of the task.

    Args:
      task: Kind of problem.
      labels: `[n]`, class index or value, no NaN.
      predictions: `[n, 1]` probability or value, or `[n, classes]`.

    Returns:
      Metric name to value; a metric that is not defined for these rows (AUC of
      one class) is left out.
    """
    if not len(labels):
        return {}
    if task == "regression":
        return _regression(labels.astype(np.float64), predictions[:, 0].astype(np.float64))
    index = labels.astype(int)
    if task == "binary":
        p = np.clip(predictions[:, 0].astype(np.float64), _EPSILON, 1 - _EPSILON)
        result = {
            "accuracy": float(np.mean((p > 0.5) == index)),
            "log_loss": float(-np.mean(index * np.log(p) + (1 - index) * np.log(1 - p))),
            "calibration_error": calibration_error(index, p),
        }
        if 0 < index.sum() < len(index):
            result = {
                "auc": float(sk.roc_auc_score(index, p)),
                "pr_auc": float(sk.average_precision_score(index, p)),
                **result,
            }
        return result
    p = np.clip(predictions.astype(np.float64), _EPSILON, 1.0)
    top = p.argmax(axis=1)
    result = {
        "accuracy": float(np.mean(top == index)),
        "log_loss": float(-np.mean(np.log(p[np.arange(len(index)), index]))),
        "calibration_error": calibration_error((top == index).astype(int), p.max(axis=1)),
    }
    present = [c for c in range(p.shape[1]) if 0 < (index == c).sum() < len(index)]
    if present:
        result["auc"] = float(np.mean([sk.roc_auc_score(index == c, p[:, c]) for c in present]))
    return result


def _regression(labels: np.ndarray, values: np.ndarray) -> dict[str, float]:
    result = {
        "mae": float(np.mean(np.abs(values - labels))),
        "rmse": float(np.sqrt(np.mean((values - labels) ** 2))),
    }
    if len(labels) > 1 and np.ptp(labels) > 0:
        result["r2"] = float(sk.r2_score(labels, values))
    return result


def calibration_error(happened: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal width.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), equation 3:
    the mean of |share that happened - mean probability| weighted by rows.
    """
    edge = np.minimum((probability * bins).astype(int), bins - 1)
    rows = np.bincount(edge, minlength=bins)
    gap = np.abs(
        np.bincount(edge, happened, minlength=bins) - np.bincount(edge, probability, minlength=bins)
    )
    return float(gap.sum() / max(rows.sum(), 1))


def agreement(task: Task, reference: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """How close predictions are to a reference model's on the same rows.

    Returns:
      `largest_difference` of any output; for classification also `flip_rate`, the
      share of rows whose predicted label differs.
    """
    result = {"largest_difference": float(np.max(np.abs(reference - predictions), initial=0.0))}
    if task == "binary":
        result["flip_rate"] = float(np.mean((reference > 0.5) != (predictions > 0.5)))
    elif task == "multiclass":
        result["flip_rate"] = float(np.mean(reference.argmax(axis=1) != predictions.argmax(axis=1)))
    return result
