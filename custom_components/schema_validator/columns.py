"""Reading a split's statistics: rows, columns, types, values.

Works on tensorflow_metadata's protos alone; nothing here needs TFDV.
"""

from __future__ import annotations

import dataclasses
import math

from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

ALL_EXAMPLES = "All Examples"
QUANTILES = statistics_pb2.Histogram.QUANTILES
TYPE_WORDS = {
    statistics_pb2.FeatureNameStatistics.INT: "a whole number",
    statistics_pb2.FeatureNameStatistics.FLOAT: "a number",
    statistics_pb2.FeatureNameStatistics.STRING: "text",
    statistics_pb2.FeatureNameStatistics.BYTES: "text",
}
SCHEMA_TYPE_WORDS = {
    schema_pb2.INT: "a whole number",
    schema_pb2.FLOAT: "a number",
    schema_pb2.BYTES: "text",
}

Column = statistics_pb2.FeatureNameStatistics


@dataclasses.dataclass(frozen=True)
class SplitStatistics:
    """Statistics of one split.

    Attributes:
      rows: Examples.
      columns: Statistics by column.
      proto: As read, for TFDV.
    """

    rows: int
    columns: dict[str, Column]
    proto: statistics_pb2.DatasetFeatureStatisticsList

    @classmethod
    def parse(cls, content: bytes) -> SplitStatistics:
        """Reads a FeatureStats.pb; of sliced statistics, the slice of all examples."""
        return cls.of(statistics_pb2.DatasetFeatureStatisticsList.FromString(content))

    @classmethod
    def of(cls, proto: statistics_pb2.DatasetFeatureStatisticsList) -> SplitStatistics:
        if not proto.datasets:
            return cls(0, {}, proto)
        whole = next((d for d in proto.datasets if d.name == ALL_EXAMPLES), proto.datasets[0])
        columns = {c.name or ".".join(c.path.step): c for c in whole.features}
        return cls(int(whole.num_examples), columns, proto)


def common(column: Column) -> statistics_pb2.CommonStatistics:
    """Counts that columns of every type have."""
    return getattr(column, column.WhichOneof("stats") or "num_stats").common_stats


def is_empty(column: Column) -> bool:
    """Whether no row has a value."""
    return common(column).num_non_missing == 0


def missing(column: Column, rows: int) -> int:
    """Rows without a value."""
    return max(rows - int(common(column).num_non_missing), 0)


def is_number(column: Column) -> bool:
    """Whether the values are numbers, be they treated as categories or not."""
    return column.type in (Column.INT, Column.FLOAT)


def type_words(column: Column) -> str:
    return TYPE_WORDS.get(column.type, "neither number nor text")


def values(column: Column) -> dict[str, float]:
    """Rows per value.

    Exact for text and for integers that are categories (as far as the rank histogram
    reaches). For numbers only those values that are quantiles, which all are that fill a
    hundredth of the rows; the least and the largest are always among them.
    """
    if column.WhichOneof("stats") == "string_stats":
        buckets = column.string_stats.rank_histogram.buckets
        return {bucket.label: float(bucket.sample_count) for bucket in buckets}
    counts: dict[float, float] = {}
    for histogram in column.num_stats.histograms:
        if histogram.type == QUANTILES:
            for bucket in histogram.buckets:
                high = bucket.high_value
                counts[high] = counts.get(high, 0.0) + bucket.sample_count
    least = column.num_stats.min
    if counts and least not in counts:
        # The rows at the least value were counted with the first quantile; zeros are known.
        rows = float(column.num_stats.num_zeros) if least == 0 else 1.0
        counts[min(counts)] -= rows
        counts = {least: rows, **counts}
    return {number_text(value): rows for value, rows in counts.items() if rows > 0}


def number_text(value: float) -> str:
    """`3` for 3.0, `0.25` for 0.25."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else f"{value:.7g}"


def is_readable_number(text: str) -> bool:
    """Whether a text cell could be read as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def domain(schema: schema_pb2.Schema, feature: schema_pb2.Feature) -> tuple[str, ...]:
    """The values a feature may take by its schema; empty when it does not say."""
    if feature.WhichOneof("domain_info") == "string_domain":
        return tuple(feature.string_domain.value)
    if feature.WhichOneof("domain_info") == "domain":
        for candidate in schema.string_domain:
            if candidate.name == feature.domain:
                return tuple(candidate.value)
    return ()


def quoted(names: list[str], most: int = 5) -> str:
    """`'a', 'b' and 3 more`."""
    text = ", ".join(f"'{name}'" for name in names[:most])
    return text + (f" and {len(names) - most:,} more" if len(names) > most else "")


def percent(share: float) -> str:
    """`12 %`, `1.2 %`, `0.02 %`."""
    if share >= 0.1 or share == 0:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if share >= 0.001 else f"{100 * share:.2g} %"
