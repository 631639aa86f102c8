"""Asks Optuna for points of a space, and tells it what came of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Set
from typing import Any

from custom_components.tflite_quantizer import trials
from custom_components.tflite_quantizer.search_space import Point, Space

#: Points that Optuna may repeat in a row before an untried one is taken at random.
_REPEATS = 20
_EXCESS = "excess"


class Sampler:
    """The tree-structured Parzen estimator with constraints, on the levels of a space.

    Args:
      space: Of recipes.
      seed: The same seed and the same answers, the same points.
      startup: Points it wants to know before it models them; drawn at random until then.
    """

    def __init__(self, space: Space, seed: int, startup: int = 8):
        import numpy as np
        import optuna  # a second and a half

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._space = optuna, space
        # Levels are ordered; precisions are not.
        self._distributions = {
            name: optuna.distributions.CategoricalDistribution(levels)
            if name == "precisions"
            else optuna.distributions.IntDistribution(0, len(levels) - 1)
            for name, levels in space.axes.items()
            if len(levels) > 1
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=startup,
                multivariate=True,
                constant_liar=True,
                seed=seed,
                constraints_func=lambda trial: (trial.user_attrs[_EXCESS],),
            )
        self._study = optuna.create_study(sampler=sampler)
        self._order = list(np.random.default_rng(seed).permutation(len(space)))
        self._recipes = list(space.recipes())

    def ask(self, point: Point | None = None) -> tuple[Point, Any]:
        """A point with the ticket to tell its result with; the sampler's choice, or the one given."""
        if point is not None:
            self._study.enqueue_trial(self._parameters(point))
        trial = self._study.ask(self._distributions)
        return self._point(trial.params), trial

    def ask_new(self, seen: Set[str]) -> tuple[Point, Any] | None:
        """A point whose recipe is not among the meanings seen; None when there is none left."""
        for _ in range(_REPEATS):
            point, ticket = self.ask()
            if trials.key(self._space.recipe(point)) not in seen:
                return point, ticket
            self._study.tell(ticket, state=self._optuna.trial.TrialState.FAIL)
        for place in self._order:
            if trials.key(self._recipes[place]) not in seen:
                return self.ask(self._space.point(self._recipes[place]))
        return None

    def tell(self, ticket: Any, value: float, excess: float) -> None:
        """What came of a point.

        Args:
          ticket: From asking.
          value: To be small; infinite when it is not known.
          excess: By how much bounds are broken; 0 when none is.
        """
        ticket.set_user_attr(_EXCESS, excess)
        self._study.tell(ticket, min(value, math.inf))

    def _parameters(self, point: Point) -> dict[str, Any]:
        return {
            name: levels[position] if name == "precisions" else position
            for (name, levels), position in zip(self._space.axes.items(), point, strict=True)
            if name in self._distributions
        }

    def _point(self, parameters: dict[str, Any]) -> Point:
        return tuple(
            levels.index(parameters.get(name, levels[0]))
            if name == "precisions"
            else parameters.get(name, 0)
            for name, levels in self._space.axes.items()
        )
