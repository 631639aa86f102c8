"""docs/optimization.md: its programs print what it shows, and no recipe is left out."""

from __future__ import annotations

from custom_components.tflite_quantizer import recipes
from custom_components.tflite_quantizer.options import QuantizerOptions
from tests.conftest import ROOT
from tests.docs.fences import Reader, steps

PAGE = (ROOT / "docs" / "optimization.md").read_text("utf-8")


def test_the_programs_print_what_the_page_shows(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    reader = Reader(folder, "work")
    followed = [reader.follow(step) for step in steps(PAGE)]
    assert len(followed) >= 2


def test_the_example_recipe_is_one():
    import yaml

    blocks = [block.split("```")[0] for block in PAGE.split("```yaml\n")[1:]]
    search, recipe = (
        QuantizerOptions.model_validate(yaml.safe_load(block)["quantizer"]) for block in blocks
    )
    assert search.search.trials == 25
    assert [r.name for r in recipe.chosen()] == ["float32", "dynamic_range", "int8_narrow"]


def test_every_recipe_is_described():
    table = PAGE.split("## Recipes")[1].split("## Three picks")[0]
    assert {name for name in recipes.names() if f"`{name}`" not in table} == set()
