"""Which recipe of a space is worth trying next.

Gaussian processes of what is to be small and of each bound, in shares of it, say what is likely;
two ways of choosing take turns. Constrained expected improvement (Gardner et al., "Bayesian
Optimization with Inequality Constraints", 2014, equation 4) takes the recipe that promises most
on average. Constrained Thompson sampling (Eriksson and Poloczek, "Scalable Constrained Bayesian
Optimization", 2021, section 3) draws one possible world from the processes and takes the best of
that: it looks where the first is too sure, and with every seed elsewhere.

A space has some thousand recipes at most, so all are compared. How far a recipe was fine-tuned
is one more input, so that a first look teaches without being taken for the last word. Several at
once: each is believed to come out as expected (Ginsbourger et al., "Kriging Is Well-Suited to
Parallelize Optimization", 2010, section 3.2).
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence, Set

import numpy as np

from custom_components.tflite_quantizer import trials
from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.search_space import Point, Space

#: Fewer known points say nothing; until then recipes are drawn at random.
_LEAST_KNOWN = 4
#: A possible world is drawn over so many of the most promising recipes: over all of some thousand
#: it would take seconds.
_DRAWN = 200


@dataclasses.dataclass(frozen=True)
class Known:
    """What came of a point.

    Attributes:
      point: Of the space.
      passes: Share of the passes of fine-tuning that it got.
      value: To be small, above 0.
      margins: Of each bound in shares of it; above 0 it is broken.
    """

    point: Point
    passes: float
    value: float
    margins: tuple[float, ...]


class Sampler:
    """Proposes recipes, none twice.

    Args:
      space: Of recipes.
      seed: The same seed and the same answers, the same proposals.
    """

    def __init__(self, space: Space, seed: int):
        self._space = space
        self._recipes = list(space.recipes())
        self._keys = [trials.key(recipe) for recipe in self._recipes]
        points = [space.point(recipe) for recipe in self._recipes]
        self._inputs = np.array([[*self._coordinates(p), 1.0] for p in points])
        self._rng = np.random.default_rng(seed)
        # Decides while nothing is known, and between equals.
        self._order = self._rng.permutation(len(self._recipes))

    def ask(
        self, count: int, known: Sequence[Known], skipped: Set[str], best: float | None
    ) -> list[Recipe]:
        """The most promising recipes.

        Args:
          count: At most so many.
          known: What came of others, in the order in which it was asked.
          skipped: Meanings (`trials.key`) that are not wanted.
          best: Value of the best that keeps all bounds; None when there is none.
        """
        left = [i for i in self._order if self._keys[i] not in skipped]
        if len(known) < _LEAST_KNOWN:
            return [self._recipes[i] for i in left[:count]]
        x = np.array([[*self._coordinates(k.point), k.passes] for k in known])
        values = np.log([k.value for k in known])
        margins = np.arcsinh([k.margins for k in known])
        models = [_process(x, y) for y in (values, *margins.T)]
        target = None if best is None else np.log(best)
        chosen = []
        while left and len(chosen) < count:
            means, deviations = zip(
                *(model.predict(self._inputs[left], return_std=True) for model in models),
                strict=True,
            )
            promise = _promise(means, deviations, target, values.max())
            if len(chosen) % 2:
                place = self._drawn(models, left, promise)
            else:
                place = int(np.argmax(promise))
            index = left.pop(place)
            chosen.append(self._recipes[index])
            if target is not None and all(m[place] <= 0 for m in means[1:]):
                target = min(target, means[0][place])
            models = [
                _believing(model, self._inputs[index], mean[place])
                for model, mean in zip(models, means, strict=True)
            ]
        return chosen

    def _drawn(self, models: Sequence, left: Sequence[int], promise: np.ndarray) -> int:
        """The place of the best in a possible world: the smallest that keeps all bounds there.

        Args:
          models: Of what is to be small, and of each bound.
          left: Recipes to choose from.
          promise: Of each of them.
        """
        places = np.argsort(-promise, kind="stable")[:_DRAWN]
        inputs = self._inputs[[left[place] for place in places]]
        value, *margins = (
            model.sample_y(inputs, random_state=int(self._rng.integers(2**31)))[:, 0]
            for model in models
        )
        broken = sum(np.maximum(margin, 0.0) for margin in margins)
        # Where nothing keeps the bounds, what comes closest to keeping them.
        best = np.argmin(np.where(broken <= 0, value, np.inf) if (broken <= 0).any() else broken)
        return int(places[best])

    def _coordinates(self, point: Point) -> list[float]:
        """Ordered levels between 0 and 1; each precision has a direction of its own."""
        found: list[float] = []
        for (name, levels), position in zip(self._space.axes.items(), point, strict=True):
            if len(levels) < 2:
                continue
            if name == "precisions":
                found += [float(position == i) for i in range(len(levels))]
            else:
                found.append(position / (len(levels) - 1))
        return found


def _promise(
    means: Sequence[np.ndarray],
    deviations: Sequence[np.ndarray],
    target: float | None,
    largest: float,
) -> np.ndarray:
    """Logarithm of the expected improvement times the chance that all bounds are kept."""
    from scipy.stats import norm

    kept = sum(norm.logcdf(-m / s) for m, s in zip(means[1:], deviations[1:], strict=True))
    better = (largest if target is None else target) - means[0]
    z = better / deviations[0]
    improvement = better * norm.cdf(z) + deviations[0] * norm.pdf(z)
    return kept + np.log(np.maximum(improvement, 1e-30))


def _process(x: np.ndarray, y: np.ndarray):
    """A trend along the axes, smooth deviations from it, and noise."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    kernel = (
        ConstantKernel(1.0, (1e-3, 1e2)) * DotProduct(1.0, (1e-2, 1e1))
        + ConstantKernel(0.3, (1e-3, 1e2)) * Matern(np.full(x.shape[1], 1.0), (0.3, 10.0), nu=2.5)
        + WhiteKernel(1e-2, (1e-5, 1.0))
    )
    model = GaussianProcessRegressor(kernel, alpha=1e-8, normalize_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at a bound: as good as it gets
        return model.fit(x, y)


def _believing(model, x: np.ndarray, y: float):
    """The process as if a point had come out as expected."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    mean, scale = model._y_train_mean, model._y_train_std
    known = model.y_train_ * scale + mean
    again = GaussianProcessRegressor(model.kernel_, alpha=1e-8, normalize_y=True, optimizer=None)
    return again.fit(np.vstack([model.X_train_, x]), np.append(known, y))
