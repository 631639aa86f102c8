"""FeatureStats as StatisticsGen writes them: quantiles of numbers, ranks of values."""

from __future__ import annotations

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from tests.pipeline.report_files import ROWS, Names


def make_statistics(task: str, names: Names, more: list[str]) -> bytes:
    """The train split of a small run; `more` are further numeric columns."""
    rng = np.random.default_rng(3)
    result = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = result.datasets.add(num_examples=ROWS["train"])
    fares = rng.gamma(2.0, 6.0, ROWS["train"] - 70)
    fares[0] = 4000.0
    add_numbers(dataset, names.numeric, fares, missing=70)
    rest = len(names.values) - 2
    share = rng.multinomial(ROWS["train"] - 7, [0.6, 0.3, *([0.1 / rest] * rest)])
    add_values(dataset, names.categorical, dict(zip(names.values, share.tolist(), strict=True)), 7)
    if task == "regression":
        add_numbers(dataset, names.label, rng.normal(150, 70, ROWS["train"]))
    else:
        rows = np.full(len(names.classes), ROWS["train"] // len(names.classes)).tolist()
        add_values(dataset, names.label, dict(zip(names.classes, rows, strict=True)))
    add_numbers(dataset, names.ignored, np.zeros(0), missing=ROWS["train"])
    for name in more:
        add_numbers(dataset, name, rng.normal(size=500))
    return result.SerializeToString()


def add_numbers(
    dataset: statistics_pb2.DatasetFeatureStatistics,
    name: str,
    values: np.ndarray,
    missing: int = 0,
    whole: bool = False,
) -> statistics_pb2.FeatureNameStatistics:
    stats = dataset.features.add(
        type=statistics_pb2.FeatureNameStatistics.INT
        if whole
        else statistics_pb2.FeatureNameStatistics.FLOAT
    )
    stats.path.step.append(name)
    side = stats.num_stats
    side.common_stats.num_missing = missing
    side.common_stats.num_non_missing = side.common_stats.tot_num_values = len(values)
    if len(values):
        side.mean, side.std_dev = float(values.mean()), float(values.std())
        side.min, side.max = float(values.min()), float(values.max())
        side.median = float(np.median(values))
        side.num_zeros = int((values == 0).sum())
        quantiles = side.histograms.add(type=statistics_pb2.Histogram.QUANTILES)
        bounds = np.quantile(values, np.linspace(0, 1, 101), method="inverted_cdf")
        for low, high in zip(bounds, bounds[1:], strict=False):
            quantiles.buckets.add(low_value=low, high_value=high, sample_count=len(values) / 100)
    return stats


def add_values(
    dataset: statistics_pb2.DatasetFeatureStatistics,
    name: str,
    counts: dict[str, int],
    missing: int = 0,
) -> statistics_pb2.FeatureNameStatistics:
    stats = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    stats.path.step.append(name)
    side = stats.string_stats
    total = sum(counts.values())
    side.common_stats.num_missing = missing
    side.common_stats.num_non_missing = side.common_stats.tot_num_values = total
    side.unique = len(counts)
    for rank, (value, n) in enumerate(sorted(counts.items(), key=lambda item: -item[1])):
        side.top_values.add(value=value, frequency=n)
        side.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=n)
    return stats
