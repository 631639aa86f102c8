"""docs/images.md: its commands show what it shows, in order, and its program runs."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.docs.fences import Reader, steps

PAGE = (ROOT / "docs" / "images.md").read_text("utf-8")


@pytest.mark.slow
def test_the_page_shows_what_happens(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "digits"
    folder.mkdir()
    reader = Reader(folder, "digits")
    followed = [reader.follow(step) for step in steps(PAGE)]
    assert len(followed) >= 4


def test_every_setting_that_it_names_is_one():
    from custom_components.example_gen.options import DataOptions
    from models.options import StudentOptions, TeacherOptions

    assert {"height", "width", "channels"} == set(
        DataOptions.model_fields["image"].annotation.model_fields
    )
    for name in ("filters", "convolution"):
        assert f"`{name}" in PAGE or f".{name}`" in PAGE
        assert {name} <= set(TeacherOptions.model_fields) & set(StudentOptions.model_fields)


def test_its_sizes_of_networks_are_the_defaults():
    from models.options import StudentOptions, TeacherOptions

    for row, options in (("| teacher |", TeacherOptions()), ("| student |", StudentOptions())):
        cells = next(line for line in PAGE.splitlines() if line.startswith(row)).split("|")
        for cell, side in ((cells[3], 8), (cells[4], 28)):
            assert tuple(int(n) for n in cell.split(",")) == options.blocks(side, side)
