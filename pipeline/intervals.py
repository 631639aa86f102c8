"""The shipped file against the champion on test: differences by slice with their intervals.

    python -m pipeline.intervals < request

A process of its own, since reading examples imports TensorFlow and reports are light
(`pipeline.report.champion` starts it). The request is a JSON object: `examples`, folder of the
test split; `shipped` and `champion`, folders of the models; `slices`, each column to value. The
answer, on stdout: `rows`, and `slices` with `drop` as `models.comparison` answers it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from models import stack

stack.prepare_environment()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402

from models import comparison, examples, feeds  # noqa: E402
from models.predictor import Predictor  # noqa: E402

#: With more rows the intervals are narrower than any difference worth a word.
MOST_ROWS = 200_000


def compute(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request.

    Raises:
      ValueError: the two cannot be compared.
    """
    shipped, champion = (Predictor.load(request[name]) for name in ("shipped", "champion"))
    spec = shipped.spec
    theirs = champion.spec
    if (spec.task, spec.classes, spec.label) != (theirs.task, theirs.classes, theirs.label):
        raise ValueError("the champion predicts another label or other classes")
    table = _read(request["examples"])
    labels = feeds.label_index(spec, feeds.flat_column(table, spec.label))
    table, labels = table.filter(pa.array(np.isfinite(labels))), labels[np.isfinite(labels)]
    reference, candidate = champion.predict(table), shipped.predict(table)
    found = []
    for values in ({}, *request["slices"]):
        rows = np.flatnonzero(_members(table, values))
        drop = comparison.drop(spec.task, labels[rows], reference[rows], candidate[rows])
        found.append({"slice": values, "drop": drop.to_dict()})
    return {"rows": len(labels), "slices": found}


def _read(folder: str) -> pa.Table:
    """The first rows of the split."""
    batches, rows = [], 0
    for batch in examples.read_split(folder):
        batches.append(batch)
        rows += batch.num_rows
        if rows >= MOST_ROWS:
            break
    return pa.Table.from_batches(batches).slice(0, MOST_ROWS)


def _members(table: pa.Table, values: dict[str, Any]) -> np.ndarray:
    """Which rows are of a slice, `[n]`."""
    inside = np.ones(table.num_rows, bool)
    for column, value in values.items():
        text = feeds.to_text(feeds.flat_column(table, column))
        inside &= text == str(value)
    return inside


def main() -> None:
    try:
        answer = compute(json.load(sys.stdin))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
