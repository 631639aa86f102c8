"""Change that shows only in several features together.

reconstruction_error  Features are standardised, encoded and projected onto the leading
      principal components of the reference and back; the root mean squared distance per row is
      averaged (the idea is NannyML's; Jolliffe, Principal Component Analysis, 2002). Rows with
      another correlation between features come back less well. Against a half of the
      reference that the components were not made from; p-value of Welch's test.
domain_auc  AUC, out of fold, of gradient-boosted trees that tell the window's rows from the
      reference's (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017). 0.5:
      they cannot. p-value and interval from the Mann-Whitney variance (Hanley and McNeil,
      1982). The words name the features that tell them apart.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.spec import ModelSpec
from monitoring.log_rows import FEATURE, tabular
from monitoring.measure import ALL_FEATURES, Measure
from monitoring.options import MultivariateOptions
from monitoring.window_summary import Layout, flat, kind_of

_ONE_HOT = 12
_CODES = 250
_CLIP = 5.0
_FOLDS = 3
_Z95 = 1.959963984540054


def measure(
    layout: Layout,
    reference: pa.Table,
    current: pa.Table,
    options: MultivariateOptions,
    *,
    window_id: str = "",
) -> list[Measure]:
    """Both measures from rows in the log's format; nothing for too few of them."""
    spec = layout.spec
    reference, current = _evenly(reference, options.rows), _evenly(current, options.rows)
    if min(len(reference), len(current)) < 100 or not tabular(spec):
        return []
    both = pa.concat_tables(
        [table.select([FEATURE + f.name for f in tabular(spec)]) for table in (reference, current)]
    )
    return [
        *_reconstruction(spec, both, len(reference), options.variance, window_id),
        _domain(layout, both, len(reference), window_id),
    ]


def _reconstruction(
    spec: ModelSpec, both: pa.Table, m: int, variance: float, window_id: str
) -> list[Measure]:
    matrix = encode(spec, both, m)
    fitted, held, current = matrix[:m:2], matrix[1:m:2], matrix[m:]
    mean = fitted.mean(axis=0)
    _, singular, components = np.linalg.svd(fitted - mean, full_matrices=False)
    explained = np.cumsum(singular**2) / max(float((singular**2).sum()), 1e-300)
    kept = components[: int(np.searchsorted(explained, variance)) + 1]

    def error(rows: np.ndarray) -> np.ndarray:
        centred = rows - mean
        return np.sqrt(((centred - centred @ kept.T @ kept) ** 2).mean(axis=1))

    before, now = error(held), error(current)
    from scipy import stats

    p_value = float(stats.ttest_ind(before, now, equal_var=False).pvalue)
    if math.isnan(p_value):  # both sides come back exactly
        p_value = 1.0
    half = _Z95 * now.std(ddof=1) / math.sqrt(len(now))
    words = f"reconstruction error {before.mean():.3g} → {now.mean():.3g}"
    return [
        Measure(
            ALL_FEATURES, "reconstruction_error", float(now.mean()), len(now), len(before),
            "", window_id, words, "multivariate", "training", p_value,
            float(now.mean() - half), float(now.mean() + half),
        )
    ]  # fmt: skip


def _domain(layout: Layout, both: pa.Table, m: int, window_id: str) -> Measure:
    import threadpoolctl
    from scipy import stats
    from sklearn.ensemble import HistGradientBoostingClassifier

    names = [f.name for f in tabular(layout.spec)]
    table = codes(layout, both)
    side = np.arange(len(both)) >= m
    fold = np.concatenate([np.arange(m) % _FOLDS, np.arange(len(both) - m) % _FOLDS])
    score = np.zeros(len(both))
    lost = np.zeros(len(names))
    categorical = [kind_of(layout.spec, name) == "categorical" for name in names]
    rng = np.random.default_rng(0)
    with threadpoolctl.threadpool_limits(1, "openmp"):
        for number in range(_FOLDS):
            test = fold == number
            trees = HistGradientBoostingClassifier(
                max_iter=30, max_leaf_nodes=15, learning_rate=0.1, random_state=0,
                categorical_features=categorical, early_stopping=False,
            ).fit(table[~test], side[~test])  # fmt: skip
            score[test] = trees.decision_function(table[test])
            if number == 0:  # which features tell: the AUC lost when one is shuffled
                full = auc(side[test], score[test])
                for i in range(len(names)):
                    shuffled = table[test].copy()
                    shuffled[:, i] = rng.permutation(shuffled[:, i])
                    lost[i] = full - auc(side[test], trees.decision_function(shuffled))
    value = auc(side, score)
    n = int(side.sum())
    spread = _mann_whitney_spread(n, m)
    p_value = float(stats.norm.sf((value - 0.5) / spread))
    telling = [names[i] for i in np.argsort(-lost)[:3] if lost[i] > 0.01]
    words = f"rows can be told from the reference with AUC {value:.3f}"
    if telling and p_value < 0.05:
        words += f", by {', '.join(telling)}"
    half = _Z95 * auc_spread(value, n, m)
    return Measure(
        ALL_FEATURES, "domain_auc", value, n, m, "", window_id, words, "multivariate",
        "training", p_value, max(value - half, 0.0), min(value + half, 1.0),
    )  # fmt: skip


def encode(spec: ModelSpec, table: pa.Table, m: int) -> np.ndarray:
    """float64 `[rows, columns]`: numbers in standard deviations of the first m rows, clipped,
    missing at the mean; the commonest values of categories as 0 and 1, standardised."""
    columns = []
    for feature in tabular(spec):
        column = flat(table.column(FEATURE + feature.name).combine_chunks())
        if kind_of(spec, feature.name) == "numeric":
            values = column.to_numpy(zero_copy_only=False).astype(np.float64)
            values = np.where(np.isfinite(values), values, np.nan)
            columns.append(values)
            continue
        text = column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False).astype(str)
        names, counts = np.unique(text[:m], return_counts=True)
        for name in names[np.argsort(-counts, kind="stable")[:_ONE_HOT]]:
            columns.append((text == name).astype(np.float64))
    matrix = np.column_stack(columns)
    first = matrix[:m]
    known = np.maximum((~np.isnan(first)).sum(axis=0), 1)
    mean = np.nansum(first, axis=0) / known
    std = np.sqrt(np.nansum((first - mean) ** 2, axis=0) / known)
    scaled = (matrix - mean) / np.where(std > 0, std, 1.0)
    return np.clip(np.nan_to_num(scaled), -_CLIP, _CLIP)


def codes(layout: Layout, table: pa.Table) -> np.ndarray:
    """float64 `[rows, features]` for trees: numbers as they are, categories as their place among
    the reference's values (one place for all after the 250th and for new ones); NaN: missing."""
    columns = []
    for feature in tabular(layout.spec):
        column = flat(table.column(FEATURE + feature.name).combine_chunks())
        if kind_of(layout.spec, feature.name) == "numeric":
            columns.append(column.to_numpy(zero_copy_only=False).astype(np.float64))
            continue
        names = layout.cells[feature.name].names[:_CODES]
        place = pc.index_in(column.cast(pa.string()), pa.array(names, pa.string()))
        code = pc.fill_null(place, _CODES).to_numpy(zero_copy_only=False).astype(np.float64)
        code[np.asarray(column.is_null())] = np.nan
        columns.append(code)
    return np.column_stack(columns)


def auc(side: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half."""
    from scipy import stats

    ranks = stats.rankdata(score)
    n, m = int(side.sum()), int((~side).sum())
    return float((ranks[side].sum() - n * (n + 1) / 2) / max(n * m, 1))


def auc_spread(value: float, n: int, m: int) -> float:
    """Standard error of an AUC of n positive and m negative rows (Hanley and McNeil, 1982)."""
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value) + (n - 1) * (q1 - value**2) + (m - 1) * (q2 - value**2)
    return math.sqrt(max(spread, 0.0) / max(n * m, 1))


def _mann_whitney_spread(n: int, m: int) -> float:
    return math.sqrt((n + m + 1) / (12 * n * m))


def _evenly(table: pa.Table, most: int) -> pa.Table:
    if len(table) <= most:
        return table
    return table.take(np.linspace(0, len(table) - 1, most).astype(int))
