"""The reference: gradient-boosted trees on the rows that the teacher sees.

On tables, boosted trees are what a network has to beat (Grinsztajn, Oyallon and Varoquaux, "Why
do tree-based models still outperform deep learning on typical tabular data?", 2022). They are
never exported; they say what is there to be learnt, and may label rows for the student.

scikit-learn's histogram booster (after LightGBM: Ke et al. 2017): categories and missing cells
are split on as such, and it stops early on a hold-out of train.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import threadpoolctl
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from models.rows import Rows
from models.spec import MISSING_ID, OUT_OF_VOCABULARY_ID, ModelSpec

#: Learning from more rows costs memory and time, and adds little to a reference.
MOST_ROWS = 500_000
#: The booster takes at most 255 categories per feature: the most frequent, and one for the rest.
_MOST_CATEGORIES = 254
_OTHER = 0.0
_SETTINGS = {
    "learning_rate": 0.1,
    "max_iter": 150,
    "l2_regularization": 1.0,
    "validation_fraction": 0.1,
    "n_iter_no_change": 10,
}
#: Trees are larger from so many rows on.
_MANY_ROWS = 50_000
#: Where there are too few rows to hold some out.
_ROUNDS_WITHOUT_HOLDOUT = 50
_LEAST_HOLDOUT = 20
_EPSILON = 1e-7
#: Images are shown to the trees as grey pixels, so many on a side: more only take longer.
MOST_SIDE = 16


@dataclasses.dataclass(frozen=True)
class Reference:
    """Trained trees.

    Attributes:
      spec: The contract.
      estimator: scikit-learn's; None when train holds one class only.
      classes: The class indices that train holds, ascending; empty for regression.
      codes: Per categorical feature, `[size]`: id to the booster's category, NaN for missing.
      rows: Train rows learnt from.
      available: Train rows there were; more than `rows` when a sample was taken.
    """

    spec: ModelSpec
    estimator: HistGradientBoostingClassifier | HistGradientBoostingRegressor | None
    classes: np.ndarray
    codes: tuple[np.ndarray, ...]
    rows: int
    available: int

    @property
    def rounds(self) -> int:
        """Boosting rounds kept."""
        return 0 if self.estimator is None else int(self.estimator.n_iter_)

    def logits(self, rows: Rows) -> np.ndarray:
        """What the trees say, in the units of a network's logits: float32 `[n, units]`."""
        if self.spec.task == "regression":
            with _one_thread():
                values = self.estimator.predict(self._table(rows))
            return values.astype(np.float32).reshape(-1, 1)
        probability = np.full((len(rows), max(self.spec.units, 2)), _EPSILON)
        if self.estimator is None:
            probability[:, self.classes] = 1.0 - _EPSILON
        else:
            with _one_thread():
                said = self.estimator.predict_proba(self._table(rows))
            probability[:, self.classes] = np.clip(said, _EPSILON, 1.0 - _EPSILON)
        logits = np.log(probability)
        if self.spec.task == "binary":
            logits = logits[:, 1:] - logits[:, :1]
        return logits.astype(np.float32)

    def report(self) -> dict[str, Any]:
        return {
            "kind": "gradient-boosted trees"
            + (f" on grey pixels, at most {MOST_SIDE} on a side" if self.spec.image else ""),
            "rounds": self.rounds,
            "rows": self.rows,
            "rows_available": self.available,
        }

    def _table(self, rows: Rows) -> np.ndarray:
        return _table(self.spec, rows, self.codes)


def fit(
    spec: ModelSpec, train: Rows, *, weights: np.ndarray | None = None, seed: int = 0
) -> Reference:
    """Trains the reference.

    Args:
      spec: The contract.
      train: Labelled rows; with their raw inputs missing numbers are seen as missing, without
        them as imputed.
      weights: `[rows]`, of each row.
      seed: Of the sample and of the hold-out.
    """
    rng = np.random.default_rng(seed)
    available = len(train)
    if available > MOST_ROWS:
        picked = np.sort(rng.choice(available, MOST_ROWS, replace=False))
        train = train.take(picked)
        weights = None if weights is None else weights[picked]
    codes = tuple(
        _codes(np.bincount(train.ids[:, i] - offset, minlength=feature.size))
        for i, (feature, offset) in enumerate(zip(spec.categorical, spec.offsets, strict=True))
    )
    table = _table(spec, train, codes)
    numbers = table.shape[1] - len(spec.categorical)
    settings = {
        **_SETTINGS,
        "max_leaf_nodes": 15 if len(train) >= _MANY_ROWS else 7,
        "categorical_features": np.arange(table.shape[1]) >= numbers,
        "random_state": seed,
    }
    if spec.task == "regression":
        classes, target, kind = np.zeros(0, int), train.labels, HistGradientBoostingRegressor
        enough = len(train) * _SETTINGS["validation_fraction"] >= _LEAST_HOLDOUT
    else:
        target, kind = train.labels.astype(int), HistGradientBoostingClassifier
        classes, counts = np.unique(target, return_counts=True)
        # The hold-out is stratified: of every class a row on either side.
        enough = counts.min() >= 2 and len(train) * _SETTINGS["validation_fraction"] >= max(
            _LEAST_HOLDOUT, len(classes)
        )
    if not enough:
        settings["max_iter"] = _ROUNDS_WITHOUT_HOLDOUT
    estimator = None
    if spec.task == "regression" or len(classes) > 1:
        with _one_thread():
            estimator = kind(early_stopping=enough, **settings).fit(table, target, weights)
    return Reference(spec, estimator, classes, codes, len(train), available)


def _one_thread() -> threadpoolctl.threadpool_limits:
    """The booster's threads wait for each other: on a busy machine two took ten times as long."""
    return threadpoolctl.threadpool_limits(1, "openmp")


def _codes(counts: np.ndarray) -> np.ndarray:
    """Id to category, `[size]`: the most frequent values each their own, the rest one."""
    codes = np.full(len(counts), _OTHER)
    ids = np.setdiff1d(np.arange(len(counts)), [MISSING_ID, OUT_OF_VOCABULARY_ID])
    frequent = ids[np.argsort(-counts[ids], kind="stable")][:_MOST_CATEGORIES]
    codes[frequent] = np.arange(1, len(frequent) + 1)
    codes[MISSING_ID] = np.nan
    return codes


def _table(spec: ModelSpec, rows: Rows, codes: tuple[np.ndarray, ...]) -> np.ndarray:
    """Numbers and pixels, then categories, `[rows, features]`; NaN where missing."""
    numbers = (
        [rows.inputs[f.name].ravel() for f in spec.numeric]
        if rows.inputs is not None
        else list(rows.numeric.T)
    )
    categories = [
        code[rows.ids[:, i] - offset]
        for i, (code, offset) in enumerate(zip(codes, spec.offsets, strict=True))
    ]
    columns = [np.asarray(x, np.float64) for x in (*numbers, *categories)]
    if rows.image is not None:
        columns.insert(len(numbers), _pixels(rows.image))
    return np.column_stack(columns)


def _pixels(image: np.ndarray) -> np.ndarray:
    """Grey values, averaged over tiles so that a side has at most `MOST_SIDE`: `[rows, pixels]`."""
    grey = image.mean(axis=3, dtype=np.float32)
    for axis in (1, 2):
        side = grey.shape[axis]
        if side > MOST_SIDE:
            starts = np.arange(MOST_SIDE) * side // MOST_SIDE
            widths = np.diff([*starts, side])
            shape = [-1 if i == axis else 1 for i in range(3)]
            grey = np.add.reduceat(grey, starts, axis=axis) / widths.reshape(shape)
    return grey.reshape(len(grey), -1).astype(np.float64)
