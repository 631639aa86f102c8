"""One feature of a run, closely: its splits against each other and the champion, and its rows."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from control_center import distributions
from control_center.center import Center
from custom_components.example_gen.reader import open_dataset
from models.errors import FlywheelError
from pipeline.report.inputs import Inputs

_SPLITS = ("train", "eval", "test")
#: Rows that are searched, and rows that are shown.
_MOST_SEARCHED, _MOST_SHOWN = 200_000, 20
_MOST_COLUMNS = 40


def page(
    center: Center, run_id: str, feature: str | None, column: str | None, value: str | None
) -> dict[str, Any]:
    """What the page of a run's data shows beside the report's sections.

    Args:
      center: Whose run.
      run_id: Which.
      feature: The one to look at closely; the first by default.
      column, value: Rows to look for; an empty value looks for missing ones.
    """
    inputs = center.inputs(run_id)
    artifact = inputs.artifact("StatisticsGen", "statistics")
    root = pathlib.Path(artifact.uri) if artifact else None
    splits = {
        split: distributions.statistics(root / f"Split-{split}") if root else {}
        for split in _SPLITS
    }
    kinds = inputs.config.get("features")
    used = [str(k) for k, v in kinds.items() if v != "ignore"] if isinstance(kinds, dict) else []
    names = [n for n in dict.fromkeys([*used, inputs.label]) if n in splits["train"]]
    names += [n for n in splits["train"] if n not in names]
    chosen = feature if feature in names else (names[0] if names else None)
    return {
        "names": names,
        "chosen": chosen,
        "pairs": _pairs(center, inputs, splits, chosen) if chosen else [],
        "table": [_row(s, splits[s].get(chosen)) for s in _SPLITS if splits[s]] if chosen else [],
        "suspects": list(_suspects(inputs, names)),
        "found": _rows(inputs, column, value or "") if column else None,
    }


def _pairs(
    center: Center, inputs: Inputs, splits: dict[str, dict[str, Any]], feature: str
) -> list[dict[str, Any]]:
    baseline = inputs.files["validation"].get("baseline")
    champion = distributions.of_version(center, str(baseline) if baseline else None)
    train = splits["train"].get(feature)
    made = [
        distributions.pair(feature, train, splits[split].get(feature), ("train", split))
        for split in ("eval", "test")
    ]
    sides = (f"champion {baseline}", "this run")
    made.append(distributions.pair(feature, champion.get(feature), train, sides))
    return [found for found in made if found]


def _row(split: str, stats: Any) -> dict[str, Any]:
    """What is known of a feature in one split."""
    if stats is None or stats.WhichOneof("stats") not in ("num_stats", "string_stats"):
        return {"split": split}
    side = getattr(stats, stats.WhichOneof("stats"))
    common = side.common_stats
    rows = int(common.num_missing + common.num_non_missing)
    found: dict[str, Any] = {
        "split": split,
        "rows": rows,
        "missing": common.num_missing / rows if rows else 0.0,
    }
    if stats.WhichOneof("stats") == "string_stats":
        return {**found, "distinct": int(side.unique)}
    zeros = side.num_zeros / common.num_non_missing if common.num_non_missing else 0.0
    return {
        **found,
        "zeros": zeros,
        "mean": side.mean,
        "std": side.std_dev,
        "min": side.min,
        "median": side.median,
        "max": side.max,
    }


def _suspects(inputs: Inputs, names: list[str]) -> Iterator[dict[str, Any]]:
    """Values that the validator named, each to be looked for in the rows."""
    seen = set()
    for reason in inputs.files["validation"].get("reasons") or []:
        for case in reason.get("cases") or []:
            column, value = case.get("feature"), case.get("value", case.get("found"))
            if column in names and isinstance(case.get("rows"), int) and isinstance(value, str):
                if (column, value) not in seen:
                    seen.add((column, value))
                    yield {
                        "code": reason.get("code", ""),
                        "column": column,
                        "value": value,
                        "rows": case["rows"],
                    }


def _rows(inputs: Inputs, column: str, value: str) -> dict[str, Any]:
    """The first rows of the run's data that hold a value; an empty one: nothing."""
    data = inputs.config.get("data")
    path = str(data.get("path", "")) if isinstance(data, dict) else ""
    found: dict[str, Any] = {"column": column, "value": value, "problem": "", "rows": []}
    if not path or ("://" in path and not path.startswith("demo:")):
        return {**found, "problem": "Rows are looked for in files of this machine only."}
    derive = data.get("derive") if isinstance(data, dict) else None
    try:
        dataset = open_dataset(path, derived=derive or {}, max_rows=_MOST_SEARCHED)
        searched = 0
        for batch in dataset.batches():
            if column not in batch.schema.names:
                return {**found, "problem": f"The data has no column `{column}` any more."}
            hits = batch.filter(_matches(batch.column(column), value))
            for row, place in zip(
                hits.slice(0, _MOST_SHOWN - len(found["rows"])).to_pylist(),
                _places(batch.column(column), value),
                strict=False,
            ):
                found["rows"].append((searched + place + 1, row))
            searched += batch.num_rows
            if len(found["rows"]) >= _MOST_SHOWN:
                break
    except (FlywheelError, OSError, pa.ArrowException) as error:
        return {**found, "problem": f"The data cannot be read as it is now: {error}"[:400]}
    columns = [c for c in dict.fromkeys([column, *(found["rows"][0][1] if found["rows"] else ())])]
    return {**found, "searched": searched, "columns": columns[:_MOST_COLUMNS]}


def _places(column: pa.Array, value: str) -> list[int]:
    return pc.indices_nonzero(_matches(column, value)).to_pylist()


def _matches(column: pa.Array, value: str) -> pa.Array:
    """Which cells hold a value, as a person writes it."""
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if not value:
        empty = column.is_null()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            empty = pc.or_(empty, pc.fill_null(pc.equal(column, ""), False))
        return empty
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        try:
            wanted = float(value)
        except ValueError:
            return pa.array([False] * len(column))
        return pc.fill_null(pc.equal(column.cast(pa.float64()), wanted), False)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return pa.array([False] * len(column))
    return pc.fill_null(pc.equal(column.cast(pa.string()), value), False)
