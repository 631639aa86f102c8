"""Checks that need no schema: how many rows there are, and whether the label can be learned."""

from __future__ import annotations

import collections
import difflib
from collections.abc import Mapping

from custom_components.schema_validator import columns as reading
from custom_components.schema_validator.columns import SplitStatistics, quoted
from custom_components.schema_validator.findings import Finding
from custom_components.schema_validator.options import ValidationOptions
from models.options import TaskOptions

SHOWN_CLASSES = 12


def row_counts(
    splits: Mapping[str, SplitStatistics], properties: Mapping[str, int]
) -> dict[str, int]:
    """`read` and the rows per split; what nobody says is read from the statistics."""
    rows = {name: split.rows for name, split in splits.items()}
    return {"read": properties.get("rows_read", sum(rows.values())), **rows}


def find_rows(
    splits: Mapping[str, SplitStatistics],
    properties: Mapping[str, int],
    options: ValidationOptions,
) -> list[Finding]:
    """Reconciles the rows and asks whether they are enough.

    Args:
      splits: Statistics by split.
      properties: `rows_read`, `rows_train`, `rows_eval` ... as ExampleGen counted
        them; may be empty, then only the statistics are asked.
      options: `min_rows`.
    """
    findings = []
    written = {name: properties.get(f"rows_{name}") for name in splits}
    if "rows_read" in properties and all(rows is not None for rows in written.values()):
        read, kept = properties["rows_read"], sum(written.values())
        if read != kept:
            parts = " + ".join(f"{rows:,}" for rows in written.values())
            message = (
                f"{read:,} rows were read and {kept:,} are in the splits ({parts}): "
                f"{abs(read - kept):,} rows {'got lost' if kept < read else 'were made up'}."
            )
            case = {"place": "splits", "expected": read, "found": kept}
            findings.append(_rows_lost(message, case))
    for name, rows in written.items():
        counted = splits[name].rows
        if rows is not None and rows != counted:
            message = f"{rows:,} rows were written to {name} and its statistics saw {counted:,}."
            case = {"place": f"statistics of {name}", "expected": rows, "found": counted}
            findings.append(_rows_lost(message, case))
    total = sum(split.rows for split in splits.values())
    cases = tuple({"split": name, "found": split.rows} for name, split in splits.items())
    empty = [name for name, split in splits.items() if not split.rows]
    if total < options.min_rows:
        findings.append(
            Finding(
                "TOO_FEW_ROWS",
                "",
                f"There are {total:,} rows in all, and at least {options.min_rows:,} are needed to "
                "train and to tell whether it helped.",
                "Bring more rows, or set `validation: {min_rows: N}` lower in flywheel.yaml.",
                tuple({**case, "expected": f"{options.min_rows} in all"} for case in cases),
            )
        )
    elif empty:
        findings.append(
            Finding(
                "TOO_FEW_ROWS",
                "",
                f"No row fell into {' and '.join(empty)}, though there are {total:,} rows in all.",
                "Change `data: {split: ...}` in flywheel.yaml (shares, or the key or time column), "
                "or bring more rows.",
                tuple({**case, "expected": "at least 1"} for case in cases),
            )
        )
    return findings


def _rows_lost(message: str, case: dict) -> Finding:
    return Finding(
        "ROWS_LOST",
        "",
        message,
        "Run again: rows that vanish point to data that changed while it was read, or to a "
        "disk that is full. If it happens again, report it.",
        (case,),
    )


def find_label(
    splits: Mapping[str, SplitStatistics],
    train: str,
    task: TaskOptions,
    options: ValidationOptions,
) -> list[Finding]:
    """Asks whether there is something to learn.

    Args:
      splits: Statistics by split.
      train: Name of the split that is learned from.
      task: Label and kind of problem.
      options: `min_label_rows`.
    """
    label, rows = task.label, splits[train].rows
    if not rows:
        return []  # said already, and better

    def unusable(message: str, remedy: str, *cases: dict) -> list[Finding]:
        rows = cases or ({"feature": label},)
        return [Finding("LABEL_UNUSABLE", label, message, remedy, tuple(rows))]

    column = splits[train].columns.get(label)
    if column is None:
        near = difflib.get_close_matches(label, splits[train].columns, n=1)
        hint = f" The closest name is `{near[0]}`." if near else ""
        return unusable(
            f"The label `{label}` is not among the {len(splits[train].columns)} columns.{hint}",
            "Name the column to predict: `task: {label: ...}` in flywheel.yaml, or derive it under "
            "`data: {derive: ...}`.",
            {"feature": label, "expected": "a column", "found": "no such column"},
        )
    if reading.is_empty(column):
        return unusable(
            f"The label `{label}` is empty in all {rows:,} rows of {train}.",
            "Bring rows whose outcome is known.",
            {"feature": label, "expected": "values", "found": "empty", "rows": rows},
        )
    if task.type == "regression":
        return _regression(column, label, train, unusable)
    return _classes(splits, train, task, options, unusable)


def _regression(column: reading.Column, label: str, train: str, unusable) -> list[Finding]:
    if not reading.is_number(column):
        bad = [v for v in reading.values(column) if not reading.is_readable_number(v)]
        return unusable(
            f"Regression predicts a number, and the label `{label}` is text"
            + (f" (e.g. {quoted(bad, 3)})." if bad else "."),
            f"Correct the values of `{label}`, or set `task: {{type: multiclass}}` in "
            "flywheel.yaml if these are classes.",
            *({"feature": label, "expected": "a number", "found": v} for v in bad[:SHOWN_CLASSES]),
        )
    values = reading.values(column)
    if len(values) == 1:
        return _constant(next(iter(values)), label, train, unusable)
    return []


def _constant(value: str, label: str, train: str, unusable) -> list[Finding]:
    return unusable(
        f"The label `{label}` is '{value}' in every row of {train}: there is nothing to learn.",
        "Bring rows with other outcomes, or check the split: by time, an outcome may lie in one "
        "period only.",
        {"feature": label, "expected": "at least two values", "found": value},
    )


def _classes(
    splits: Mapping[str, SplitStatistics],
    train: str,
    task: TaskOptions,
    options: ValidationOptions,
    unusable,
) -> list[Finding]:
    label = task.label
    counts = {
        name: reading.values(split.columns[label])
        for name, split in splits.items()
        if label in split.columns
    }
    seen: collections.Counter[str] = collections.Counter()
    for of_split in counts.values():
        seen.update(of_split)
    if task.type == "binary" and len(seen) > 2:
        most = seen.most_common()
        return unusable(
            f"A binary label has two values, and `{label}` has {len(most):,} "
            f"({quoted([value for value, _ in most])}).",
            f"Set `task: {{type: {_task_for(splits[train].columns[label], most)}}}` in "
            "flywheel.yaml, or derive a label with two values under `data: {derive: ...}`.",
            *({"feature": label, "found": v, "rows": int(n)} for v, n in most[:SHOWN_CLASSES]),
        )
    if len(counts[train]) == 1:
        return _constant(next(iter(counts[train])), label, train, unusable)
    findings = []
    if task.positive is not None and not any(_same(task.positive, value) for value in seen):
        findings += unusable(
            f"`{task.positive}` is to count as positive, and the label `{label}` never takes that "
            f"value: it has {quoted(list(seen))}.",
            "Correct `task: {positive: ...}` in flywheel.yaml.",
            {"feature": label, "expected": task.positive, "found": quoted(list(seen))},
        )
    rare = {v: n for v, n in counts[train].items() if n < options.min_label_rows}
    if rare:
        findings += unusable(
            f"{'A class' if len(rare) == 1 else f'{len(rare):,} classes'} of the label `{label}` "
            f"({quoted(list(rare))}) {'has' if len(rare) == 1 else 'have'} fewer than "
            f"{options.min_label_rows:,} rows in {train}.",
            "Bring more rows of it, merge it with another class, or set "
            "`validation: {min_label_rows: 1}` in flywheel.yaml.",
            *(
                {
                    "feature": label,
                    "class": value,
                    "expected": f"{options.min_label_rows} rows",
                    "found": int(rows),
                }
                for value, rows in rare.items()
            ),
        )
    unseen = [
        {"feature": label, "class": value, "split": name, "rows": int(rows), "in train": 0}
        for name, of_split in counts.items()
        for value, rows in of_split.items()
        if value not in counts[train]
    ]
    if unseen:
        names = list(dict.fromkeys(case["class"] for case in unseen))
        places = list(dict.fromkeys(case["split"] for case in unseen))
        findings.append(
            Finding(
                "SPLIT_MISMATCH",
                label,
                f"The label `{label}` takes {quoted(names)} in {' and '.join(places)} and never in "
                f"{train}: these rows cannot be predicted right.",
                "Bring more rows, or split so that every class is in train.",
                tuple(unseen),
            )
        )
    return findings


def _task_for(column: reading.Column, values: list) -> str:
    return "regression" if reading.is_number(column) and len(values) > 20 else "multiclass"


def _same(one: str, other: str) -> bool:
    """Whether two values are the same text, or the same number."""
    if one == other:
        return True
    return (
        reading.is_readable_number(one)
        and reading.is_readable_number(other)
        and float(one) == float(other)
    )
