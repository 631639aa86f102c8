"""How good the predictions probably are while no labels have come back.

Classification: confidence-based performance estimation (CBPE; Guillory et al., Predicting with
Confidence on Unseen Distributions, 2021; NannyML's name). If the calibrated probability of a row
is true, the expected value of each metric follows from the scores alone: a row scored p is a
true positive with probability p. Probabilities are recalibrated by isotonic regression on the
newest labelled rows there are.

Regression: direct loss estimation (DLE, NannyML's name). Gradient-boosted trees learn the
absolute and squared error of a row from its features and score on labelled rows, and predict it
for the window.

Both hold under covariate shift only. They cannot see concept drift: when the same inputs begin to
mean something else, scores do not move and the estimate stays put. The band is sampling error, of
labels drawn from the probabilities and of rows, nothing more. An estimate is marked unreliable,
with the reason, where it has been seen to be wrong or must be expected to be.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pyarrow as pa

from models import metrics
from models.spec import ModelSpec
from monitoring.measure import PREDICTION, Measure
from monitoring.options import EstimateOptions

_EPSILON = 1e-7
_RESAMPLES = 60
#: Mean calibrated probability and observed rate may differ by so many standard errors.
_MOVED = 4.0
#: Share of rows outside the reference's range or vocabulary from which on nothing is promised.
OUTSIDE = 0.05


@dataclasses.dataclass(frozen=True)
class Calibrator:
    """Isotonic regression from score to probability, per class.

    Attributes:
      curves: Per class the increasing scores and their probabilities.
      rows: Labelled rows it was fitted on.
      source: Which ones, for people.
      seen_in_training: Whether the model may have learnt from them: calibrated too well then.
    """

    curves: tuple[tuple[np.ndarray, np.ndarray], ...]
    rows: int
    source: str
    seen_in_training: bool

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities `[n, classes]` that add up to 1; binary: negative, positive."""
        columns = [
            np.interp(scores[:, i if len(self.curves) > 1 else 0], x, y)
            for i, (x, y) in enumerate(self.curves)
        ]
        if len(columns) == 1:
            return np.column_stack([1 - columns[0], columns[0]])
        table = np.clip(np.column_stack(columns), _EPSILON, 1.0)
        return table / table.sum(axis=1, keepdims=True)


def calibrate(
    spec: ModelSpec,
    truth: np.ndarray,
    scores: np.ndarray,
    source: str,
    seen_in_training: bool = False,
) -> Calibrator:
    """Fits it; `truth` `[n]` class indices, `scores` `[n, units]`."""
    from sklearn.isotonic import IsotonicRegression

    curves = []
    for unit in range(scores.shape[1]):
        happened = truth == (1 if spec.task == "binary" else unit)
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
            scores[:, unit].astype(np.float64), happened.astype(float)
        )
        curves.append((fitted.X_thresholds_, fitted.y_thresholds_))
    return Calibrator(tuple(curves), len(truth), source, seen_in_training)


def estimate(
    spec: ModelSpec,
    scores: np.ndarray,
    calibrator: Calibrator,
    options: EstimateOptions,
    *,
    reasons: tuple[str, ...] = (),
    window_id: str = "",
    slice: str = "",
    seed: int = 0,
) -> list[Measure]:
    """Estimated metrics of a window (CBPE), as `(prediction)/estimated_<metric>`.

    Args:
      spec: The model's contract; classification.
      scores: `[n, units]`, finite.
      calibrator: From score to probability.
      options: Rows used, band.
      reasons: Why the estimate should not be believed, as far as known elsewhere.
      window_id, slice: Of the window.
      seed: Of the drawn labels.
    """
    rng = np.random.default_rng(seed)
    n = len(scores)
    if n < 2:
        return []
    used = scores[np.linspace(0, n - 1, min(n, options.rows)).astype(int)].astype(np.float64)
    probability = calibrator(used)
    expected = _expected(spec, used, probability)
    # The rows drawn again and labels drawn from the probabilities: both kinds of chance. The
    # band is that of a window of n rows, not of those that were used.
    widen = math.sqrt(len(used) / n)
    drawn: dict[str, list[float]] = {name: [] for name in expected}
    cumulative = probability.cumsum(axis=1)
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, len(used), len(used))
        label = (rng.random((len(used), 1)) > cumulative[rows]).sum(axis=1)
        label = np.minimum(label, probability.shape[1] - 1)
        for name, value in metrics.score(spec.task, label, used[rows]).items():
            if name in drawn:
                drawn[name].append(value)
    tail = (1 - options.band) / 2
    unreliable = "; ".join(reasons)
    found = []
    for name, value in expected.items():
        low = high = None
        if len(drawn[name]) > 1:
            spread = np.asarray(drawn[name]) - np.mean(drawn[name])
            low = float(value + widen * np.quantile(spread, tail))
            high = float(value + widen * np.quantile(spread, 1 - tail))
        text = f"{name} about {value:.4g} if inputs alone have changed"
        found.append(
            Measure(
                PREDICTION, f"estimated_{name}", value, n, calibrator.rows, slice, window_id,
                text, "estimate", "training", None, low, high, unreliable,
            )
        )  # fmt: skip
    return found


def doubts(
    calibrator: Calibrator,
    realised: tuple[np.ndarray, np.ndarray] | None,
    spec: ModelSpec,
    outside: float,
) -> tuple[str, ...]:
    """Why an estimate should not be believed.

    Args:
      calibrator: What it rests on.
      realised: Truth and scores of the newest labelled rows that it was not fitted on.
      spec: The model's contract.
      outside: Share of the window's rows with a value that the reference does not hold.
    """
    found = []
    if calibrator.seen_in_training:
        found.append(
            f"calibrated on {calibrator.source}, which the model may have learnt from: too good"
        )
    if outside > OUTSIDE:
        found.append(f"{outside:.0%} of the rows lie outside the reference")
    if realised is not None and len(realised[0]) >= 100 and spec.task == "binary":
        truth, scores = realised
        probability = calibrator(scores.astype(np.float64))[:, 1]
        expected, happened = probability.mean(), truth.mean()
        error = math.sqrt(max(float((probability * (1 - probability)).sum()), 1e-12)) / len(truth)
        if abs(happened - expected) > _MOVED * error:
            found.append(
                f"calibration has moved: {expected:.1%} expected where {happened:.1%} came true"
            )
    return tuple(found)


def _expected(spec: ModelSpec, scores: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Metrics in expectation over labels drawn from the probabilities."""
    if spec.task == "binary":
        p = np.clip(scores[:, 0], _EPSILON, 1 - _EPSILON)
        yes = probability[:, 1]
        found = {
            "accuracy": float(np.mean(np.where(p > 0.5, yes, 1 - yes))),
            "log_loss": float(-np.mean(yes * np.log(p) + (1 - yes) * np.log(1 - p))),
        }
        if 0 < yes.sum() < len(yes):
            found["auc"] = _weighted_auc(p, yes)
        return found
    p = np.clip(scores, _EPSILON, 1.0)
    top = p.argmax(axis=1)
    return {
        "accuracy": float(np.mean(probability[np.arange(len(top)), top])),
        "log_loss": float(-np.mean((probability * np.log(p)).sum(axis=1))),
    }


def _weighted_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Each row counts as `positive` of a positive and the rest of a negative; ties half."""
    values, place = np.unique(scores, return_inverse=True)
    yes = np.bincount(place, positive, len(values))
    no = np.bincount(place, 1 - positive, len(values))
    below = np.cumsum(no) - no
    return float((yes * (below + no / 2)).sum() / (yes.sum() * no.sum()))


class LossModel:
    """Direct loss estimation for regression: the error of a row, from its features and score.

    Args:
      features: `[n, columns]`, NaN where missing.
      truth: `[n]`.
      scores: `[n, 1]`.
    """

    def __init__(self, features: np.ndarray, truth: np.ndarray, scores: np.ndarray):
        import threadpoolctl
        from sklearn.ensemble import HistGradientBoostingRegressor

        self.rows = len(truth)
        error = np.abs(scores[:, 0] - truth)
        table = np.column_stack([features, scores[:, 0]])
        with threadpoolctl.threadpool_limits(1, "openmp"):
            self._trees = {
                name: HistGradientBoostingRegressor(
                    max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=0
                ).fit(table, loss)
                for name, loss in (("mae", error), ("rmse", error**2))
            }

    def estimate(
        self,
        features: np.ndarray,
        scores: np.ndarray,
        options: EstimateOptions,
        *,
        reasons: tuple[str, ...] = (),
        window_id: str = "",
    ) -> list[Measure]:
        """Estimated MAE and RMSE of a window; the band is that of the mean over its rows."""
        from scipy import special

        table = np.column_stack([features, scores[:, 0]])
        z = float(special.ndtri(0.5 + options.band / 2))
        found = []
        for name, trees in self._trees.items():
            loss = np.maximum(trees.predict(table), 0.0)
            mean, half = loss.mean(), z * loss.std(ddof=1) / math.sqrt(len(loss))
            value, low, high = mean, mean - half, mean + half
            if name == "rmse":
                value, low, high = (math.sqrt(max(x, 0.0)) for x in (value, low, high))
            found.append(
                Measure(
                    PREDICTION, f"estimated_{name}", float(value), len(scores), self.rows, "",
                    window_id, f"{name} about {value:.4g} if inputs alone have changed",
                    "estimate", "training", None, float(low), float(high), "; ".join(reasons),
                )
            )  # fmt: skip
        return found


def labelled(sample: pa.Table, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores of reference rows that have both; see `performance.join`."""
    from models import feeds
    from monitoring.performance import scores_of
    from monitoring.window_summary import flat

    truth = feeds.label_index(spec, flat(sample.column("label")))
    scores = scores_of(spec, sample)
    both = np.isfinite(truth) & np.isfinite(scores).all(axis=1)
    return truth[both], scores[both]
