"""Does the search find what making every combination finds? On real files of one data set.

    python -m benchmarks.search [--data demo:chicago-taxi] [--objectives bytes gzip]
                                [--max-drop 0.001 --max-drop-slice 0.005]

A whole `flywheel run` gives the float student. Then every recipe of a space is made, each by
the real converter with real fine-tuning, and measured on eval: the exhaustive grid. For `bytes`
the space is the one that `flywheel run` searches; for `gzip`, whose own has some thousand recipes,
it is thinned to every axis with fewer levels. Then the search runs with several seeds on the same
files (a file once made is not made again; first looks with few passes are made as it asks for
them), and so does choosing at random. What counts is the best file within the bounds that each
found in 25 trials, in shares of the best of the grid. With `--replay` a first look that is not on
file yet is taken from the file made in full, which costs nothing and flatters it a little.

Prints a Markdown table, writes benchmarks/results/search.json. Files made are remembered in
`--journal`, so that an interrupted grid goes on.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import random
import tempfile
import threading
import time

from models import stack

stack.prepare_environment()

from benchmarks.optimize import ROOT, read, run_pipeline  # noqa: E402
from custom_components.tflite_quantizer import needs, picks, quality, trials  # noqa: E402
from custom_components.tflite_quantizer.executor import PRELOAD, write_rows  # noqa: E402
from custom_components.tflite_quantizer.maker import Maker  # noqa: E402
from custom_components.tflite_quantizer.options import QuantizerOptions  # noqa: E402
from custom_components.tflite_quantizer.recipe import Recipe  # noqa: E402
from custom_components.tflite_quantizer.search import search, value  # noqa: E402
from custom_components.tflite_quantizer.search_options import SearchOptions  # noqa: E402
from custom_components.tflite_quantizer.search_space import Space  # noqa: E402
from custom_components.tflite_quantizer.trials import Budget, Journal, Trial  # noqa: E402
from models import bundle, isolation  # noqa: E402
from models.benchmark.machine import stamp  # noqa: E402
from models.student import answers  # noqa: E402
from models.training import predict_logits  # noqa: E402

_WITHIN = 1.1
_RANDOM_DRAWS = 1000
_SECONDS, _MEMORY_MB = 300, 8192


class Bench:
    """Files of one student, each made once.

    Args:
      uris: Artifacts of a run, `component.output` to folder.
      work: For files.
      journal: Of finished trials.
      passes: Of fine-tuning in full.
      replay: A first look that is not on file is taken from the file made in full.
    """

    def __init__(
        self,
        uris: dict,
        work: pathlib.Path,
        journal: pathlib.Path,
        passes: int,
        replay: bool = False,
    ):
        source = uris["Distiller.model"]
        self.spec, self.shape, network = bundle.load(source)
        self.train, valid = read(self.spec, uris, "train"), read(self.spec, uris, "eval")
        self.passes, self.replay, self.options = passes, replay, QuantizerOptions()
        rows = str(work / "rows.npz")
        logits = predict_logits(network, self.spec, self.train)
        write_rows(rows, self.spec, self.train, valid, logits, self.options.representative_rows)
        reference = answers(self.spec, predict_logits(network, self.spec, valid))
        known = trials.fingerprint(weights=pathlib.Path(source, "weights.npz"), passes=passes)
        self._journal, self._lock = Journal(journal, known), threading.Lock()
        self._maker = Maker(
            self.spec,
            source,
            rows,
            str(work),
            valid,
            reference,
            quality.slices_of(self.spec, valid.inputs, self.options.min_slice_rows),
            seconds=_SECONDS,
            memory_mb=_MEMORY_MB,
        )
        self.made = 0

    def __call__(self, recipe: Recipe, budget: Budget) -> Trial:
        """As `search.search` calls it."""
        epochs = budget.epochs if recipe.fine_tunes else 0
        found = self._journal.get(recipe, epochs)
        if found is None and self.replay:
            found = self._journal.get(recipe, self.passes if recipe.fine_tunes else 0)
        if found:
            if found.state == "failed":
                raise isolation.Isolated(found.reason)
            return dataclasses.replace(found, recipe=recipe, epochs=epochs)
        begun = time.monotonic()
        try:
            trial = self._maker(recipe, Budget(budget.epochs, _SECONDS))
        except isolation.Isolated as error:
            trial = Trial(recipe, epochs, state="failed", reason=str(error))
        trial = dataclasses.replace(trial, epochs=epochs, seconds=time.monotonic() - begun)
        with self._lock:
            self._journal.add(trial)
            self.made += 1
        if trial.state == "failed":
            raise isolation.Isolated(trial.reason)
        return trial

    def space(self, objective: str) -> Space:
        """The space of the search; that of `gzip` with fewer levels on every axis."""
        space = Space.of(self.spec, self.shape, objective, self.train.ids)
        if objective != "gzip":
            return space
        return dataclasses.replace(
            space,
            least_elements=(None, 64),
            coverages=space.coverages[::2],
            widths=space.widths[:1] + space.widths[-2:-1],
            shares=space.shares[:2],
            clusters=(None, 16),
        )

    def possible(self, space: Space) -> list[Recipe]:
        return [
            recipe
            for recipe in space.recipes()
            if not needs.reason_to_skip(recipe, self.spec, self.shape, len(self.train))
        ]

    def grid(self, recipes: list[Recipe], workers: int) -> list[Trial]:
        """Every recipe in full; those that fail are left out."""

        def one(recipe: Recipe) -> Trial | None:
            try:
                return self(recipe, Budget(self.passes, _SECONDS))
            except isolation.Isolated:
                return None

        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            return [trial for trial in pool.map(one, recipes) if trial is not None]


def compare(bench: Bench, objective: str, count: int, seeds: int, workers: int) -> dict:
    """The grid, the searches and choices at random, for one objective."""
    space, limits = bench.space(objective), bench.options.limits()
    recipes = bench.possible(space)
    begun = time.monotonic()
    grid = bench.grid(recipes, workers)
    seconds = time.monotonic() - begun
    good = {
        trials.key(t.recipe): value(t, objective) for t in grid if not picks.violations(t, limits)
    }
    if not good:
        raise SystemExit(f"{objective}: no recipe keeps the bounds, so there is no best")
    best = min(good.values())
    searches = []
    for seed in range(seeds):
        found = search(
            space,
            bench,
            limits,
            SearchOptions(trials=count, minutes=600.0, objective=objective, seed=seed),
            epochs=bench.passes,
            reason_to_skip=lambda recipe: needs.reason_to_skip(
                recipe, bench.spec, bench.shape, len(bench.train)
            ),
            workers=workers,
        )
        searches.append(
            {
                "seed": seed,
                "trials": found.recipes,
                "best": found.best and found.best.name,
                "value": found.best and value(found.best, objective),
                "ratio": value(found.best, objective) / best if found.best else None,
            }
        )
    keys = [trials.key(recipe) for recipe in recipes]
    chance = []
    for seed in range(_RANDOM_DRAWS):
        drawn = random.Random(seed).sample(keys, min(count, len(keys)))
        known = [good[key] for key in drawn if key in good]
        chance.append(min(known) / best if known else None)
    name = next(t.name for t in grid if good.get(trials.key(t.recipe)) == best)
    return {
        "recipes": len(recipes),
        "made": len(grid),
        "within_bounds": len(good),
        "best": {"name": name, "value": best},
        "grid_seconds": round(seconds),
        "searches": searches,
        "search": _summary([s["ratio"] for s in searches]),
        "random": _summary(chance),
    }


def _summary(ratios: list[float | None]) -> dict:
    """Share within a tenth of the best, and the worst; one that found nothing counts as outside."""
    known = [r for r in ratios if r is not None]
    return {
        "within": sum(r <= _WITHIN for r in known) / len(ratios),
        "worst": max(known) if len(known) == len(ratios) else None,
        "median": sorted(known)[len(known) // 2] if known else None,
    }


def show(results: dict, count: int) -> None:
    print(
        f"| objective | recipes | best of all | search, {count} trials | random, {count} trials |"
    )
    print("|---|---|---|---|---|")
    for objective, found in results.items():
        cells = []
        for way in ("search", "random"):
            s = found[way]
            worst = "none found" if s["worst"] is None else f"{s['worst']:.3f}"
            cells.append(f"{s['within']:.0%} within {_WITHIN}; worst {worst}")
        best = found["best"]
        print(
            f"| {objective} | {found['recipes']} | {best['value']:,.0f} (`{best['name']}`) | "
            f"{cells[0]} | {cells[1]} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="demo:chicago-taxi")
    parser.add_argument("--objectives", nargs="+", default=["bytes", "gzip"])
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--passes", type=int, default=5, help="of fine-tuning in full")
    parser.add_argument("--max-drop", type=float, help="bound overall; default as in a run")
    parser.add_argument("--max-drop-slice", type=float, help="bound in each slice; likewise")
    parser.add_argument("--output", default="search.json", help="in benchmarks/results")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--journal", type=pathlib.Path, help="finished files; goes on from there")
    parser.add_argument("--replay", action="store_true", help="first looks are not made anew")
    parser.add_argument("--artifacts", help="JSON of `flywheel runs show --json`: of a run made")
    arguments = parser.parse_args()
    isolation.warm_up(PRELOAD)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if arguments.artifacts:
            shown = pathlib.Path(arguments.artifacts).read_text("utf-8").splitlines()[-1]
            uris = json.loads(shown)["artifacts"]
        else:
            uris = run_pipeline(arguments.data, ["float32"], work)
        bench = Bench(
            uris,
            work,
            arguments.journal or work / "trials.jsonl",
            arguments.passes,
            arguments.replay,
        )
        bounds = {"max_drop": arguments.max_drop, "max_drop_slice": arguments.max_drop_slice}
        given = {key: value for key, value in bounds.items() if value is not None}
        bench.options = QuantizerOptions(**given)
        results = {
            objective: compare(
                bench, objective, arguments.trials, arguments.seeds, arguments.workers
            )
            for objective in arguments.objectives
        }
    show(results, arguments.trials)
    target = ROOT / "benchmarks" / "results" / arguments.output
    target.parent.mkdir(exist_ok=True)
    content = {
        "machine": stamp().to_dict(),
        "data": arguments.data,
        "trials": arguments.trials,
        "passes": arguments.passes,
        "limits": dataclasses.asdict(bench.options.limits()),
        "objectives": results,
    }
    target.write_text(json.dumps(content, indent=1))
    print(f"\nwritten to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
