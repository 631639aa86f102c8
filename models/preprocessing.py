"""The constants of the preprocessing, from the statistics of the train split.

Nothing is computed twice: quantiles, moments and vocabularies are those that
StatisticsGen measured. Imports no TensorFlow.
"""

from __future__ import annotations

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from models.errors import DataError
from models.options import PreprocessingOptions, TaskOptions
from models.spec import CategoricalFeature, ImageFeature, ModelSpec, NumericFeature

#: Integer categories spanning more values than this are matched as text, not by table.
LARGEST_INTEGER_RANGE = 4096
_POSITIVE = ("1", "true", "yes", "y", "positive", "t")

Statistics = dict[str, statistics_pb2.FeatureNameStatistics]


def by_name(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Statistics:
    """The statistics of each column, by its name."""
    features = statistics.datasets[0].features
    return {f.path.step[0] if f.HasField("path") else f.name: f for f in features}


def build_spec(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    kinds: dict[str, str],
    task: TaskOptions,
    options: PreprocessingOptions,
    image: ImageFeature | None = None,
) -> ModelSpec:
    """Fixes the model's contract.

    Args:
      statistics: Of the train split, limits lifted (all values of every
        categorical column, 100 quantiles of every numeric one).
      kinds: Column to `numeric`, `categorical`, `image` or `ignore`.
      task: Label and kind of problem.
      options: Clipping and vocabulary limits.
      image: The picture among the features, whose size no statistics hold.

    Raises:
      DataError: no usable feature is left, or the label cannot be used.
    """
    columns = by_name(statistics)
    numeric, categorical = [], []
    for name, kind in kinds.items():
        if name == task.label or kind in ("ignore", "image") or name not in columns:
            continue
        if kind == "numeric":
            numeric.append(_numeric(name, columns[name], options.clip_quantile))
        else:
            categorical.append(_categorical(name, columns[name], options))
    numeric = [f for f in numeric if f is not None]
    categorical = [f for f in categorical if f is not None]
    if not numeric and not categorical and not image:
        raise DataError(
            "NO_FEATURES",
            "No feature is left to learn from: every column is ignored, constant or empty in the "
            "train split.",
            next="Set at least one column to `numeric` or `categorical` under `features` in "
            "flywheel.yaml.",
        )
    label = columns.get(task.label)
    classes, mean, std = (), 0.0, 1.0
    if task.type == "regression":
        mean, std = _target(task.label, label)
    else:
        classes = _classes(task, label)
    return ModelSpec(
        task.type, task.label, classes, tuple(numeric), tuple(categorical), mean, std, image
    )


def _numeric(
    name: str, stats: statistics_pb2.FeatureNameStatistics, q: float
) -> NumericFeature | None:
    """None when the column is constant or empty: it cannot tell rows apart."""
    if not stats.HasField("num_stats"):
        raise DataError(
            "TYPE_CHANGED",
            f"Column `{name}` is declared numeric and holds text.",
            next="Mend the values, or declare it categorical in flywheel.yaml.",
        )
    num = stats.num_stats
    if not num.common_stats.num_non_missing or num.min == num.max:
        return None
    edges, counts = _quantiles(num)
    cumulative = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    low, high = np.interp([q, 1 - q], cumulative, edges)
    if low == high:  # mostly one value: quantiles collapse, the range does not
        low, high = num.min, num.max
    else:  # one more range on each side: tails carry signal, a wild outlier does not
        low, high = max(num.min, 2 * low - high), min(num.max, 2 * high - low)
    clipped = np.clip(edges, low, high)
    # Rows are taken as uniform within a bucket: E[x] and E[x²] of each, then over all.
    left, right = clipped[:-1], clipped[1:]
    weights = counts / counts.sum()
    mean = float(np.sum(weights * (left + right) / 2))
    square = float(np.sum(weights * (left**2 + left * right + right**2) / 3))
    std = max(square - mean**2, 0.0) ** 0.5
    if not std > 1e-12 * max(abs(low), abs(high), 1e-30):
        std = float(high - low)
    median = float(min(max(num.median, low), high))
    column_type = "integer" if stats.type == statistics_pb2.FeatureNameStatistics.INT else "real"
    return NumericFeature(name, median, float(low), float(high), mean, std, column_type)


def _quantiles(num: statistics_pb2.NumericStatistics) -> tuple[np.ndarray, np.ndarray]:
    """Edges `[k + 1]` and counts `[k]` of the quantile histogram."""
    for histogram in num.histograms:
        if histogram.type == statistics_pb2.Histogram.QUANTILES and histogram.buckets:
            buckets = histogram.buckets
            edges = np.array([buckets[0].low_value, *(b.high_value for b in buckets)])
            counts = np.array([b.sample_count for b in buckets])
            if np.isfinite(edges).all() and counts.sum() > 0:
                return edges, counts
    return np.array([num.min, num.max]), np.array([1.0])


def _ranked(name: str, stats: statistics_pb2.FeatureNameStatistics) -> list[tuple[str, float]]:
    """Every value with its count, most frequent first, ties in alphabetical order."""
    if not stats.HasField("string_stats"):
        raise DataError(
            "NOT_CATEGORICAL",
            f"Column `{name}` is used as a category, and its statistics are those of a number.",
            next="Decimal numbers: declare it numeric in flywheel.yaml, or round it. Whole "
            "numbers: name it in StatisticsGen's `categorical_integers`.",
        )
    buckets = stats.string_stats.rank_histogram.buckets
    if len(buckets) < stats.string_stats.unique:
        raise DataError(
            "VOCABULARY_INCOMPLETE",
            f"The statistics of `{name}` hold {len(buckets):,} of its "
            f"{stats.string_stats.unique:,} values.",
            next="Set it to `ignore` in flywheel.yaml, or group its values.",
        )
    pairs = [(b.label, b.sample_count) for b in buckets if b.label != ""]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _categorical(
    name: str, stats: statistics_pb2.FeatureNameStatistics, options: PreprocessingOptions
) -> CategoricalFeature | None:
    common = (
        stats.string_stats.common_stats
        if stats.HasField("string_stats")
        else stats.num_stats.common_stats
    )
    if not common.num_non_missing:
        return None
    kept = [v for v, count in _ranked(name, stats) if count >= options.min_frequency]
    kept = kept[: options.max_vocabulary]
    if not kept:
        return None
    if stats.type == statistics_pb2.FeatureNameStatistics.INT:
        values = sorted(int(v) for v in kept)
        if values[-1] - values[0] <= LARGEST_INTEGER_RANGE and abs(values[-1]) < 2**24:
            return CategoricalFeature(name, "integer", tuple(str(v) for v in values), "integer")
        return CategoricalFeature(name, "string", tuple(kept), "integer")
    return CategoricalFeature(name, "string", tuple(kept))


def _target(label: str, stats: statistics_pb2.FeatureNameStatistics | None) -> tuple[float, float]:
    if stats is None or not stats.HasField("num_stats") or not stats.num_stats.std_dev > 0:
        raise DataError(
            "LABEL_UNUSABLE",
            f"The label `{label}` is not a number that varies in the train split.",
            next="Choose another label, or set `task.type` in flywheel.yaml.",
        )
    return stats.num_stats.mean, stats.num_stats.std_dev


def _classes(
    task: TaskOptions, stats: statistics_pb2.FeatureNameStatistics | None
) -> tuple[str, ...]:
    values = [v for v, _ in _ranked(task.label, stats)] if stats is not None else []
    try:
        values = sorted(values, key=lambda v: (float(v), v))
    except ValueError:
        values = sorted(values)
    if len(values) < 2 or (task.type == "binary" and len(values) != 2):
        needed = "two values" if task.type == "binary" else "two values or more"
        raise DataError(
            "LABEL_UNUSABLE",
            f"The label `{task.label}` needs {needed} for a {task.type} task; the train split "
            f"holds {len(values)}: {', '.join(values[:8]) or 'none'}.",
            next="Choose another label, or set `task.type` in flywheel.yaml.",
        )
    if task.type == "binary":
        positive = task.positive
        if positive is None:
            positive = next((v for v in values if v.lower() in _POSITIVE), values[1])
        if positive not in values:
            raise DataError(
                "LABEL_UNUSABLE",
                f"`task.positive` is {positive!r}; the label `{task.label}` holds "
                f"{values[0]!r} and {values[1]!r}.",
                next="Set `task.positive` to one of them.",
            )
        values = [next(v for v in values if v != positive), positive]
    return tuple(values)
