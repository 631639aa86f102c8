"""Some of the pictures that were judged: a few of every class, and the worst mistakes.

`pictures.json` beside the verdict, small enough for a page: PNG in base 64, at most 96 pixels on
a side.
"""

from __future__ import annotations

import base64
import heapq
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from models import feeds, images
from models.predictor import Predictor
from models.spec import ModelSpec

PICTURES_FILE = "pictures.json"
MOST_CLASSES, OF_EACH, MOST_MISTAKES = 20, 4, 16
_MOST_SIDE = 96


def collect(predictor: Predictor, batches: Iterable[pa.RecordBatch]) -> dict[str, Any]:
    """The pictures of labelled rows.

    Args:
      predictor: The shipped file; classification, with an image.
      batches: Of the split that it is judged on.

    Returns:
      `examples`: class to pictures, and `mistakes`: the surest first, each with `label`,
      `prediction`, `probability` of what was predicted, and `png`; `wrong`: how many there are.
    """
    spec = predictor.spec
    examples: dict[str, list[str]] = {name: [] for name in spec.classes[:MOST_CLASSES]}
    worst: list[tuple[float, int, dict[str, Any]]] = []
    wrong = 0
    for batch in batches:
        label = feeds.label_index(spec, feeds.flat_column(batch, spec.label))
        inputs = feeds.encode(spec, batch)
        answers = predictor.predict_inputs(inputs)
        pixels = inputs[spec.image.name]
        for name, found in examples.items():
            places = np.flatnonzero(label == spec.classes.index(name))
            found += [_png(pixels[place]) for place in places[: OF_EACH - len(found)]]
        for place, said, sure in _mistakes(spec, label, answers):
            wrong += 1
            mistake = {
                "label": spec.classes[int(label[place])],
                "prediction": spec.classes[said],
                "probability": sure,
            }
            item = (sure, wrong, {**mistake, "pixels": pixels[place]})
            (heapq.heappush if len(worst) < MOST_MISTAKES else heapq.heappushpop)(worst, item)
    mistakes = [found for _, _, found in sorted(worst, key=lambda w: (-w[0], w[1]))]
    for mistake in mistakes:
        mistake["png"] = _png(mistake.pop("pixels"))
    return {"examples": examples, "mistakes": mistakes, "wrong": wrong}


def _mistakes(
    spec: ModelSpec, label: np.ndarray, answers: np.ndarray
) -> Iterator[tuple[int, int, float]]:
    """Row, class that was predicted and its probability, where that is not the label."""
    if spec.task == "binary":
        answers = np.concatenate([1.0 - answers, answers], axis=1)
    said = answers.argmax(axis=1)
    for place in np.flatnonzero(np.isfinite(label) & (said != label)):
        yield int(place), int(said[place]), float(answers[place, said[place]])


def _png(pixels: np.ndarray) -> str:
    step = -(-max(pixels.shape[:2]) // _MOST_SIDE)
    small = np.ascontiguousarray(pixels[::step, ::step])
    return base64.b64encode(images.encode(small)).decode("ascii")
