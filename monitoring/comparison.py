"""Two tables, side by side: for notebooks and scripts.

    import monitoring
    found = monitoring.compare(reference, current)
    found                      # in a notebook: the table, largest change first
    found.to_dataframe()
    found.show()

From rows, so KS and Wasserstein are those of the rows themselves (equal to
scipy.stats.ks_2samp and wasserstein_distance), and nothing is approximated by bins; PSI and JSD
are of the reference's quantile bins, as everywhere.
"""

from __future__ import annotations

import dataclasses
import html
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import pyarrow as pa

from models import feeds
from models.errors import DataError
from models.text import did_you_mean
from monitoring import drift, summaries
from monitoring.counting import CategoryCells, Numbers, NumericCells, Values
from monitoring.measures import features

if TYPE_CHECKING:
    import pandas as pd

Table = "pa.Table | pd.DataFrame | Mapping[str, Any]"
#: Whole numbers of no more distinct values than this are categories, unless said otherwise.
_FEW = 20


@dataclasses.dataclass(frozen=True)
class FeatureComparison:
    """How one feature differs.

    Attributes:
      feature: Column.
      kind: `numeric` or `categorical`.
      psi, jsd: Over the reference's bins or values; jsd in bits.
      linf: Categorical: largest change of one value's share; else None.
      ks, ks_p_value, wasserstein: Numeric, of the rows themselves; else None.
      chi_square, p_value: Pearson's test over the cells; the p-value is also PSI's.
      missing_reference, missing_current: Shares.
      drifted: A size that matters (`monitoring.drift.Thresholds`) and more than chance.
      words: Direction and size.
    """

    feature: str
    kind: str
    psi: float
    jsd: float
    linf: float | None
    ks: float | None
    ks_p_value: float | None
    wasserstein: float | None
    chi_square: float
    p_value: float
    missing_reference: float
    missing_current: float
    drifted: bool
    words: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of two tables.

    Attributes:
      features: Largest PSI first.
      rows_reference, rows_current: Rows.
      only_reference, only_current: Columns that one side has alone.
      thresholds: What size of a change matters.
    """

    features: tuple[FeatureComparison, ...]
    rows_reference: int
    rows_current: int
    only_reference: tuple[str, ...]
    only_current: tuple[str, ...]
    thresholds: drift.Thresholds

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that have drifted."""
        return tuple(f.feature for f in self.features if f.drifted)

    def __getitem__(self, feature: str) -> FeatureComparison:
        for found in self.features:
            if found.feature == feature:
                return found
        raise KeyError(feature + did_you_mean(feature, [f.feature for f in self.features]))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per feature, its name as the index."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(FeatureComparison)]
        rows = [dataclasses.asdict(f) for f in self.features]
        return pd.DataFrame(rows, columns=names).set_index("feature")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def show(self, stream: TextIO | None = None) -> None:
        """Writes what a reader needs as text."""
        stream = stream or sys.stdout
        head = f"{self.rows_reference:,} reference rows, {self.rows_current:,} current rows"
        print(head, file=stream)
        wide = max((len(f.feature) for f in self.features), default=7)
        for found in self.features:
            mark = "drifted" if found.drifted else ""
            print(f"{found.feature:<{wide}}  {mark:<7}  psi {found.psi:7.4f}  {found.words}",
                  file=stream)  # fmt: skip
        for side, names in (("reference", self.only_reference), ("current", self.only_current)):
            if names:
                print(f"only in the {side}: {', '.join(names)}", file=stream)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        cells = "".join(
            f"<tr><td>{html.escape(f.feature)}</td><td>{'drifted' if f.drifted else ''}</td>"
            f"<td>{f.psi:.4f}</td><td>{f.jsd:.4f}</td>"
            f"<td>{'' if f.ks is None else format(f.ks, '.4f')}</td>"
            f"<td style='text-align:left'>{html.escape(f.words)}</td></tr>"
            for f in self.features
        )
        heads = "".join(f"<th>{name}</th>" for name in ("feature", "", "PSI", "JSD", "KS", "what"))
        return (
            f"<table><caption>{self.rows_reference:,} reference rows, {self.rows_current:,} "
            f"current rows</caption><tr>{heads}</tr>{cells}</table>"
        )


def compare(
    reference: Table,
    current: Table,
    *,
    kinds: Mapping[str, str] | None = None,
    bins: int = summaries.BINS,
    thresholds: drift.Thresholds | None = None,
) -> Comparison:
    """Compares two tables column by column.

    Args:
      reference, current: Arrow tables, pandas frames, or arrays by name.
      kinds: Column to `numeric`, `categorical` or `ignore`. Default: text and truth values are
        categorical, and whole numbers of at most 20 different values; other numbers numeric.
      bins: Quantile bins of the reference.
      thresholds: What size of a change matters; see `monitoring.drift`.

    Raises:
      DataError: NOTHING_TO_COMPARE, TYPE_CHANGED.
    """
    p, q = _arrow(reference), _arrow(current)
    shared = [name for name in p.column_names if name in set(q.column_names)]
    if not shared:
        raise DataError(
            "NOTHING_TO_COMPARE",
            "The two tables have no column in common: "
            f"{', '.join(p.column_names) or 'none'} and {', '.join(q.column_names) or 'none'}.",
            next="Compare tables of the same columns.",
        )
    thresholds = thresholds or drift.Thresholds()
    found = []
    for name in shared:
        before, now = feeds.flat_column(p, name), feeds.flat_column(q, name)
        kind = (kinds or {}).get(name) or _kind(before)
        if kind == "numeric":
            found.append(_numeric(name, before, now, bins, thresholds))
        elif kind == "categorical":
            found.append(_categorical(name, before, now, thresholds))
    return Comparison(
        tuple(sorted(found, key=lambda f: -f.psi)),
        p.num_rows,
        q.num_rows,
        tuple(name for name in p.column_names if name not in set(q.column_names)),
        tuple(name for name in q.column_names if name not in set(p.column_names)),
        thresholds,
    )


def _numeric(
    name: str, before: pa.Array, now: pa.Array, bins: int, thresholds: drift.Thresholds
) -> FeatureComparison:
    from scipy import stats

    p, q = _numbers(name, before), _numbers(name, now)
    cells = NumericCells.of(p, bins, single=False)
    sides = Numbers(cells).add(p), Numbers(cells).add(q)
    binned = [
        dataclasses.replace(side.binned(), median=_median(values))
        for side, values in zip(sides, (p, q), strict=True)
    ]
    compared = drift.compare(name, *binned, thresholds)
    x, y = p[np.isfinite(p)], q[np.isfinite(q)]
    ks = ks_p = wasserstein = None
    if len(x) and len(y):
        test = stats.ks_2samp(x, y, method="asymp")
        ks, ks_p = float(test.statistic), float(test.pvalue)
        wasserstein = float(stats.wasserstein_distance(x, y))
    statistic, p_value = features.chi_square(*map(features.cells_of, sides))
    return FeatureComparison(
        name, "numeric", compared.psi, compared.jsd, None, ks, ks_p, wasserstein, statistic,
        p_value, _share(before), _share(now), compared.drifted, compared.words,
    )  # fmt: skip


def _categorical(
    name: str, before: pa.Array, now: pa.Array, thresholds: drift.Thresholds
) -> FeatureComparison:
    columns = [pa.array(feeds.to_text(column), pa.string()) for column in (before, now)]
    counts = summaries.count_values(columns[0].to_numpy(zero_copy_only=False)).counts
    cells = CategoryCells.of(dict(counts))
    sides = [Values(cells).add(column) for column in columns]
    exact = [summaries.count_values(column.to_numpy(zero_copy_only=False)) for column in columns]
    compared = drift.compare(name, *exact, thresholds)
    statistic, p_value = features.chi_square(*map(features.cells_of, sides))
    return FeatureComparison(
        name, "categorical", compared.psi, compared.jsd, compared.linf, None, None, None,
        statistic, p_value, _share(before), _share(now), compared.drifted, compared.words,
    )  # fmt: skip


def _arrow(table: Any) -> pa.Table:
    if isinstance(table, (pa.Table, pa.RecordBatch)):
        return table
    if isinstance(table, Mapping):
        return pa.table({str(k): pa.array(v, from_pandas=True) for k, v in table.items()})
    return pa.Table.from_pandas(table, preserve_index=False)


def _kind(column: pa.Array) -> str:
    if pa.types.is_integer(column.type):
        few = len(column.unique()) <= _FEW
        return "categorical" if few else "numeric"
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return "numeric"
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    if any(test(column.type) for test in text) or pa.types.is_dictionary(column.type):
        return "categorical"
    return "ignore"


def _numbers(name: str, column: pa.Array) -> np.ndarray:
    """float64, NaN where missing."""
    if pa.types.is_string(column.type) or pa.types.is_null(column.type):
        return feeds.to_float(column, name).astype(np.float64)
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _median(values: np.ndarray) -> float | None:
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else None


def _share(column: pa.Array) -> float:
    if not len(column):
        return 0.0
    missing = column.null_count
    if pa.types.is_floating(column.type):
        missing += int(np.isnan(column.drop_null().to_numpy(zero_copy_only=False)).sum())
    return missing / len(column)
