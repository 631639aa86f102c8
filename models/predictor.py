"""Batch prediction from a model's folder, with the interpreter that serves it.

Imports no TensorFlow for TFLite files: they run on LiteRT. A SavedModel (the
teacher) is loaded with TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from models import feeds
from models.spec import ModelSpec

SERVING_FOLDER = "Format-Serving"
TFLITE_FILE = "tflite"
SIGNATURE = "serving_default"
RAW_SIGNATURE = "raw"
BATCH_ROWS = 1024
#: Pixel values in a batch of images: 1,024 of 32 x 32 in colour.
BATCH_VALUES = 1 << 22


class Runner(Protocol):
    """Anything that answers a dict of inputs with the output array."""

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray: ...


@contextlib.contextmanager
def quiet_native_stderr():
    """Native libraries announce their delegates on stderr; a user did not ask for that."""
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)


class TFLiteRunner:
    """One TFLite file on LiteRT, fed by name through its signature.

    Args:
      model: Path of the file, or its bytes.
      threads: Interpreter threads.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        source = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        with quiet_native_stderr():
            self._interpreter = Interpreter(num_threads=threads, **source)
            self._run = self._interpreter.get_signature_runner(SIGNATURE)
        self.inputs: tuple[str, ...] = tuple(self._run.get_input_details())
        self.output: str = next(iter(self._run.get_output_details()))
        self._warm = False

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        fed = {name: inputs[name] for name in self.inputs}
        if not self._warm:
            with quiet_native_stderr():
                answer = self._run(**fed)
            self._warm = True
        else:
            answer = self._run(**fed)
        return answer[self.output]


class SavedModelRunner:
    """One SavedModel on TensorFlow, fed by name through its raw-feature signature."""

    def __init__(self, folder: str | os.PathLike[str]):
        import tensorflow as tf

        self._tf = tf
        self._model = tf.saved_model.load(str(folder))  # keeps the signature's tables alive
        self._run = self._model.signatures[RAW_SIGNATURE]
        self.inputs: tuple[str, ...] = tuple(self._run.structured_input_signature[1])
        self.output: str = next(iter(self._run.structured_outputs))

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        fed = {name: self._tf.constant(inputs[name]) for name in self.inputs}
        return self._run(**fed)[self.output].numpy()


def batch_rows(spec: ModelSpec, most: int = BATCH_ROWS) -> int:
    """Rows that are answered at once: fewer of large images, whose layers take the memory."""
    return most if spec.image is None else max(1, min(most, BATCH_VALUES // spec.image.size))


def by_tensor(spec: ModelSpec, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs by column to inputs by tensor name, as a runner takes them."""
    return {tensor: inputs[name] for name, tensor in spec.tensors.items()}


class Predictor:
    """A model with its contract: Arrow columns in, predictions out.

    Attributes:
      spec: What the model takes and answers.
    """

    def __init__(self, spec: ModelSpec, run: Runner):
        self.spec = spec
        self._run = run

    @classmethod
    def load(cls, folder: str | os.PathLike[str], **options: Any) -> Predictor:
        """Loads a Model artifact's folder or a deployed version's.

        Args:
          folder: Holds `model.json` and either `Format-Serving/tflite`,
            `model.tflite`, or a SavedModel in `Format-Serving`.
          **options: For TFLite files: `threads`.
        """
        folder = pathlib.Path(folder)
        spec = ModelSpec.load(folder)
        for path in (folder / SERVING_FOLDER / TFLITE_FILE, folder / "model.tflite"):
            if path.is_file():
                return cls(spec, TFLiteRunner(path, **options))
        return cls(spec, SavedModelRunner(folder / SERVING_FOLDER))

    def predict(self, table: pa.Table | pa.RecordBatch) -> np.ndarray:
        """Predictions for every row, in order.

        Returns:
          float32 `[n, 1]` (probability of the positive class, or value) or
          `[n, classes]`.

        Raises:
          DataError: TYPE_CHANGED when a numeric feature holds text.
        """
        return self.predict_inputs(feeds.encode(self.spec, table))

    def predict_inputs(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The same from inputs that are already encoded, as by `feeds.encode`."""
        rows = len(next(iter(inputs.values())))
        fed = by_tensor(self.spec, inputs)
        size = batch_rows(self.spec)
        answers = [
            self._run({name: values[start : start + size] for name, values in fed.items()})
            for start in range(0, rows, size)
        ]
        return np.concatenate(answers) if answers else np.zeros((0, self.spec.units), np.float32)

    def labels(self, predictions: np.ndarray) -> np.ndarray:
        """The predicted label per row: a class name, or the value itself."""
        if self.spec.task == "regression":
            return predictions[:, 0]
        classes = np.asarray(self.spec.classes, dtype=object)
        if self.spec.task == "binary":
            return classes[(predictions[:, 0] > 0.5).astype(int)]
        return classes[predictions.argmax(axis=1)]
