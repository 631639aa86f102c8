"""The recipes a search may try: a few levels on each of a few axes, as data."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from custom_components.tflite_quantizer import builtin, trials
from custom_components.tflite_quantizer.recipe import Clustering, Edge, Recipe, Sparsity, Tables
from custom_components.tflite_quantizer.search_options import Objective
from models.options import NetworkOptions
from models.spec import RESERVED_IDS, ModelSpec

#: How weights and activations are stored and computed, by the name of the plain recipe.
PRECISIONS: dict[str, dict[str, Any]] = {
    "float16": {"weights": "float16"},
    "dynamic_range": {"weights": "int8"},
    "int8_ptq": {"weights": "int8", "activations": "int8", "ranges": "representative"},
    "int8_qat": {"weights": "int8", "activations": "int8", "ranges": "aware"},
}
#: The same for those that need an environment of their own (`edge.py`).
EDGE_PRECISIONS: dict[str, dict[str, Any]] = {
    "edge_dynamic_int4": {"weights": "int4", "edge": Edge("dynamic")},
}
LEAST_ELEMENTS = (None, 256, 64, 16)
COVERAGES = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.6)
SHARES = (None, 0.5, 0.8)
CLUSTERS = (None, 32, 16, 8)

#: What the built-in recipes have, so that a name says what differs from them.
_PLAIN_LEAST = {recipe.name: recipe.least_elements for recipe in builtin.RECIPES}
_CONVERTERS_LEAST = 1024

Point = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Space:
    """Levels of each axis, from the plain to the extreme one.

    A point is the position of a level on every axis, in the order of `axes`.

    Attributes:
      precisions: Keys of `PRECISIONS` and `EDGE_PRECISIONS`.
      least_elements, coverages, widths: As in `Recipe` and `Tables`.
      shares: Of zeros (`Sparsity`, unstructured and polynomial); None for no pruning.
      clusters: As in `Clustering`; None for none.
      float_layers: As in `Recipe`, where weights are in 8 bits or fewer.
    """

    precisions: tuple[str, ...] = tuple(PRECISIONS)
    least_elements: tuple[int | None, ...] = LEAST_ELEMENTS
    coverages: tuple[float, ...] = COVERAGES
    widths: tuple[int | None, ...] = (None,)
    shares: tuple[float | None, ...] = (None,)
    clusters: tuple[int | None, ...] = (None,)
    float_layers: tuple[tuple[str, ...], ...] = ((),)

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        network: NetworkOptions,
        objective: Objective = "bytes",
        ids: np.ndarray | None = None,
        sensitive: Sequence[str] = (),
        edge: bool = False,
    ) -> Space:
        """The space for one network, without what cannot help.

        Zeros and shared weights shrink a file only when it is compressed: they are on the
        axes of `gzip` alone.

        Args:
          spec, network: The student's.
          objective: Of the search.
          ids: Of train, `[n, categorical features]`, to tell which coverages keep the same
            values; without them all are taken for different.
          sensitive: Layers that bear 8 bits badly, the worst first (`least_tolerant`): the
            worst alone may stay float, or the worst two, and so on.
          edge: Whether there is an environment for `EDGE_PRECISIONS`.
        """
        width = network.embedding
        narrower = {3 * width // 4, width // 2, width // 4, 1} - {0, width}
        layers = bool(network.hidden) or spec.image is not None
        compressed = objective == "gzip" and layers
        precisions = (*PRECISIONS, *(EDGE_PRECISIONS if edge else ()))
        return cls(
            precisions=precisions if layers else ("float16", "dynamic_range"),
            coverages=_coverages(spec, ids),
            widths=(None, *sorted(narrower, reverse=True)) if spec.categorical else (None,),
            shares=SHARES if compressed else (None,),
            clusters=CLUSTERS if compressed else (None,),
            float_layers=tuple(tuple(sensitive[:n]) for n in range(len(sensitive) + 1)),
        )

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Name to levels."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def recipe(self, point: Point) -> Recipe:
        """The recipe at a point; a built-in one where one means the same."""
        level = {
            name: levels[position]
            for (name, levels), position in zip(self.axes.items(), point, strict=True)
        }
        fields = {**PRECISIONS, **EDGE_PRECISIONS}[level["precisions"]]
        # Only weights in 8 bits or fewer have a least number of elements.
        narrow = fields["weights"] in ("int8", "int4")
        least = level["least_elements"] if narrow else None
        coverage, width = level["coverages"], level["widths"]
        share, clusters = level["shares"], level["clusters"]
        float_layers = level["float_layers"] if narrow else ()
        parts = [level["precisions"]]
        plain = _PLAIN_LEAST[level["precisions"]]
        for letter, value, usual in (
            ("l", least or _CONVERTERS_LEAST, plain or _CONVERTERS_LEAST),
            ("c", f"{100 * coverage:g}".replace(".", "p"), "100"),
            ("w", width, None),
            ("s", share and f"{100 * share:g}".replace(".", "p"), None),
            ("k", clusters, None),
            ("f_", "_".join(float_layers), ""),
        ):
            if value != usual:
                parts.append(f"{letter}{value}")
        recipe = Recipe(
            "_".join(parts),
            **fields,
            summary="Found by the search.",
            sparsity=None if share is None else Sparsity(share=share),
            clustering=None if clusters is None else Clustering(clusters),
            tables=Tables(coverage=coverage, width=width),
            least_elements=least,
            float_layers=float_layers,
        )
        return _BUILTIN.get(trials.key(recipe), recipe)

    def point(self, recipe: Recipe) -> Point | None:
        """Where a recipe lies, or one that means the same; None outside the space."""
        return self._points.get(trials.key(recipe))

    def recipes(self) -> Iterator[Recipe]:
        """Every recipe once."""
        return map(self.recipe, self._points.values())

    def __len__(self) -> int:
        return len(self._points)

    @functools.cached_property
    def _points(self) -> dict[str, Point]:
        """Meaning to its first point."""
        found: dict[str, Point] = {}
        for point in itertools.product(*(range(len(levels)) for levels in self.axes.values())):
            found.setdefault(trials.key(self.recipe(point)), point)
        return found


_BUILTIN = {trials.key(recipe): recipe for recipe in builtin.RECIPES}


def _coverages(spec: ModelSpec, ids: np.ndarray | None) -> tuple[float, ...]:
    """Those of `COVERAGES` that keep different values of the text features."""
    text = [
        (column, feature.size, offset)
        for column, (feature, offset) in enumerate(zip(spec.categorical, spec.offsets, strict=True))
        if feature.dtype == "string"
    ]
    if not text:
        return (1.0,)
    if ids is None or not len(ids):
        return COVERAGES
    counts = [
        np.bincount(ids[:, column] - offset, minlength=size)[RESERVED_IDS:]
        for column, size, offset in text
    ]
    kept: dict[tuple[int, ...], float] = {}
    for coverage in COVERAGES:
        # As `tables.cut_vocabularies` cuts.
        values = tuple(
            len(n) if coverage == 1.0 else int(np.argmax(np.cumsum(n) >= coverage * n.sum())) + 1
            for n in counts
        )
        kept.setdefault(values, coverage)
    return tuple(kept.values())
