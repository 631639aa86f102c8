"""Leaves out what TFX imports and a local run never calls, and imports the rest in less time.

Importing TFX's runner imports, through its component index, a hyper-parameter
tuner, Transform, clients of Kubernetes, BigQuery, Pub/Sub and MongoDB, libraries
of translation metrics and, for the plots of notebooks, IPython: a third of the
whole import. Here they become placeholders that can be imported and named, and
raise when they are used.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from typing import Any

#: Packages and modules that become placeholders, with what is inside them.
UNUSED = (
    "IPython",
    "googleapiclient",
    "keras_tuner",
    "kubernetes",
    "nltk",
    "sacrebleu",
    "tensorflow_model_analysis.notebook",
    "tfx.components.bulk_inferrer.component",
    "tfx.components.transform.component",
    "tfx.components.tuner.component",
)
#: Packages whose absence their importers provide for.
ABSENT = (
    "apache_beam.io.gcp",
    "bson",
    "google.cloud.bigquery",
    "google.cloud.pubsub",
    "oauth2client",
    "pymongo",
)


class _Placeholder(type):
    """A class of which everything can be named and nothing be made."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Placeholder(name, (Exception,), {"__init__": _refuse})


def _refuse(self: Any, *_: Any, **__: Any) -> None:
    raise ImportError(
        f"{type(self).__name__} belongs to a package that local runs of Flywheel leave out "
        f"({', '.join(UNUSED)}); use `engine: beam` in flywheel.yaml, which leaves out nothing."
    )


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_Placeholder(self.__name__, (Exception,), {}), name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name in ABSENT:
            raise ModuleNotFoundError(f"{name} is left out of local runs", name=name)
        if not any(name == unused or name.startswith(f"{unused}.") for unused in UNUSED):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def install() -> None:
    """Call before TFX is imported; packages that are imported already stay as they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Imports inside are a seventh quicker: what they make lives on, and none of it is garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
