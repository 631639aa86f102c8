"""The search in made-up worlds: its order, its seeds, interrupted, out of time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.tflite_quantizer import builtin, picks, recipes, trials
from custom_components.tflite_quantizer.picks import Limits
from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.search import Found, margins, search, value
from custom_components.tflite_quantizer.search_options import SearchOptions
from custom_components.tflite_quantizer.search_space import Space
from custom_components.tflite_quantizer.trials import Budget, Journal, Trial
from models import isolation
from models.options import NetworkOptions
from models.spec import CategoricalFeature, ModelSpec, NumericFeature

EPOCHS = 6
LIMITS = Limits(0.003, 0.01)
SPEC = ModelSpec(
    "binary",
    "y",
    ("no", "yes"),
    tuple(NumericFeature(f"n{i}", 0.0, 0.0, 1.0, 0.5, 1.0) for i in range(7)),
    (
        CategoricalFeature("word", "string", tuple(f"w{i}" for i in range(40))),
        CategoricalFeature("area", "integer", tuple(map(str, range(50))), "integer"),
    ),
)
NETWORK = NetworkOptions(
    embedding=4, hidden=(16,), dropout=0.0, learning_rate=1e-2, weight_decay=0.0
)
SPACE = Space.of(SPEC, NETWORK)


class World:
    """A known response: sizes as a file's parts add up, drops that grow along every axis.

    What each axis costs differs from world to world by a factor of ten, as it does between
    data sets; every recipe has some luck of its own.
    """

    def __init__(self, number: int):
        r = np.random.default_rng(number)
        self.number = number
        self.words, self.rows, self.base = r.integers(20, 200), r.integers(50, 300), 3500.0
        self.per_coverage, self.per_width = r.uniform(0.001, 0.02), r.uniform(0.0001, 0.002)
        self.per_precision = {
            ("float16", "none"): (0.0, 0),
            ("int8", "none"): (r.uniform(0, 0.0005), 200),
            ("int8", "representative"): (r.uniform(0.0005, 0.004), 520),
            ("int8", "aware"): (r.uniform(-0.001, 0.001), 430),
        }
        self.half = r.uniform(0.0003, 0.002)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, recipe: Recipe, budget: Budget) -> Trial:
        self.asked.append((trials.key(recipe), budget.epochs if recipe.fine_tunes else 0))
        tables, least = recipe.tables, recipe.least_elements or 1024
        width, wide = tables.width or 4, {"float16": 2, "int8": 1}[recipe.weights]
        kept = self.words * tables.coverage**6
        drop, extra = self.per_precision[recipe.weights, recipe.ranges]
        share = recipe.sparsity.share if recipe.sparsity else 0.0
        bits = math.log2(recipe.clustering.clusters) if recipe.clustering else 8.0
        kernel = (7 + 6 * width) * 16
        size = self.base + extra + 22 * kept
        for elements in ((self.rows + kept) * width, kernel, 16):
            narrow = recipe.weights == "float16" or recipe.ranges == "aware" or elements >= least
            size += elements * (wide if narrow else 4)
        drop += self.per_coverage * (1 - tables.coverage) ** 1.3
        drop += self.per_width * (4 - width) ** 1.5 + 0.004 * share**2
        drop += 0.02 / recipe.clustering.clusters if recipe.clustering else 0.0
        if recipe.fine_tunes:
            drop += 0.001 * (1 - budget.epochs / EPOCHS)
        luck = hashlib.md5(f"{self.number}{trials.key(recipe)}".encode()).digest()[0] / 255 - 0.5
        return made(
            recipe,
            budget.epochs,
            drop + luck * 0.0004,
            self.half,
            bytes=int(size),
            gzip_bytes=int(size * 0.55 - kernel * wide * (0.5 * share + 0.05 * (8 - bits))),
        )

    def grid(self, space: Space, objective: str) -> list[tuple[Recipe, float]]:
        """Every recipe that keeps the bounds, made in full, with its value."""
        found = [self(recipe, Budget(EPOCHS, 60.0)) for recipe in space.recipes()]
        self.asked.clear()
        return [(t.recipe, value(t, objective)) for t in found if not picks.violations(t, LIMITS)]


def made(recipe: Recipe, epochs: int, drop: float, half: float = 0.001, **sizes) -> Trial:
    overall = {"metric": "auc", "rows": 2000, "drop": drop, "low": drop - half, "high": drop + half}
    one = {"feature": "word", "value": "w0", **overall, "high": 1.2 * drop + 2 * half}
    return Trial(recipe, epochs, quality={"overall": overall, "slices": [one]}, **sizes)


def run(world, trials_=25, space=SPACE, limits=LIMITS, seed=0, minutes=10.0, **settings) -> Found:
    options = SearchOptions(
        trials=trials_, seed=seed, minutes=minutes, objective=settings.pop("objective", "bytes")
    )
    return search(space, world, limits, options, epochs=EPOCHS, **settings)


def rows(found: Found) -> list[tuple]:
    """Everything about the trials but the time they took."""
    return [
        (t.name, t.epochs, t.state, t.bytes, t.quality.get("overall"), broken)
        for t, broken in zip(found.trials, found.violations, strict=True)
    ]


def test_the_built_in_recipes_come_first_and_nothing_is_tried_twice():
    world = World(0)
    found = run(world)
    inside = [r.name for r in builtin.RECIPES if SPACE.point(r)]
    assert "int8_qat_tables" in inside and "pruned50_int8" not in inside
    firsts = list(dict.fromkeys(t.name for t in found.trials))
    assert set(firsts[: len(inside)]) == set(inside)
    assert len(world.asked) == len(set(world.asked)) == len(found.trials)


def test_few_passes_first_and_only_the_promising_get_all():
    found = run(World(1))
    first_looks = [t for t in found.trials if not t.full]
    in_full = [t for t in found.trials if t.full and t.recipe.fine_tunes]
    assert {t.epochs for t in first_looks} == {EPOCHS // 3}
    assert {t.epochs for t in in_full} == {EPOCHS}
    assert {t.name for t in in_full} < {t.name for t in first_looks}
    assert len(in_full) < 0.75 * len(first_looks)
    assert found.best.full


def test_same_seed_same_trials_also_with_two_at_once():
    class Jittery(World):
        def __call__(self, recipe, budget):
            time.sleep(random.random() / 100)
            return super().__call__(recipe, budget)

    alone, two = run(World(2), 16), run(Jittery(2), 16, workers=2)
    assert rows(alone) == rows(two) and alone.best.name == two.best.name


def test_with_another_seed_it_looks_elsewhere():
    searches = [run(World(0), 20, seed=seed) for seed in (0, 1, 2)]
    names = [[trial.name for trial in found.trials] for found in searches]
    builtins = sum(SPACE.point(recipe) is not None for recipe in builtin.RECIPES)
    assert names[0][:builtins] == names[1][:builtins] == names[2][:builtins]
    tried = [set(name) for name in names]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert len(tried[one] - tried[other]) >= 3


def test_an_interrupted_search_goes_on_without_making_anything_twice(tmp_path):
    path, log = tmp_path / "trials.jsonl", tmp_path / "asked"

    def counted(kill_at: int | None):
        world = World(3)

        def evaluate(recipe, budget):
            with open(log, "a") as file:
                file.write(f"{recipe.name} {budget.epochs if recipe.fine_tunes else 0}\n")
            if kill_at is not None and len(log.read_text().splitlines()) == kill_at:
                with open(path, "ab") as file:  # as if it were writing when it was killed
                    file.write(b'{"fingerprint": "f", "recipe": {"name": "to')
                os.kill(os.getpid(), signal.SIGKILL)
            return world(recipe, budget)

        return run(evaluate, 16, journal=Journal(path, "f"))

    process = multiprocessing.get_context("fork").Process(target=counted, args=(9,))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    before = log.read_text().splitlines()
    resumed = counted(None)
    whole = run(World(3), 16)
    assert rows(resumed) == rows(whole) and resumed.best.name == whole.best.name
    after = log.read_text().splitlines()[len(before) :]
    assert not set(before[:-1]) & set(after)  # the last one was killed, and is made again
    assert len(before[:-1]) + len(after) == len(whole.trials)
    again = log.read_text()
    assert rows(counted(None)) == rows(whole) and log.read_text() == again


def test_other_inputs_do_not_share_trials(tmp_path):
    path, world = tmp_path / "trials.jsonl", World(0)
    run(world, 4, journal=Journal(path, "a"))
    first = len(world.asked)
    run(world, 4, journal=Journal(path, "b"))
    assert len(world.asked) == 2 * first
    # Other bounds and another objective judge the same trials anew.
    run(world, 4, journal=Journal(path, "a"), limits=Limits(1.0, 1.0), objective="gzip")
    assert len(world.asked) == 2 * first


def test_a_line_torn_anywhere_costs_that_line(tmp_path):
    path, world = tmp_path / "trials.jsonl", World(0)
    run(world, 4, journal=Journal(path, "f"))
    content = path.read_bytes()
    start = content[:-1].rindex(b"\n") + 1
    all_lines = [json.loads(line) for line in content.splitlines()]
    last = Trial.from_dict({k: v for k, v in all_lines[-1].items() if k != "fingerprint"})
    for cut in range(start, len(content) - 1, 37):
        path.write_bytes(content[:cut])
        journal = Journal(path, "f")
        assert journal.get(last.recipe, last.epochs) is None
        journal.add(last)
        assert Journal(path, "f").get(last.recipe, last.epochs) == last
        assert len(Journal(path, "f")._known) == len(all_lines)


def test_the_bounds_hold_for_whole_intervals_and_for_everything_else():
    world = World(1)
    free = run(world, 12)
    best = free.best.quality
    assert best["overall"]["high"] <= LIMITS.max_drop
    assert all(s["high"] <= LIMITS.max_drop_slice for s in best["slices"])
    reckless = run(world, 12, limits=Limits(10.0, 10.0))
    assert reckless.best.bytes < free.best.bytes
    tight = Limits(10.0, 10.0, max_bytes=reckless.best.bytes - 1)
    assert run(world, 8, limits=dataclasses.replace(tight, max_bytes=1000)).best is None
    slices = dataclasses.replace(LIMITS, max_drop_slice=0.0)
    none = run(world, 8, limits=slices)
    assert none.best is None and all(none.violations)


@given(st.floats(-0.01, 0.02), st.floats(0, 0.01), st.integers(900, 1100), st.floats(10, 30))
def test_margins_say_what_the_verdict_says(drop, half, size, latency):
    trial = made(recipes.get("float16"), 0, drop, half, bytes=size, latency_us={"p50": latency})
    limits = Limits(0.003, 0.005, max_bytes=1000, max_latency_us=20.0)
    found = margins(trial, limits)
    if all(abs(m) > 1e-3 for m in found):  # the verdict forgives rounding
        assert all(m <= 0 for m in found) == (not picks.violations(trial, limits))


def test_time_ends_it_and_what_is_done_counts(tmp_path):
    world, seconds = World(0), 1.0

    def slow(recipe, budget):
        assert 0 < budget.seconds <= seconds
        time.sleep(0.15)
        return world(recipe, budget)

    begun = time.monotonic()
    path = tmp_path / "trials.jsonl"
    found = run(slow, 1000, minutes=seconds / 60, journal=Journal(path, "f"))
    assert time.monotonic() - begun < 20
    assert found.stopped == "minutes" and 0 < len(found.trials) < 10
    count = len(world.asked)
    left = max(0.0, seconds - Journal(path, "f").elapsed)  # of it, choosing what to try took some
    again = run(slow, 1000, minutes=seconds / 60, journal=Journal(path, "f"))
    assert rows(again)[: len(found.trials)] == rows(found)
    assert (len(world.asked) - count - 1) * 0.15 <= left


def test_what_the_end_of_time_cuts_off_is_no_failure_of_the_recipe(tmp_path):
    def killed(recipe, budget):
        time.sleep(budget.seconds)
        raise isolation.Isolated(f"took longer than {budget.seconds:g} s")

    path = tmp_path / "trials.jsonl"
    found = run(killed, minutes=0.3 / 60, journal=Journal(path, "f"))
    assert found.trials == () and found.best is None and found.stopped == "minutes"
    assert not path.exists()


def test_failed_and_skipped_recipes_are_rows_with_reasons():
    world = World(0)

    def evaluate(recipe, budget):
        if recipe.ranges == "representative":
            raise isolation.Isolated("crashed (SIGABRT)")
        return world(recipe, budget)

    def reason(recipe):
        return "SKIPPED: needs time" if recipe.ranges == "aware" else None

    found = run(evaluate, 12, reason_to_skip=reason)
    states = {t.state: t for t in found.trials}
    assert set(states) == {"made", "failed", "skipped"}
    assert states["failed"].reason == "crashed (SIGABRT)"
    assert states["skipped"].reason == "SKIPPED: needs time"
    assert (
        found.recipes
        == 12
        == sum(t.state != "skipped" for t in found.trials)
        - len([t for t in found.trials if t.full and t.epochs])
    )
    row = next(r for r in found.to_dict()["trials"] if r["state"] == "failed")
    assert row["violations"] == ["crashed (SIGABRT)"]
    json.dumps(found.to_dict())


def test_a_mistake_in_the_code_is_not_taken_for_a_bad_recipe(tmp_path):
    def evaluate(recipe, budget):
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        run(evaluate, 4)


def test_a_small_space_ends():
    small = Space(("float16", "dynamic_range"), least_elements=(None, 64), coverages=(1.0,))
    assert len(small) == 3
    found = run(World(0), 25, space=small)
    assert found.stopped == "space" and found.recipes == 3


def test_no_trials_no_search():
    world = World(0)
    assert run(world, 0).trials == () and world.asked == []


def test_points_that_mean_the_same_are_one():
    keys = [trials.key(recipe) for recipe in SPACE.recipes()]
    assert len(keys) == len(set(keys)) == len(SPACE)
    product = math.prod(len(levels) for levels in SPACE.axes.values())
    assert len(SPACE) < product  # float16 has no least number of elements
    names = [recipe.name for recipe in SPACE.recipes()]
    assert len(names) == len(set(names))
    for recipe in SPACE.recipes():
        assert trials.key(SPACE.recipe(SPACE.point(recipe))) == trials.key(recipe)
    renamed = dataclasses.replace(recipes.get("int8_qat_tables"), name="mine", summary="x")
    assert SPACE.recipe(SPACE.point(renamed)) == recipes.get("int8_qat_tables")
    assert SPACE.point(Recipe("far", "float32")) is None


def test_zeros_and_shared_weights_are_searched_where_they_count():
    assert SPACE.shares == SPACE.clusters == (None,)
    compressed = Space.of(SPEC, NETWORK, "gzip")
    assert len(compressed) == 12 * len(SPACE)
    assert compressed.point(recipes.get("pruned50_clustered16_int8")) is not None
    linear = Space.of(SPEC, NETWORK.model_copy(update={"hidden": ()}), "gzip")
    assert linear.precisions == ("float16", "dynamic_range") and linear.shares == (None,)
    numbers = dataclasses.replace(SPEC, categorical=())
    assert Space.of(numbers, NETWORK).widths == (None,)
    assert Space.of(numbers, NETWORK).coverages == (1.0,)


def test_coverages_that_keep_the_same_words_are_one():
    word, area = SPEC.categorical
    counts = np.r_[0, 0, 900, 80, 20, np.zeros(37)].astype(int)  # 90 %, 98 %, 100 %
    ids = np.repeat(np.arange(word.size), counts) + SPEC.offsets[0]
    ids = np.stack([ids, np.full(len(ids), SPEC.offsets[1])], axis=1)
    found = Space.of(SPEC, NETWORK, ids=ids)
    assert found.coverages == (1.0, 0.99, 0.98, 0.9)


def test_fingerprints_tell_inputs_apart(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    words = np.array([b"a", b"b"], object)
    same = trials.fingerprint(file=path, rows=[np.arange(3), words], options={"a": 1, "b": 2})
    assert same == trials.fingerprint(
        options={"b": 2, "a": 1}, rows=[np.arange(3), words.copy()], file=path
    )
    others = {
        trials.fingerprint(file=b"abd", rows=[np.arange(3), words], options={"a": 1, "b": 2}),
        trials.fingerprint(file=path, rows=[np.arange(3.0), words], options={"a": 1, "b": 2}),
        trials.fingerprint(file=path, rows=[np.arange(3), words[::-1]], options={"a": 1, "b": 2}),
        trials.fingerprint(file=path, rows=[np.arange(3), words], options={"a": 1, "b": 3}),
        trials.fingerprint(file=path, rows=[[np.arange(3)], words], options={"a": 1, "b": 2}),
    }
    assert len(others | {same}) == 6


def test_options_are_bounded():
    assert SearchOptions().trials == 0
    for wrong in ({"trials": -1}, {"minutes": 0}, {"objective": "speed"}, {"trial": 3}):
        with pytest.raises(ValueError):
            SearchOptions(**wrong)
