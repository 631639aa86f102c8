"""One row at a time through whatever answers rows, in rounds that hit all alike.

As `models.benchmark` times TFLite files: every round goes through all in a new random order, so
that ratios paired by round stand a busy machine. What is timed may be in a process of its own
(ONNX Runtime, whose packages live with neither lock): it times its own calls, when it is its turn.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.benchmark.session import Session
from models.predictor import SavedModelRunner

ROUNDS, RUNS, WARM_UPS = 20, 50, 5

#: Asked for so many timed calls, answers with the seconds of each.
Timed = Callable[[int], Sequence[float]]


def calls(answer: Callable[[Mapping[str, np.ndarray]], object], inputs: dict) -> Timed:
    """Times calls here, one row after the other.

    Args:
      answer: A model, called with one row.
      inputs: Tensor name to `[rows, ...]`.
    """
    rows = len(next(iter(inputs.values())))
    place = 0

    def timed(runs: int) -> list[float]:
        nonlocal place
        seconds = []
        gc.disable()
        try:
            for _ in range(WARM_UPS + runs):
                row = {name: x[place % rows :][:1] for name, x in inputs.items()}
                place += 1
                start = time.perf_counter()
                answer(row)
                seconds.append(time.perf_counter() - start)
        finally:
            gc.enable()
        return seconds[WARM_UPS:]

    return timed


def tflite(path: str, inputs: dict) -> Timed:
    """A file on LiteRT, one thread, with its default delegate."""
    return calls(Session(path), inputs)


def saved_model(folder: str, inputs: dict) -> Timed:
    """A SavedModel on TensorFlow."""
    return calls(SavedModelRunner(folder), inputs)


def measure(
    timed: Mapping[str, Timed], *, rounds: int = ROUNDS, runs: int = RUNS, seed: int = 0
) -> dict[str, np.ndarray]:
    """Seconds `[rounds, runs]` of each."""
    order = np.random.default_rng(seed)
    found: dict[str, list[Sequence[float]]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name in order.permutation(list(timed)):
            found[name].append(timed[name](runs))
    return {name: np.asarray(seconds) for name, seconds in found.items()}
