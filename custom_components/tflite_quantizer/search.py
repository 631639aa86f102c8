"""Finds the smallest (or fastest) variant that keeps the bounds, in a budget of trials and minutes.

Which recipe next: `sampler.py`. Which of them is fine-tuned in full: successive halving without
brackets (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020, algorithm 2).
A recipe that has to be fine-tuned gets a third of the passes first; its size is then known and
its quality roughly. Of all such recipes the better half goes on, if it is smaller than the best
so far.

Trials go in rounds of a fixed number and the sampler hears of them in the order in which it
asked, so neither the number of processes nor an interruption changes what is tried.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from custom_components.tflite_quantizer import builtin, picks, trials
from custom_components.tflite_quantizer.picks import Limits
from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.sampler import Known, Sampler
from custom_components.tflite_quantizer.search_options import Objective, SearchOptions
from custom_components.tflite_quantizer.search_space import Space
from custom_components.tflite_quantizer.trials import Budget, Journal, Trial
from models import isolation, progress

#: Recipes asked for at once. Not the number of processes: what is tried must not depend on it.
ROUND = 4
#: One of so many recipes goes on, and the first look takes a share of 1 / (1 + HALVING) passes.
HALVING = 2
#: A bound of zero is broken by shares of this.
_LEAST_BOUND = 1e-3

Evaluate = Callable[[Recipe, Budget], Trial]


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
      best: The best of those in full that keep all bounds; None when none does.
      trials: Everything that was made, failed or was skipped, in order.
      recipes: Tried, those that were skipped not counted.
      stopped: What ended it: all `trials` or `minutes` were used, or `space`: nothing is left.
      objective: What was made small.
      violations: For each trial the bounds it breaks, as clauses.
    """

    best: Trial | None
    trials: tuple[Trial, ...]
    recipes: int
    stopped: Literal["trials", "minutes", "space"]
    objective: Objective
    violations: tuple[tuple[str, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: one row for each trial, with `best` and `violations`."""
        return {
            "objective": self.objective,
            "stopped": self.stopped,
            "recipes": self.recipes,
            "best": self.best and self.best.name,
            "trials": [
                {
                    **trial.to_dict(),
                    "name": trial.name,
                    "best": trial is self.best,
                    "violations": list(broken),
                }
                for trial, broken in zip(self.trials, self.violations, strict=True)
            ],
        }


def search(
    space: Space,
    evaluate: Evaluate,
    limits: Limits,
    options: SearchOptions,
    *,
    epochs: int,
    journal: Journal | None = None,
    first: Iterable[Recipe] | None = None,
    reason_to_skip: Callable[[Recipe], str | None] = lambda recipe: None,
    workers: int = 1,
) -> Found:
    """Searches.

    Args:
      space: What may be tried.
      evaluate: Makes a recipe's file within a budget and measures it; raises
        `isolation.Isolated` when no file comes out. Called from threads.
      limits: Bounds; those of quality hold for whole intervals.
      options: Trials, minutes, objective, seed.
      epochs: Passes of fine-tuning in full.
      journal: Of finished trials; one that is on file is taken from there.
      first: Tried before all others, whether in the space or not. Default: the built-in
        recipes of the space.
      reason_to_skip: As `needs.reason_to_skip`, of a recipe; such a recipe costs no trial.
      workers: Evaluated at once.
    """
    if first is None:
        first = [r for r in builtin.RECIPES if space.point(r) is not None]
    run = _Run(evaluate, limits, options, epochs, journal or Journal(), workers)
    if not options.trials:
        return run.found("trials")
    proposals = _Proposals(space, first, reason_to_skip, options.seed, run)
    while run.tried < options.trials and not run.out_of_time:
        batch = proposals.take(min(ROUND, options.trials - run.tried))
        if not batch:
            break
        run.look(batch)
        run.promote()
        progress.step("searching recipes", run.tried, options.trials)
    stopped = "trials" if run.tried >= options.trials else "space"
    run.finish()
    return run.found("minutes" if run.out_of_time else stopped)


class _Run:
    """Evaluates, remembers, and knows the best."""

    def __init__(
        self,
        evaluate: Evaluate,
        limits: Limits,
        options: SearchOptions,
        epochs: int,
        journal: Journal,
        workers: int,
    ):
        self._evaluate, self._limits, self._workers = evaluate, limits, workers
        self._objective = options.objective
        self._journal = journal
        self._epochs = epochs
        self._few = max(1, round(epochs / (1 + HALVING)))
        self._bound = options.minutes * 60.0
        self._started = time.monotonic() - journal.elapsed
        self._violations: dict[int, tuple[str, ...]] = {}
        self.rows: list[Trial] = []
        self.latest: dict[str, Trial] = {}
        self.best: Trial | None = None
        self.tried = 0
        self.out_of_time = False

    def skip(self, recipe: Recipe, reason: str) -> None:
        self._record(Trial(recipe, 0, state="skipped", reason=reason))

    def look(self, batch: Sequence[Recipe]) -> None:
        """First looks at new recipes: with few passes where they have to be fine-tuned."""
        made = self._all([(r, self._few if r.fine_tunes else 0) for r in batch])
        self.tried += len(made)

    def promote(self) -> None:
        """As many of the recipes with few passes as the halving allows are made in full."""
        looked = [t for t in self.rows if not t.full]
        done = sum(self.latest[trials.key(t.recipe)].full for t in looked)
        places = math.ceil(len(looked) / HALVING) - done
        waiting = sorted(self._promising(), key=lambda t: (self.excess(t), self.value(t)))
        self._all([(t.recipe, self._epochs) for t in waiting[: max(places, 0)]])

    def finish(self) -> None:
        """Those that kept the bounds with few passes and may still be the best, smallest first."""
        for trial in sorted(self._promising(), key=self.value):
            if not self.broken(trial) and self._beats(trial):
                self._all([(trial.recipe, self._epochs)])

    def _promising(self) -> list[Trial]:
        """With few passes, made, and better than the best in what is to be small."""
        return [t for t in self.latest.values() if not t.full and self._beats(t)]

    def _beats(self, trial: Trial) -> bool:
        if trial.state != "made":
            return False
        return self.best is None or self.value(trial) < self.value(self.best)

    def _all(self, wanted: Sequence[tuple[Recipe, int]]) -> list[Trial]:
        """Evaluates what is not on file, several at once; stops when the time is over."""
        known = [self._journal.get(recipe, epochs) for recipe, epochs in wanted]
        # Only so many are handed out at once that a bound of time holds for each of them.
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool:
            futures = {
                pool.submit(self._one, recipe, epochs): place
                for place, (recipe, epochs) in enumerate(wanted)
                if known[place] is None
            }
            errors = []
            for future in concurrent.futures.as_completed(futures):
                if error := future.exception():
                    errors.append(error)
                elif trial := future.result():
                    known[futures[future]] = trial
                    self._journal.add(trial)
        if errors:
            raise errors[0]
        made = [trial for trial in known if trial is not None]
        self.out_of_time |= len(made) < len(wanted)
        for trial in made:
            self._record(trial)
        return made

    def _one(self, recipe: Recipe, epochs: int) -> Trial | None:
        """One trial; None when the search had no time for it."""
        begun = time.monotonic()
        left = self._bound - (begun - self._started)
        if left <= 0:
            return None
        try:
            trial = self._evaluate(recipe, Budget(epochs or self._epochs, left))
        except isolation.Isolated as error:
            trial = Trial(recipe, epochs, state="failed", reason=str(error))
        now = time.monotonic()
        if trial.state != "made":
            if now - self._started >= self._bound:
                return None  # the search ended it, and not what is wrong with the recipe
            logging.getLogger(__name__).warning("recipe %s: %s", recipe.name, trial.reason)
        return dataclasses.replace(
            trial,
            recipe=recipe,
            epochs=epochs,
            full=epochs in (0, self._epochs),
            seconds=now - begun,
            elapsed=now - self._started,
        )

    def _record(self, trial: Trial) -> None:
        # The file may know it under another name, and from a search with other passes.
        trial = dataclasses.replace(trial, full=trial.epochs in (0, self._epochs))
        self.rows.append(trial)
        self.latest[trials.key(trial.recipe)] = trial
        if not trial.full or self.broken(trial):
            return
        if self.best is None or self._rank(trial) < self._rank(self.best):
            self.best = trial

    def broken(self, trial: Trial) -> tuple[str, ...]:
        """The bounds that a trial breaks."""
        if trial.state != "made":
            return (trial.reason,)
        if id(trial) not in self._violations:
            self._violations[id(trial)] = tuple(picks.violations(trial, self._limits))
        return self._violations[id(trial)]

    def excess(self, trial: Trial) -> float:
        """By how much the bounds are broken, in shares of them; 0 when all are kept."""
        if not self.broken(trial):
            return 0.0
        return sum(max(margin, 0.0) for margin in margins(trial, self._limits)) or math.inf

    def known(self, space: Space) -> list[Known]:
        """What the trials teach about the space."""
        return [
            Known(point, trial.epochs / self._epochs or 1.0, self.value(trial), found)
            for trial in self.rows
            if (point := space.point(trial.recipe)) is not None
            and (found := margins(trial, self._limits))
            and 0 < self.value(trial) < math.inf
        ]

    def value(self, trial: Trial) -> float:
        return value(trial, self._objective)

    def _rank(self, trial: Trial) -> tuple[float, float]:
        return self.value(trial), trial.quality["overall"]["drop"]

    def found(self, stopped: Literal["trials", "minutes", "space"]) -> Found:
        return Found(
            self.best,
            tuple(self.rows),
            self.tried,
            stopped,
            self._objective,
            tuple(self.broken(trial) for trial in self.rows),
        )


def value(trial: Trial, objective: Objective) -> float:
    """What is to be small; infinite where it is not known."""
    known = {
        "bytes": trial.bytes,
        "gzip": trial.gzip_bytes,
        "latency": trial.latency_us.get("p50"),
    }[objective]
    return math.inf if known is None else float(known)


def margins(trial: Trial, limits: Limits) -> tuple[float, ...]:
    """Of each bound, by how much of it it is broken; 0 or less where it is kept.

    None of them when the quality is not known.
    """
    high = trial.quality["overall"]["high"] if trial.state == "made" else None
    if high is None:
        return ()
    worst = max((s["high"] for s in trial.quality["slices"] if s["high"] is not None), default=high)
    found = [
        (high - limits.max_drop) / max(limits.max_drop, _LEAST_BOUND),
        (worst - limits.max_drop_slice) / max(limits.max_drop_slice, _LEAST_BOUND),
    ]
    if limits.max_bytes is not None:
        found.append(trial.bytes / limits.max_bytes - 1.0)
    if limits.max_latency_us is not None:
        found.append(trial.latency_us.get("p50", 0.0) / limits.max_latency_us - 1.0)
    return tuple(found)


class _Proposals:
    """Which recipes come next: the first ones, then the sampler's; each once."""

    def __init__(
        self,
        space: Space,
        first: Iterable[Recipe],
        reason_to_skip: Callable[[Recipe], str | None],
        seed: int,
        run: _Run,
    ):
        self._space, self._run, self._reason_to_skip = space, run, reason_to_skip
        self._sampler = Sampler(space, seed)
        self._first = list(first)
        self._seen: set[str] = set()

    def take(self, count: int) -> list[Recipe]:
        """The next recipes that can be made; fewer when nothing is left."""
        batch: list[Recipe] = []
        while len(batch) < count and (proposed := self._next(count - len(batch))):
            for recipe in proposed:
                self._seen.add(trials.key(recipe))
                if reason := self._reason_to_skip(recipe):
                    self._run.skip(recipe, reason)
                else:
                    batch.append(recipe)
        return batch

    def _next(self, count: int) -> list[Recipe]:
        fresh = {trials.key(r): r for r in self._first if trials.key(r) not in self._seen}
        if fresh:
            return list(fresh.values())[:count]
        best = self._run.best
        return self._sampler.ask(
            count, self._run.known(self._space), self._seen, best and self._run.value(best)
        )
