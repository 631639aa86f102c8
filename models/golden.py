"""Golden requests: rows with the answers the file gave when it was accepted.

Whoever is about to serve a file asks it these first. The check runs in a
process of its own, on the serving interpreter, so that a file that crashes it
cannot take anything else down.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np

from models.errors import FlywheelError
from models.predictor import Predictor
from models.spec import CategoricalFeature, Feature, ImageFeature

GOLDEN_FILE = "golden.json"
TOLERANCE = 1e-4
_SECONDS = 60


def record(predictor: Predictor, inputs: dict[str, np.ndarray]) -> bytes:
    """The content of golden.json for some rows.

    Args:
      predictor: The accepted file.
      inputs: Feature to `[rows, 1]` or pixels, as the model takes them.
    """
    answers = predictor.predict_inputs(inputs)
    rows = [
        {name: _plain(values[row]) for name, values in inputs.items()}
        for row in range(len(answers))
    ]
    return json.dumps(
        {"tolerance": TOLERANCE, "requests": rows, "answers": answers.astype(float).tolist()},
        indent=1,
    ).encode()


def _plain(values: np.ndarray) -> str | float | None:
    """A cell of one row; an image as its PNG in base 64."""
    if values.ndim > 1:
        from models import images

        return base64.b64encode(images.encode(values)).decode("ascii")
    value = values[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace") or None
    return None if np.isnan(value) else float(value)


def _array(feature: Feature, values: list[Any]) -> np.ndarray:
    """What `_plain` wrote as the model takes it."""
    if isinstance(feature, ImageFeature):
        from models import images

        files = [base64.b64decode(value) for value in values]
        return images.decode_all(files, *feature.shape, feature.name)
    if isinstance(feature, CategoricalFeature) and feature.dtype == "string":
        return np.array([[(value or "").encode()] for value in values], dtype=object)
    return np.array([[np.nan if value is None else value] for value in values], np.float32)


def check(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Asks the file in the folder its golden requests.

    Returns:
      `requests`: how many; `largest_difference` from the recorded answers.

    Raises:
      FlywheelError: GOLDEN_MISMATCH.
    """
    path = pathlib.Path(folder)
    golden = json.loads((path / GOLDEN_FILE).read_text("utf-8"))
    predictor = Predictor.load(path)
    inputs = {
        f.name: _array(f, [r[f.name] for r in golden["requests"]]) for f in predictor.spec.features
    }
    answers = predictor.predict_inputs(inputs)
    expected = np.asarray(golden["answers"])
    difference = np.abs(answers - expected)
    # Relative for values in units of their own, absolute for probabilities.
    allowed = golden["tolerance"] * np.maximum(1.0, np.abs(expected))
    if not np.isfinite(answers).all() or (difference > allowed).any():
        bad = np.flatnonzero(~(difference <= allowed).all(axis=1))
        raise FlywheelError(
            "GOLDEN_MISMATCH",
            f"The model file in `{path}` answers {len(bad)} of {len(expected)} golden requests "
            "differently from when it was accepted.",
            next="Do not serve it; push again with `flywheel run`.",
            cases=[
                {"request": int(i), "recorded": expected[i].tolist(), "got": answers[i].tolist()}
                for i in bad[:10]
            ],
        )
    return {"requests": len(expected), "largest_difference": float(difference.max(initial=0.0))}


def check_in_process(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """`check` in a separate process.

    Raises:
      FlywheelError: GOLDEN_MISMATCH, or MODEL_UNUSABLE when the process crashed.
    """
    root = pathlib.Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "models.golden", str(pathlib.Path(folder).resolve())],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise FlywheelError(
            "MODEL_UNUSABLE",
            f"The model file in `{folder}` could not be loaded and run: exit code "
            f"{done.returncode}, {last}.",
            next="Nothing was deployed. Run again; if it stays so, run with `--debug`.",
        ) from None
    if "error" in answer:
        error = answer["error"]
        raise FlywheelError(
            error["code"], error["message"], next=error["next"], cases=error["cases"]
        )
    return answer


def _main() -> None:
    try:
        answer = check(sys.argv[1])
    except FlywheelError as error:
        answer = {"error": error.reason.to_dict()}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main()
