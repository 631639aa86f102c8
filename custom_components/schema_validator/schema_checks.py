"""TFDV's anomalies, told as findings.

TFDV decides whether a column fits the schema; what is added here is which values did
it, how many rows they are, and what to do about it. Drift is not taken from here: TFDV's
comparators stay in the artifact for those who read it, `drift_checks` judges.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Mapping

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2

from custom_components.schema_validator import columns as reading
from custom_components.schema_validator import renames
from custom_components.schema_validator.baseline import Source
from custom_components.schema_validator.columns import SplitStatistics, percent, quoted
from custom_components.schema_validator.findings import Finding
from custom_components.schema_validator.options import ValidationOptions

TYPE_CHANGED = re.compile(
    r"UNEXPECTED_DATA_TYPE|STRING_TYPE_NOW_\w+|FLOAT_TYPE_(NOT_FLOAT|NON_STRING|STRING_NOT_FLOAT)"
    r"|INT_TYPE_(INT_EXPECTED|NOT_INT_STRING|NOT_STRING|STRING_EXPECTED)"
    r"|(ENUM|BOOL)_TYPE_(BYTES|FLOAT|INT|STRING)_NOT_\w+"
)
UNEXPECTED = re.compile(
    r"ENUM_TYPE_(UNEXPECTED_STRING_VALUES|INVALID_UTF8)|(INT|FLOAT|BOOL)_TYPE_(BIG|SMALL)_\w+"
    r"|BOOL_TYPE_UNEXPECTED_\w+|FLOAT_TYPE_HAS_(NAN|INF)"
)
CODES = {
    "SCHEMA_MISSING_COLUMN": "COLUMN_MISSING",
    "SCHEMA_NEW_COLUMN": "COLUMN_NEW",
    "FEATURE_TYPE_NOT_PRESENT": "PRESENCE_LOW",
    "FEATURE_TYPE_LOW_FRACTION_PRESENT": "PRESENCE_LOW",
    "FEATURE_TYPE_LOW_NUMBER_PRESENT": "PRESENCE_LOW",
}
DECIMAL_COMMA = re.compile(r"\s*-?\d+,\d+\s*")
SHOWN_VALUES = 10


def find(
    source: Source,
    anomalies: Mapping[str, anomalies_pb2.Anomalies],
    splits: Mapping[str, SplitStatistics],
    deployed: SplitStatistics | None,
    kinds: Mapping[str, str],
    label: str,
    options: ValidationOptions,
) -> list[Finding]:
    """What does not fit the schema.

    Args:
      source: The schema that judges.
      anomalies: TFDV's, by split.
      splits: Statistics by split.
      deployed: The deployed model's statistics, to recognise renamed columns by.
      kinds: Column to `numeric`, `categorical` or `ignore`.
      label: Label column; its absence is told by `data_checks`.
      options: Tolerance.
    """
    check = _SchemaCheck(source, splits, kinds, options)
    found: dict[tuple[str, str], list[str]] = {}
    descriptions: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for split, result in anomalies.items():
        for code, column, description in _codes(result, splits[split]):
            places = found.setdefault((code, column), [])
            if split not in places:
                places.append(split)
            if description not in descriptions[code, column]:
                descriptions[code, column].append(description)
    for split, column in check.integers_outside_domain():
        found.setdefault(("DOMAIN_UNEXPECTED_VALUES", column), []).append(split)

    lost = check.lost(column for code, column in found if code == "COLUMN_MISSING")
    new = [column for code, column in found if code == "COLUMN_NEW"]
    pairs = renames.find(lost, new, source, check.first(new), deployed)
    results = [check.renamed(pair) for pair in pairs]
    gone = {pair.before for pair in pairs} | {label}
    results += [check.missing(column) for column in lost if column not in gone]
    results += [check.new(column) for column in new if column not in {pair.now for pair in pairs}]
    for (code, column), places in found.items():
        if code == "TYPE_CHANGED":
            results.append(check.type_changed(column, places))
        elif code == "DOMAIN_UNEXPECTED_VALUES" and ("TYPE_CHANGED", column) not in found:
            results.append(check.outside_domain(column, places, descriptions[code, column]))
        elif code == "PRESENCE_LOW" and column not in lost:
            results.append(check.rarely_present(column, places))
        elif code == "SCHEMA_ANOMALY":
            results.append(check.anomaly(column, places, descriptions[code, column]))
    return results


def _codes(
    result: anomalies_pb2.Anomalies, split: SplitStatistics
) -> Iterator[tuple[str, str, str]]:
    """Reason code, column and description of each anomaly of a split."""
    for key, info in sorted(result.anomaly_info.items()):  # the order of a map is not fixed
        column = ".".join(info.path.step) or key
        types = {anomalies_pb2.AnomalyInfo.Type.Name(r.type): r.description for r in info.reason}
        for name, description in types.items():
            if name.startswith("COMPARATOR_"):
                continue
            statistics = split.columns.get(column)
            gaps = statistics is not None and reading.missing(statistics, split.rows) > 0
            if TYPE_CHANGED.fullmatch(name):
                # TFDV calls a column without any value text.
                if statistics is not None and not reading.is_empty(statistics):
                    yield "TYPE_CHANGED", column, description
            elif UNEXPECTED.fullmatch(name):
                yield "DOMAIN_UNEXPECTED_VALUES", column, description
            elif name == "INVALID_FEATURE_SHAPE" and gaps:
                # "One value per row" is broken by an empty cell as well.
                yield "PRESENCE_LOW", column, description
            else:
                yield CODES.get(name, "SCHEMA_ANOMALY"), column, description
    for reason in result.dataset_anomaly_info.reason:
        yield "SCHEMA_ANOMALY", "", reason.description


class _SchemaCheck:
    """Words and cases of the findings about columns."""

    def __init__(
        self,
        source: Source,
        splits: Mapping[str, SplitStatistics],
        kinds: Mapping[str, str],
        options: ValidationOptions,
    ):
        self.source = source
        self.splits = {name: split for name, split in splits.items() if split.rows}
        self.kinds = kinds
        self.options = options

    def first(self, names: list[str]) -> dict[str, reading.Column]:
        """Statistics of columns, from the first split that has them."""
        return {
            name: next(s.columns[name] for s in self.splits.values() if name in s.columns)
            for name in names
        }

    def lost(self, columns: Iterator[str]) -> list[str]:
        """Columns that the schema or the config name and that hold nothing in any split."""
        expected = [*columns, *(c for c, kind in self.kinds.items() if kind != "ignore")]
        expected += [
            c
            for c, feature in self.source.features.items()
            if feature.lifecycle_stage != schema_pb2.DEPRECATED
            and any(c in split.columns for split in self.splits.values())
            and feature.presence.min_count + feature.presence.min_fraction > 0
        ]
        return [
            column
            for column in dict.fromkeys(expected)
            if self.splits
            and all(
                column not in split.columns or reading.is_empty(split.columns[column])
                for split in self.splits.values()
            )
        ]

    def integers_outside_domain(self) -> Iterator[tuple[str, str]]:
        """Split and column of integers TFDV cannot check, see `baseline.checkable`."""
        for name, feature in self.source.features.items():
            allowed = reading.domain(self.source.schema, feature)
            if feature.type != schema_pb2.INT or not allowed:
                continue
            for split, statistics in self.splits.items():
                column = statistics.columns.get(name)
                if column is None or column.type != reading.Column.INT:
                    continue
                counts = reading.values(column)
                known = sum(rows for value, rows in counts.items() if value in set(allowed))
                least = feature.distribution_constraints.min_domain_mass
                if counts and known < least * sum(counts.values()):
                    yield split, name

    def missing(self, column: str) -> Finding:
        present = any(column in split.columns for split in self.splits.values())
        feature = self.source.features.get(column)
        if present:
            rows = sum(split.rows for split in self.splits.values())
            message = f"`{column}` is empty in all {rows:,} rows."
            found = "empty"
        elif feature is not None:
            message = self.source.differs(column, "there", "not there", list(self.splits)) + "."
            found = "no such column"
        else:
            message = f"The config names `{column}`, and the data has no such column."
            found = "no such column"
        return Finding(
            "COLUMN_MISSING",
            column,
            message,
            f"Bring `{column}` back into the data, or set `features: {{{column}: ignore}}` in "
            "flywheel.yaml to train without it.",
            ({"feature": column, "expected": self._expected(column), "found": found},),
            self._ignored(column),
        )

    def new(self, column: str) -> Finding:
        found = reading.type_words(self.first([column])[column])
        kind = self.kinds.get(column)
        # Nobody said what a column is that the config does not name; one that it does is meant.
        meant = kind == "ignore" or (kind is not None and self.source.kind != "curated")
        return Finding(
            "COLUMN_NEW",
            column,
            f"`{column}` ({found.removeprefix('a ')}) is in the data and not in "
            f"{self.source.words}.",
            f"Set `features: {{{column}: ignore}}` in flywheel.yaml to leave it out knowingly, or "
            "its kind (`numeric`, `categorical`) to learn from it."
            if kind is None
            else "Add it to the schema."
            if self.source.kind == "curated"
            else "",
            ({"feature": column, "expected": "no such column", "found": found},),
            meant,
        )

    def renamed(self, pair: renames.Rename) -> Finding:
        return Finding(
            "COLUMN_RENAMED",
            pair.before,
            f"`{pair.before}` is missing and `{pair.now}` is new; they look like one column under "
            f"two names ({pair.evidence}).",
            f"Rename `{pair.now}` back to `{pair.before}` in the data; or, if the new name is "
            "meant, use it in flywheel.yaml and in the curated schema, if there is one, and set "
            "`validation: {policy: {COLUMN_RENAMED: warn}}` for one run.",
            ({"feature": pair.before, "found": pair.now, "evidence": pair.evidence},),
            self._ignored(pair.before),
        )

    def type_changed(self, column: str, places: list[str]) -> Finding:
        statistics = [self.splits[place].columns[column] for place in places]
        expected = reading.SCHEMA_TYPE_WORDS.get(self.source.features[column].type, "something")
        found = reading.type_words(statistics[0])
        case = {"feature": column, "expected": expected, "found": found}
        message = self.source.differs(column, expected, found, places)
        if all("number" in words for words in (expected, found)):
            wide = {"a number": "a real number"}
            message = self.source.differs(
                column, wide.get(expected, expected), wide.get(found, found), places
            )
            harmless = self.kinds.get(column, "numeric") == "numeric"
            reads = "; the model reads both alike" if harmless else ""
            return Finding(
                "TYPE_CHANGED",
                column,
                f"{message}{reads}.",
                "" if harmless else "Write the column as whole numbers (`3`, not `3.0`).",
                (case,),
                harmless or self._ignored(column),
            )
        if expected == "text" or found != "text":
            next_step = (
                f"Check the source of `{column}`; if the new type is meant, name its kind in "
                f"flywheel.yaml: `features: {{{column}: numeric}}`."
            )
            return Finding(
                "TYPE_CHANGED", column, f"{message}.", next_step, (case,), self._ignored(column)
            )
        counts: collections.Counter[str] = collections.Counter()
        for one in statistics:
            counts.update(reading.values(one))
        bad = [
            (value, rows)
            for value, rows in counts.most_common()
            if not reading.is_readable_number(value)
        ]
        rows = sum(rows for _, rows in bad)
        if bad:
            message += (
                f" ({rows:,.0f} of {sum(counts.values()):,.0f} values cannot be read as numbers, "
                f"e.g. '{bad[0][0]}')"
            )
        else:
            message += " (every value can still be read as a number: look for quotes around them)"
        remedy = f"Correct the cells shown at the source of `{column}`"
        if not bad:
            remedy = f"Write `{column}` without quotes"
        elif DECIMAL_COMMA.fullmatch(bad[0][0]):
            remedy += " (numbers take a decimal point, not a comma)"
        return Finding(
            "TYPE_CHANGED",
            column,
            f"{message}.",
            f"{remedy}; if text is meant, set `features: {{{column}: categorical}}` in "
            "flywheel.yaml.",
            tuple({**case, "value": v, "rows": int(n)} for v, n in bad[:SHOWN_VALUES]) or (case,),
            self._ignored(column),
        )

    def outside_domain(self, column: str, places: list[str], descriptions: list[str]) -> Finding:
        feature = self.source.features[column]
        allowed = set(reading.domain(self.source.schema, feature))
        counts: collections.Counter[str] = collections.Counter()
        shares = []
        for place in places:
            here = reading.values(self.splits[place].columns[column])
            outside = {v: rows for v, rows in here.items() if allowed and v not in allowed}
            counts.update(outside)
            shares.append(sum(outside.values()) / max(self.splits[place].rows, 1))
        noted = self.source.kind != "curated" and max(shares) <= self.options.tolerance
        if not counts:  # a range, not a list of values
            message = f"`{column}` leaves the range of {self.source.words}: "
            message += " ".join(descriptions).replace("(upto six significant digits)", "").strip()
            cases = ({"feature": column, "found": "; ".join(descriptions)},)
            noted = False
        else:
            names = [value for value, _ in counts.most_common()]
            some = "a value" if len(names) == 1 else f"{len(names):,} values"
            message = (
                f"`{column}` takes {some} that {self.source.words} does not know "
                f"({quoted(names)}), in {percent(max(shares))} of the rows of "
                f"{places[shares.index(max(shares))]}"
            )
            expected = quoted(sorted(allowed))
            cases = tuple(
                {"feature": column, "expected": expected, "found": value, "rows": int(rows)}
                for value, rows in counts.most_common(SHOWN_VALUES)
            )
        remedy = {
            "curated": f"Correct them, or add them to the domain of `{column}` in the schema.",
            "deployed": "If they are meant, nothing is to be done: this run learns them. If not, "
            "correct them at their source.",
            "inferred": "The model takes them as out of vocabulary. If they matter, bring rows "
            "with them into train.",
        }[self.source.kind]
        return Finding(
            "DOMAIN_UNEXPECTED_VALUES",
            column,
            message.rstrip(".") + ".",
            remedy,
            cases,
            noted or self._ignored(column),
        )

    def rarely_present(self, column: str, places: list[str]) -> Finding:
        least = self.source.features[column].presence.min_fraction
        cases = []
        for place in places:
            split = self.splits[place]
            gaps = (
                reading.missing(split.columns[column], split.rows)
                if column in split.columns
                else split.rows
            )
            cases.append(
                {
                    "feature": column,
                    "split": place,
                    "expected": f"empty in at most {percent(1 - least)}",
                    "found": f"empty in {percent(gaps / split.rows)}",
                    "rows": gaps,
                    "share": gaps / split.rows,
                }
            )
        worst = max(cases, key=lambda case: case["share"])
        rows = self.splits[worst["split"]].rows
        short = worst["share"] - (1 - least)
        allowed = "it may never be" if least >= 1 else f"at most {percent(1 - least)} may be"
        message = (
            f"`{column}` is empty in {worst['rows']:,} of {rows:,} rows of {worst['split']} "
            f"({percent(worst['share'])}); by {self.source.words} {allowed}."
        )
        for case in cases:
            del case["share"]
        return Finding(
            "PRESENCE_LOW",
            column,
            message,
            f"Find out why `{column}` is no longer filled in; if that is meant, "
            + (
                f"lower `presence.min_fraction` of `{column}` in the schema."
                if self.source.kind == "curated"
                else "nothing is to be done: the model knows missing values."
            ),
            tuple(cases),
            (self.source.kind != "curated" and short <= self.options.tolerance)
            or self._ignored(column),
        )

    def anomaly(self, column: str, places: list[str], descriptions: list[str]) -> Finding:
        text = " ".join(descriptions)
        about = f"`{column}`" if column else "The data"
        return Finding(
            "SCHEMA_ANOMALY",
            column,
            f"{about} does not fit {self.source.words} in {', '.join(places)}: {text}",
            f"Correct {about if column else 'the data'}, or the schema if it asks too much.",
            ({"feature": column, "split": ", ".join(places), "found": text},),
            self._ignored(column),
        )

    def _ignored(self, column: str) -> bool:
        """Whether the model leaves it out; with no kinds given it leaves out nothing."""
        return bool(column and self.kinds) and self.kinds.get(column, "ignore") == "ignore"

    def _expected(self, column: str) -> str:
        feature = self.source.features.get(column)
        if feature is None:
            return self.kinds.get(column, "a column")
        return reading.SCHEMA_TYPE_WORDS.get(feature.type, "a column")
