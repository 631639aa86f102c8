"""docs/optimization.md: its programs and commands show what it shows; its tables are measured."""

from __future__ import annotations

import json

import pytest
import yaml

from benchmarks import optimize_tables
from custom_components.tflite_quantizer import recipes
from custom_components.tflite_quantizer.options import QuantizerOptions
from tests.conftest import ROOT, Flywheel
from tests.docs.fences import Reader, steps

PAGE = (ROOT / "docs" / "optimization.md").read_text("utf-8")
SEARCH, OWN_RECIPE = (
    yaml.safe_load(block.split("```")[0]) for block in PAGE.split("```yaml\n")[1:]
)


def test_the_programs_print_what_the_page_shows(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    reader = Reader(folder, "work")
    followed = [reader.follow(step) for step in steps(PAGE) if step.program == "python"]
    assert len(followed) >= 2


@pytest.mark.slow
def test_the_commands_show_what_the_page_shows(tmp_path):
    """After a run with the settings of the page: its own recipe is made, measured and reported."""
    folder = tmp_path / "work"
    folder.mkdir()
    flywheel = Flywheel(folder)
    flywheel("init", "demo:chicago-taxi")
    path = folder / "flywheel.yaml"
    path.write_text(path.read_text("utf-8") + yaml.safe_dump(OWN_RECIPE), "utf-8")
    made = {v["name"]: v for v in flywheel.json("run")["variants"]}
    assert list(made) == OWN_RECIPE["quantizer"]["recipes"]
    assert made["int8_narrow"]["bytes"] < made["float32"]["bytes"]
    reader = Reader(folder, "work")
    typed = [reader.follow(step) for step in steps(PAGE) if step.program == "sh"]
    assert len(typed) >= 4
    assert "`int8_narrow`" in (folder / "report.md").read_text("utf-8")


def test_the_tables_are_what_was_measured():
    """`python -m benchmarks.optimize_tables` would change nothing."""
    kept = json.loads(optimize_tables.KEPT.read_text("utf-8"))["data"]
    assert set(kept) == set(optimize_tables.TITLES)
    assert optimize_tables.fill(PAGE, kept) == PAGE
    for found in kept.values():
        rows = {*found["files"], *found["skipped"]} - {*found["by_hand"]}
        assert {name for name in recipes.names() if name not in rows} == set()


def test_what_ships_on_the_taxi_data_keeps_what_was_promised():
    found = json.loads(optimize_tables.KEPT.read_text("utf-8"))["data"]["demo:chicago-taxi"]
    shipped = found["files"][found["shipped"]]
    assert shipped["bytes"] <= 14_000
    assert found["files"]["teacher"]["bytes"] >= 7 * shipped["bytes"]
    assert found["versus"][optimize_tables.SAVED_MODEL]["times_faster"]["low"] >= 15
    assert shipped["quality"]["overall"]["high"] <= found["limits"]["max_drop"]
    worst = shipped["quality"]["worst"]  # of all slices of 200 rows and more
    assert shipped["quality"]["slices"] >= 10 and worst["rows"] >= 200
    assert worst["high"] <= found["limits"]["max_drop_slice"]


def test_the_settings_are_valid():
    search, recipe = (
        QuantizerOptions.model_validate(block["quantizer"]) for block in (SEARCH, OWN_RECIPE)
    )
    assert search.search.trials == 25
    assert [r.name for r in recipe.chosen()] == ["float32", "dynamic_range", "int8_narrow"]


def test_every_recipe_is_described():
    table = PAGE.split("## Recipes")[1].split("## Three picks")[0]
    assert {name for name in recipes.names() if f"`{name}`" not in table} == set()
