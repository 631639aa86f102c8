"""The search against exhaustive grids: made up ones, and one by the real converter."""

from __future__ import annotations

import random

import numpy as np
import pytest

from custom_components.tflite_quantizer import picks
from custom_components.tflite_quantizer.picks import Limits
from custom_components.tflite_quantizer.recipe import Tables
from custom_components.tflite_quantizer.search import search
from custom_components.tflite_quantizer.search_options import SearchOptions
from custom_components.tflite_quantizer.search_space import Space
from custom_components.tflite_quantizer.trials import Budget, Journal
from models import isolation
from tests.custom_components.test_tflite_quantizer_search import NETWORK, SPACE, SPEC, World, run


def test_within_25_trials_close_to_the_best_of_the_grid_where_chance_is_not():
    ratios, chance = [], []
    for number in range(3):
        world = World(number)
        grid = dict((recipe.name, size) for recipe, size in world.grid(SPACE, "bytes"))
        best = min(grid.values())
        found = run(world, seed=number)
        assert found.recipes == 25 and found.stopped == "trials"
        ratios.append(found.best.bytes / best)
        names = [recipe.name for recipe in SPACE.recipes()]
        for seed in range(20):
            drawn = random.Random(seed).sample(names, 25)
            chance.append(min((grid[n] for n in drawn if n in grid), default=10 * best) / best)
    assert max(ratios) <= 1.1, ratios
    assert np.mean(np.array(chance) > 1.1) > 0.2
    assert np.mean(ratios) < np.mean(chance)


@pytest.mark.slow
def test_close_to_the_best_of_some_thousand_recipes_as_well():
    space = Space.of(SPEC, NETWORK, "gzip")
    assert len(space) > 4000
    ratios, chance = [], []
    for number in range(4):
        world = World(number)
        grid = dict((r.name, size) for r, size in world.grid(space, "gzip"))
        found = run(world, 40, space=space, objective="gzip", seed=number)
        ratios.append(found.best.gzip_bytes / min(grid.values()))
        names = [recipe.name for recipe in space.recipes()]
        drawn = random.Random(number).sample(names, 40)
        chance.append(min((grid[n] for n in drawn if n in grid), default=1e9))
        chance[-1] /= min(grid.values())
    assert max(ratios) <= 1.2 and np.mean(ratios) <= 1.1, ratios
    assert np.mean(ratios) < np.mean(chance)


@pytest.mark.slow
def test_a_real_grid_against_the_search(tmp_path):
    """A trained student, every file from the converter: nothing here is simulated."""
    from custom_components.tflite_quantizer import needs, quality
    from custom_components.tflite_quantizer.maker import Maker
    from tests.custom_components import test_tflite_quantizer_recipes as real

    shop = real.Workshop(tmp_path)
    isolation.warm_up(["custom_components.tflite_quantizer.convert"])
    maker = Maker(
        real.SPEC,
        shop.bundle,
        shop.rows,
        str(tmp_path),
        shop.valid,
        shop.reference,
        quality.slices_of(real.SPEC, shop.valid.inputs, 200),
        seconds=120,
        memory_mb=8192,
    )
    space = Space(
        precisions=("dynamic_range", "int8_ptq"),
        least_elements=(None, 64),
        coverages=(1.0, 0.9),
        widths=(None, 2),
    )
    assert len(space) == 16
    limits = Limits(0.01, 0.05)
    path = tmp_path / "trials.jsonl"
    settings = {
        "epochs": 3,
        "workers": 2,
        "reason_to_skip": lambda r: needs.reason_to_skip(
            r, real.SPEC, real.OPTIONS, len(shop.train)
        ),
    }
    options = SearchOptions(trials=8)
    found = search(space, maker, limits, options, journal=Journal(path, "f"), **settings)
    assert found.recipes == 8 and not picks.violations(found.best, limits)
    with open(maker.path(found.best.recipe, found.best.epochs), "rb") as file:
        assert len(file.read()) == found.best.bytes
    grid = []
    for recipe in space.recipes():
        epochs = 3 if recipe.fine_tunes else 0
        grid.append(Journal(path, "f").get(recipe, epochs) or maker(recipe, Budget(3, 120.0)))
    kept = [t.bytes for t in grid if not picks.violations(t, limits)]
    assert len(kept) > 2 and len(set(kept)) > 2
    assert found.best.bytes <= 1.1 * min(kept)
    wide = max(grid, key=lambda t: t.bytes).recipe.tables
    assert wide == Tables()  # cutting tables is what makes files smaller here
