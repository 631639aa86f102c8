"""Asking a deployed version for one prediction, with the very file that serves.

In a process of its own, as golden requests are: a file that crashes the interpreter takes nothing
else with it.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import threading
import time
from typing import Any

import pyarrow as pa

from models import child
from models.errors import DataError, FlywheelError
from models.golden import GOLDEN_FILE
from models.spec import ModelSpec

_SECONDS = 60
_REPEATS = 50
_asking = threading.BoundedSemaphore(2)


def fields(folder: pathlib.Path) -> list[dict[str, Any]] | None:
    """What a form asks for, filled with a golden request; None for models of images."""
    spec = ModelSpec.load(folder)
    if spec.image is not None:
        return None
    try:
        rows = json.loads((folder / GOLDEN_FILE).read_text("utf-8"))["requests"]
        row = max(rows, key=lambda r: sum(value is not None for value in r.values()))
    except (OSError, ValueError, LookupError):
        row = {}
    found = []
    for feature in spec.numeric:
        value = row.get(feature.name)
        text = "" if value is None else f"{value:.6g}"
        found.append({"name": feature.name, "kind": "number", "value": text, "known": ()})
    for category in spec.categorical:
        value = row.get(category.name)
        text = f"{value:g}" if isinstance(value, float) else str(value or "")
        known = category.vocabulary[:50]
        found.append({"name": category.name, "kind": "text", "value": text, "known": known})
    return found


def ask(folder: pathlib.Path, row: dict[str, str]) -> dict[str, Any]:
    """The model's answer to one row.

    Args:
      folder: Of the version.
      row: Feature to value as text; empty or absent: missing.

    Returns:
      `prediction`, `scores` (class, or the label of a regression, to number), `latency_us`
      (median of 50 single-row calls on one thread).

    Raises:
      DataError: UNKNOWN_FEATURE, NOT_A_NUMBER.
      FlywheelError: ASK_FAILED, BUSY.
    """
    values = _typed(ModelSpec.load(folder), row)
    if not _asking.acquire(timeout=30):
        raise FlywheelError("BUSY", "Others are asking.", next="Try again.")
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "control_center.asking", str(folder)],
            input=json.dumps(values),
            env=child.environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, LookupError):
        raise FlywheelError(
            "ASK_FAILED", "The model gave no answer.", next="Verify the version."
        ) from None
    finally:
        _asking.release()


def _typed(spec: ModelSpec, row: dict[str, str]) -> dict[str, float | str | None]:
    numeric = {f.name for f in spec.numeric}
    numbers = numeric | {f.name for f in spec.categorical if f.column_type == "integer"}
    known = numeric | {f.name for f in spec.categorical}
    unknown = sorted(set(row) - known)
    if unknown:
        raise DataError(
            "UNKNOWN_FEATURE", f"The model has no feature `{unknown[0][:80]}`.",
            next=f"It has: {', '.join(sorted(known))}.",
        )  # fmt: skip
    values: dict[str, float | str | None] = {}
    for name in known:
        text = row.get(name, "").strip()
        if not text:
            values[name] = None
        elif name in numbers:
            try:
                values[name] = float(text)
            except ValueError:
                raise DataError(
                    "NOT_A_NUMBER", f"`{name}` is a number, and `{text[:80]}` is none.",
                    next="Leave it empty for a missing value.", cases=({"feature": name},),
                ) from None  # fmt: skip
        else:
            values[name] = text
    return values


def main() -> None:
    """`python -m control_center.asking FOLDER`: a row as JSON on stdin, the answer on stdout."""
    from models.predictor import Predictor

    folder = pathlib.Path(sys.argv[1])
    predictor = Predictor.load(folder)
    spec = predictor.spec
    row = json.loads(sys.stdin.read())
    columns = {f.name: pa.array([row[f.name]], pa.float64()) for f in spec.numeric}
    for category in spec.categorical:
        value = row[category.name]
        if category.column_type == "integer":
            columns[category.name] = pa.array([None if value is None else int(value)], pa.int64())
        else:
            columns[category.name] = pa.array([value], pa.string())
    table = pa.table(columns)
    answers = predictor.predict(table)
    taken = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        predictor.predict(table)
        taken.append((time.perf_counter() - start) * 1e6)
    label = predictor.labels(answers)[0]
    if spec.task == "binary":
        positive = float(answers[0, 0])
        scores = {spec.classes[1]: positive, spec.classes[0]: 1 - positive}
    elif spec.task == "multiclass":
        scores = {name: float(v) for name, v in zip(spec.classes, answers[0], strict=True)}
        scores = dict(sorted(scores.items(), key=lambda s: -s[1])[:10])
    else:
        scores = {spec.label: float(answers[0, 0])}
    shown = f"{float(label):.6g}" if spec.task == "regression" else str(label)
    print(
        json.dumps(
            {"prediction": shown, "scores": scores, "latency_us": sorted(taken)[_REPEATS // 2]}
        )
    )


if __name__ == "__main__":
    main()
