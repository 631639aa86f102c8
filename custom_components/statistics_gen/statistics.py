"""Statistics of a stream of record batches, by TFDV's own generators, in this process.

TFDV's in-memory function takes one batch with everything in it. Its generators are combiners,
though: batches can be added to their accumulators one after the other, as Beam does. So memory
stays flat, and the numbers are those of TFDV on Beam: counts, sums, extremes, values and their
frequencies exactly (up to `max_values` distinct ones); quantiles, and the median and the
histograms that TFDV takes from them, within rank error `EPSILON` of the truth.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators import (
    basic_stats_generator,
    top_k_uniques_sketch_stats_generator,
)
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from custom_components.statistics_gen.histograms import fast_histograms
from custom_components.statistics_gen.options import StatisticsOptions

#: Error of quantile ranks, as a share of the rows; TFDV's default is 0.01.
EPSILON = 0.001

_NUM_BUCKETS = 10  # TFDV's defaults for the equal-width and the list-length histogram


def stats_options(options: StatisticsOptions) -> tfdv.StatsOptions:
    """The options for TFDV with the limits lifted, as its Beam executor takes them."""
    return tfdv.StatsOptions(
        schema=_schema(options),
        num_top_values=options.max_values,
        num_rank_histogram_buckets=options.max_values,
        num_quantiles_histogram_buckets=options.quantiles,
        epsilon=EPSILON,
    )


def compute(
    batches: Iterable[pa.RecordBatch], options: StatisticsOptions
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Statistics of all rows together.

    Args:
      batches: List columns, as tfx_bsl decodes tf.Examples; any number of rows each.
      options: Limits, categorical integers and images.

    Returns:
      One dataset, as TFDV writes it; without features if there are no rows.
    """
    schema = _schema(options)
    # TFDV keeps 16,384 hashes to count distinct values; with one per value the count is exact.
    generators = stats_impl.get_generators(
        tfdv.StatsOptions(
            add_default_generators=False,
            generators=[
                basic_stats_generator.BasicStatsGenerator(
                    schema=schema,
                    num_values_histogram_buckets=_NUM_BUCKETS,
                    num_histogram_buckets=_NUM_BUCKETS,
                    num_quantiles_histogram_buckets=options.quantiles,
                    epsilon=EPSILON,
                ),
                top_k_uniques_sketch_stats_generator.TopKUniquesSketchStatsGenerator(
                    schema=schema,
                    num_top_values=options.max_values,
                    num_rank_histogram_buckets=options.max_values,
                    num_misragries_buckets=options.max_values,
                    num_kmv_buckets=options.max_values,
                ),
            ],
        ),
        in_memory=True,
    )
    partial = [generator.create_accumulator() for generator in generators]
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        partial = [g.add_input(p, batch) for g, p in zip(generators, partial, strict=True)]
    if not rows:
        return statistics_pb2.DatasetFeatureStatisticsList(
            datasets=[statistics_pb2.DatasetFeatureStatistics()]
        )
    with fast_histograms():
        return stats_impl.extract_statistics_output(partial, generators)


def _schema(options: StatisticsOptions) -> schema_pb2.Schema:
    schema = schema_pb2.Schema()
    for name in options.categorical_integers:
        feature = schema.feature.add(name=name, type=schema_pb2.INT)
        feature.int_domain.is_categorical = True
    for name in options.images:
        schema.feature.add(name=name, type=schema_pb2.BYTES).image_domain.SetInParent()
    return schema
