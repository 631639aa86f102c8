"""The deployed model in memory: taken up, swapped while requests run, and logged.

A request holds the version it began with until it is answered. When the pointer moves, the new
version is checked (files, golden requests) beside the old one, then takes the place; the old
one's log is closed when its last request has left.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import logging
import os
import pathlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cloud_functions.predict.metrics import Metrics
from cloud_functions.predict.rows import Decoder
from cloud_functions.predict.settings import PredictSettings
from models.errors import ConfigError, FlywheelError
from models.predictor import Predictor
from models.registry import Registry
from models.spec import ModelSpec
from monitoring.prediction_log import LogWriter

_SWITCH_SECONDS = 0.0005
_logger = logging.getLogger(__name__)


class Model:
    """One version that serves.

    Args:
      version: Its name.
      folder: Its files.
      settings: Of the function.
    """

    def __init__(self, version: str, folder: pathlib.Path, settings: PredictSettings):
        options = settings.serving
        self.version = version
        self._idle: queue.SimpleQueue[Predictor] = queue.SimpleQueue()
        for _ in range(options.interpreters):
            predictor = Predictor.load(folder)
            predictor.predict_inputs(_missing(predictor.spec))  # the first call prepares tensors
            self._idle.put(predictor)
        self._predictor = predictor
        self.spec: ModelSpec = predictor.spec
        self.decoder = Decoder(
            self.spec,
            ignore_unknown=options.unknown_features == "ignore",
            max_pixels=options.max_pixels,
        )
        self.log = LogWriter(
            settings.log,
            self.spec,
            version,
            rows_per_file=options.log_rows,
            seconds_per_file=options.log_seconds,
            max_bytes=options.log_bytes,
        )
        self.users = 0

    def predict(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """float32 `[rows, units]`; waits for an interpreter."""
        predictor = self._idle.get()
        try:
            return predictor.predict_inputs(inputs)
        finally:
            self._idle.put(predictor)

    def labels(self, answers: np.ndarray) -> list[Any]:
        """The predicted class, or value, per row."""
        return self._predictor.labels(answers).tolist()


class Service:
    """What the predict function holds between requests.

    Args:
      settings: Of the function.
    """

    def __init__(self, settings: PredictSettings):
        self.settings = settings
        self.metrics = Metrics()
        self._registry = Registry(settings.deployed)
        self._lock = threading.Lock()
        self._model: Model | None = None
        self._leaving: list[Model] = []
        self._refused: str | None = None
        self._dropped = 0
        self._stop = threading.Event()
        self._take_up(first=True)
        self._watcher = threading.Thread(target=self._watch, name="registry", daemon=True)
        self._watcher.start()

    @contextlib.contextmanager
    def model(self) -> Iterator[Model]:
        """The version that serves, until the request is answered.

        Raises:
          ConfigError: NOTHING_DEPLOYED.
        """
        with self._lock:
            model = self._model
            if model is not None:
                model.users += 1
        if model is None:
            self._registry.resolve()  # says that nothing is deployed
            raise ConfigError(
                "NOT_READY", "The deployed version could not be loaded.", next="See the log."
            )
        try:
            yield model
        finally:
            with self._lock:
                model.users -= 1

    @property
    def version(self) -> str | None:
        """The name of the version that serves."""
        return self._model.version if self._model else None

    def count_dropped(self) -> None:
        """Brings the metric of rows that were not logged up to date."""
        with self._lock:
            models = [*self._leaving, *([self._model] if self._model else [])]
            self.metrics.dropped.set(self._dropped + sum(m.log.dropped for m in models))

    def close(self) -> None:
        """Writes what waits for the log; further predictions are not logged."""
        self._stop.set()
        self._watcher.join()  # it may be writing the last rows of a version that left
        with self._lock:
            models = [*self._leaving, *([self._model] if self._model else [])]
        for model in models:
            model.log.close()

    def _watch(self) -> None:
        while not self._stop.wait(self.settings.serving.reload_seconds):
            try:
                self._take_up(first=False)
                self._let_go()
            except Exception:  # the next look may do better; requests go on meanwhile
                _logger.exception("the registry `%s` could not be read", self._registry.root)

    def _take_up(self, *, first: bool) -> None:
        version = self._registry.current()
        if version is None or version in (self.version, self._refused):
            return
        try:
            if not first:  # at the start there is nothing older to fall back to
                self._registry.verify(version)
            model = Model(version, self._registry.folder(version), self.settings)
            manifest = self._registry.manifest(version)
        except (FlywheelError, OSError, ValueError, KeyError, RuntimeError) as error:
            self._refused = version
            self.metrics.reloads.labels("refused").inc()
            _logger.error("version %s is not served: %s", version, error)
            return
        with self._lock:
            if self._model is not None:
                self._leaving.append(self._model)
                self.metrics.version.remove(self._model.version)
            self._model, self._refused = model, None
        self.metrics.version.labels(version).set(1)
        self.metrics.loaded.set(time.time())
        created = datetime.datetime.fromisoformat(manifest["created"])
        self.metrics.created.set(created.timestamp())
        self.metrics.reloads.labels("taken").inc()
        _logger.info("serving version %s", version)

    def _let_go(self) -> None:
        with self._lock:
            gone = [model for model in self._leaving if not model.users]
            self._leaving = [model for model in self._leaving if model.users]
        for model in gone:
            model.log.close()
            self._dropped += model.log.dropped


def _missing(spec: ModelSpec) -> dict[str, np.ndarray]:
    """One row without any value."""
    texts = {f.name for f in spec.categorical if f.dtype == "string"}
    inputs = {
        f.name: np.array([[b""]], dtype=object)
        if f.name in texts
        else np.full((1, 1), np.nan, np.float32)
        for f in (*spec.numeric, *spec.categorical)
    }
    if spec.image is not None:
        inputs[spec.image.name] = np.zeros((1, *spec.image.shape), np.uint8)
    return inputs


_services: dict[int, Service] = {}
_making = threading.Lock()


def service(settings: Callable[[], PredictSettings]) -> Service:
    """This process's service, made with the first request: servers fork after imports.

    Args:
      settings: Reads them; called once per process.
    """
    made = _services.get(os.getpid())
    if made is None:
        with _making:
            made = _services.get(os.getpid())
            if made is None:
                made = Service(settings())
                # A request waits for the thread that writes the log this long at most, not 5 ms.
                sys.setswitchinterval(_SWITCH_SECONDS)
                _services.clear()
                _services[os.getpid()] = made
                atexit.register(made.close)
    return made
