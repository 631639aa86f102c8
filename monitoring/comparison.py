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
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import pyarrow as pa

from models import feeds
from models.errors import DataError
from models.text import did_you_mean
from monitoring import distinct, drift, summaries
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
    p, q = _Side.of(reference), _Side.of(current)
    shared = [name for name in p.names if name in set(q.names)]
    if not shared:
        raise DataError(
            "NOTHING_TO_COMPARE",
            "The two tables have no column in common: "
            f"{', '.join(p.names) or 'none'} and {', '.join(q.names) or 'none'}.",
            next="Compare tables of the same columns.",
        )
    thresholds = thresholds or drift.Thresholds()
    found = []
    for name in shared:
        before, now = p.column(name), q.column(name)
        kind = (kinds or {}).get(name) or _kind(before)
        if kind == "numeric":
            found.append(_numeric(name, before, now, bins, thresholds))
        elif kind == "categorical":
            found.append(_categorical(name, before, now, thresholds))
    return Comparison(
        tuple(sorted(found, key=lambda f: -f.psi)),
        p.rows,
        q.rows,
        tuple(name for name in p.names if name not in set(q.names)),
        tuple(name for name in q.names if name not in set(p.names)),
        thresholds,
    )


def _numeric(
    name: str, before: pa.Array, now: pa.Array, bins: int, thresholds: drift.Thresholds
) -> FeatureComparison:
    p, q = distinct.Numbers.of(before, name), distinct.Numbers.of(now, name)
    edges = p.edges(bins)
    sides = p.binned(edges), q.binned(edges)
    compared = drift.compare(name, *sides, thresholds)
    ks, ks_p, wasserstein = distinct.distances(p, q) or (None, None, None)
    cells = (np.array((*side.counts, side.missing)) for side in sides)
    statistic, p_value = features.chi_square(*cells)
    shares = (side.missing / max(side.rows, 1.0) for side in sides)
    return FeatureComparison(
        name, "numeric", compared.psi, compared.jsd, None, ks, ks_p, wasserstein, statistic,
        p_value, *shares, compared.drifted, compared.words,
    )  # fmt: skip


def _categorical(
    name: str, before: pa.Array, now: pa.Array, thresholds: drift.Thresholds
) -> FeatureComparison:
    sides = [
        summaries.Categories(counts, float(missing))
        for counts, missing in map(distinct.texts, (before, now))
    ]
    compared = drift.compare(name, *sides, thresholds)
    # What the reference does not have is one cell of the test.
    known = list(sides[0].counts)
    cells = []
    for side in sides:
        listed = [side.counts.get(value, 0.0) for value in known]
        cells.append(np.array((*listed, sum(side.counts.values()) - sum(listed), side.missing)))
    statistic, p_value = features.chi_square(*cells)
    shares = (side.missing / max(side.rows, 1.0) for side in sides)
    return FeatureComparison(
        name, "categorical", compared.psi, compared.jsd, compared.linf, None, None, None,
        statistic, p_value, *shares, compared.drifted, compared.words,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Side:
    """A table, read column by column, so that no second copy of it is made.

    Attributes:
      names: Columns.
      rows: Of each.
      column: Name to flat Arrow column.
    """

    names: list[str]
    rows: int
    column: Callable[[str], pa.Array]

    @classmethod
    def of(cls, table: Any) -> _Side:
        if isinstance(table, (pa.Table, pa.RecordBatch)):
            names = list(table.schema.names)
            return cls(names, table.num_rows, lambda name: feeds.flat_column(table, name))
        if isinstance(table, Mapping):
            return cls.of(
                pa.table({str(k): pa.array(v, from_pandas=True) for k, v in table.items()})
            )
        columns = {str(name): name for name in table.columns}

        def column(name: str) -> pa.Array:
            one = pa.Table.from_pandas(table[[columns[name]]], preserve_index=False)
            return feeds.flat_column(one, name)

        return cls(list(columns), len(table), column)


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
