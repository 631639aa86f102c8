"""Makes the file of one trial in a process of its own, and measures it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from custom_components.tflite_quantizer import quality
from custom_components.tflite_quantizer.convert import Job, convert
from custom_components.tflite_quantizer.measure import size_of
from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.trials import Budget, Trial
from models import isolation
from models.benchmark import benchmark
from models.predictor import Predictor, TFLiteRunner, by_tensor
from models.rows import Rows
from models.spec import ModelSpec


class Maker:
    """What `search.search` calls for every trial.

    Args:
      spec: The model's contract.
      bundle: Folder of the float student.
      rows: `.npz` as `convert.Job` takes it.
      folder: For the files; each is called `<recipe>-<passes>.tflite`.
      valid: Rows of eval with their inputs.
      reference: Answers of the float student to them, `[n, units]`.
      slices: That are judged, from `quality.slices_of`.
      seconds, memory_mb: Bounds of each trial.
      seed: Of fine-tuning.
      timed: Whether latency is measured. One file at a time is, but only with one worker
        nothing else runs meanwhile.
    """

    def __init__(
        self,
        spec: ModelSpec,
        bundle: str,
        rows: str,
        folder: str,
        valid: Rows,
        reference: np.ndarray,
        slices: Sequence[quality.Slice],
        *,
        seconds: float,
        memory_mb: int,
        seed: int = 0,
        timed: bool = False,
    ):
        self._spec, self._bundle, self._rows, self._folder = spec, bundle, rows, folder
        self._valid, self._reference, self._slices = valid, reference, slices
        self._seconds, self._memory_mb = seconds, memory_mb
        self._seed, self._timed = seed, timed
        self._clock = threading.Lock()

    def path(self, recipe: Recipe, epochs: int) -> str:
        """Where the file of a trial is."""
        return os.path.join(self._folder, f"{recipe.name}-{epochs}.tflite")

    def __call__(self, recipe: Recipe, budget: Budget) -> Trial:
        """Raises `isolation.Isolated` when no file comes out."""
        path = self.path(recipe, budget.epochs if recipe.fine_tunes else 0)
        isolation.run_isolated(
            convert,
            Job(recipe, self._bundle, path, self._rows, budget.epochs, self._seed),
            seconds=min(self._seconds, budget.seconds),
            memory_mb=self._memory_mb,
        )
        answers = Predictor(self._spec, TFLiteRunner(path)).predict_inputs(self._valid.inputs)
        return Trial(
            recipe,
            budget.epochs,
            **size_of(path),
            quality=quality.compare(
                self._spec, self._valid, self._slices, self._reference, answers
            ),
            latency_us=self._latency(path),
        )

    def _latency(self, path: str) -> dict[str, Any]:
        if not self._timed:
            return {}
        with self._clock:
            timing = benchmark({"trial": path}, by_tensor(self._spec, self._valid.inputs))["trial"]
        return {"p50": timing.p50, "p90": timing.p90}
