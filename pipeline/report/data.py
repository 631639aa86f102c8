"""The data: rows, and what the train split's statistics say about every column."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from monitoring import summaries
from pipeline.report import charts, words
from pipeline.report.inputs import Inputs

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

BINS = 24
TOP_VALUES = 14
NAMED_VALUES = 3
#: Beyond this many columns the pictures have no words of their own, so that the page stays small.
COLUMNS_WITH_TIPS = 80
COLUMNS_SHOWN = 400


@dataclasses.dataclass(frozen=True)
class Feature:
    """One row of the table.

    Attributes:
      name: Column.
      kind: `label`, `numeric`, `categorical` or `ignore`, as the config says.
      type: How the data holds it: `integer`, `real`, `text`.
      rows: Of the split.
      missing: Cells without a value.
      distinct: Distinct values; None where nobody counted them (real numbers).
      numbers: `mean`, `std`, `min`, `median`, `max`; None for categories.
      values: The most frequent values with their share; empty for numbers.
      picture: Small histogram; empty when there is nothing to draw.
    """

    name: str
    kind: str
    type: str
    rows: int
    missing: int
    distinct: int | None
    numbers: dict[str, float] | None
    values: list[tuple[str, float]]
    picture: Markup

    @property
    def missing_share(self) -> float:
        return self.missing / self.rows if self.rows else 0.0


def section(inputs: Inputs) -> dict[str, Any]:
    """What the template needs; `{}` when nothing was read."""
    examples = inputs.artifact("ExampleGen", "examples")
    rows = inputs.result.get("rows") or {}
    statistics = inputs.statistics
    if examples is None and statistics is None:
        return {}
    used: list[Feature] = []
    unused: list[Feature] = []
    total = 0
    if statistics is not None:
        kinds = _kinds(inputs)
        total = len(statistics.features)
        for place, stats in enumerate(_ordered(statistics.features, kinds)):
            if place == COLUMNS_SHOWN:
                break
            name = _name(stats)
            kind = kinds.get(name, "ignore")
            feature = describe(
                stats, kind, int(statistics.num_examples), tips=total <= COLUMNS_WITH_TIPS
            )
            (unused if kind == "ignore" else used).append(feature)
    properties = examples.properties if examples else {}
    return {
        "rows": rows,
        "rows_read": properties.get("rows_read"),
        "fingerprint": properties.get("fingerprint"),
        "split": _split_words(inputs.config.get("data")),
        "derived": _derived(inputs.config.get("data")),
        "used": used,
        "unused": unused,
        "total": total,
    }


def describe(
    stats: statistics_pb2.FeatureNameStatistics, kind: str, rows: int, *, tips: bool = True
) -> Feature:
    """One column's statistics as a row of the table."""
    side = getattr(stats, stats.WhichOneof("stats") or "num_stats")
    name = _name(stats)
    common = side.common_stats
    missing = int(common.num_missing)
    distinct, numbers, values, picture = None, None, [], Markup("")
    if stats.WhichOneof("stats") == "string_stats":
        distinct = int(side.unique)
        values, picture = _categories(name, side, tips)
    elif stats.WhichOneof("stats") == "num_stats":
        missing += max((int(h.num_nan) for h in side.histograms), default=0)
        if common.num_non_missing:
            numbers = {
                "mean": side.mean,
                "std": side.std_dev,
                "min": side.min,
                "median": side.median,
                "max": side.max,
            }
            picture = _histogram(name, stats, tips)
    types = {stats.INT: "integer", stats.FLOAT: "real", stats.STRING: "text"}
    return Feature(
        name=name,
        kind=kind,
        type=types.get(stats.type, "other"),
        rows=max(rows, int(common.num_non_missing + common.num_missing)),
        missing=missing,
        distinct=distinct,
        numbers=numbers,
        values=values[:NAMED_VALUES],
        picture=picture,
    )


def _histogram(name: str, stats: statistics_pb2.FeatureNameStatistics, tips: bool) -> Markup:
    """Columns of equal width over the values without the outermost hundredths.

    One outlier would otherwise leave a single column; what is left out is said.
    """
    edges = _edges(stats)
    if len(edges) < 2:
        return Markup("")
    counts = np.array(summaries.bin_statistics(stats, tuple(edges)).counts)
    total = counts.sum()
    if total <= 0:
        return Markup("")
    shares = counts / total
    inner = shares[1:-1]
    notes = [
        f"{words.number(float(low))} – {words.number(float(high))}: {words.percent(float(share))}"
        for low, high, share in zip(edges, edges[1:], inner, strict=False)
    ]
    beyond = float(shares[0] + shares[-1])
    label = f"{name}: {len(inner)} columns from {words.number(edges[0])} to " + words.number(
        edges[-1]
    )
    if beyond > 0.0005:
        label += f"; {words.percent(beyond)} of the values lie beyond"
    return charts.columns([float(s) for s in inner], notes if tips else [], label)


def _edges(stats: statistics_pb2.FeatureNameStatistics) -> list[float]:
    """Equal widths between the quantiles that leave a hundredth out on each side."""
    quantiles = next(
        (h.buckets for h in stats.num_stats.histograms if h.type == summaries.QUANTILES), ()
    )
    bounds = [b.low_value for b in quantiles] + [b.high_value for b in quantiles][-1:]
    bounds = [b for b in bounds if math.isfinite(b)]
    if not bounds:
        return []
    low, high = bounds[0], bounds[-1]
    cut = round((len(bounds) - 1) / 100)
    inner_low, inner_high = bounds[cut], bounds[len(bounds) - 1 - cut]
    if inner_high > inner_low and high - low > 1.5 * (inner_high - inner_low):
        low, high = inner_low, inner_high
    if not math.isfinite(high - low):
        return []
    if high <= low:
        return [float(np.nextafter(low, -np.inf)), low]
    bins = BINS
    if stats.type == stats.INT and high - low < BINS:  # one column per whole number
        low, bins = low - 1, int(high - low) + 1
    edges = np.linspace(low, high, bins + 1)
    if not (np.diff(edges) > 0).all():
        return []
    edges[0] = np.nextafter(edges[0], -np.inf)  # bins are open to the left
    return [float(e) for e in edges]


def _categories(
    name: str, side: statistics_pb2.StringStatistics, tips: bool
) -> tuple[list[tuple[str, float]], Markup]:
    buckets = side.rank_histogram.buckets or ()
    pairs = [(b.label, b.sample_count) for b in buckets[:TOP_VALUES]]
    if not pairs:
        pairs = [(v.value, v.frequency) for v in side.top_values[:TOP_VALUES]]
    total = side.common_stats.tot_num_values or sum(n for _, n in pairs)
    if not pairs or not total:
        return [], Markup("")
    values = [(value, n / total) for value, n in pairs]
    rest = max(1 - sum(share for _, share in values), 0.0)
    others = max(int(side.unique) - len(values), 0)
    bars = values + ([(f"{others:,} other values", rest)] if others and rest > 0 else [])
    notes = [f"{words.short(v, 60)}: {words.percent(share)}" for v, share in bars]
    most, share = values[0]
    label = f"{name}: shares of the values, most frequent first; {words.short(most)} has "
    label += words.percent(share)
    picture = charts.columns(
        [share for _, share in bars],
        notes if tips else [],
        label,
        faint=len(bars) - len(values),
        gap=2,
    )
    return values, picture


def _kinds(inputs: Inputs) -> dict[str, str]:
    features = inputs.config.get("features")
    kinds = {str(k): str(v) for k, v in features.items()} if isinstance(features, dict) else {}
    if inputs.label:
        kinds[inputs.label] = "label"
    return kinds


def _ordered(features: Any, kinds: dict[str, str]) -> list[Any]:
    """The label, then numeric, then categorical, then ignored columns; else as in the data."""
    order = {"label": 0, "numeric": 1, "categorical": 2}
    return sorted(features, key=lambda f: order.get(kinds.get(_name(f), ""), 3))


def _name(stats: statistics_pb2.FeatureNameStatistics) -> str:
    return ".".join(stats.path.step) or stats.name


def _split_words(data: Any) -> str:
    """How rows got into the splits."""
    split = data.get("split") if isinstance(data, dict) else None
    if not isinstance(split, dict):
        return ""
    by, column = split.get("by", "hash"), split.get("column")
    if by == "time" and column:
        return f"Split by time: the oldest rows by `{column}` train, the newest test."
    if by == "key" and column:
        return f"Split by key: all rows with the same `{column}` are in one split."
    return "Split by a stable hash of each row."


def _derived(data: Any) -> list[tuple[str, str]]:
    derive = data.get("derive") if isinstance(data, dict) else None
    return [(str(k), str(v)) for k, v in derive.items()] if isinstance(derive, dict) else []
