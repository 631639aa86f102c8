"""The versions that docs/stacks.md names are the locked ones."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "stacks.md").read_text("utf-8")
ROWS = re.findall(r"^\| ([a-z-]+) \| (\d[\d.]+) \| (\d[\d.]+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("package, modern, legacy", ROWS, ids=lambda cell: cell)
def test_the_table_of_versions(package, modern, legacy):
    for stack, version in (("modern", modern), ("legacy", legacy)):
        lock = (ROOT / "requirements" / f"{stack}-run.txt").read_text("utf-8")
        assert f"\n{package}=={version} " in lock


def test_the_table_is_there():
    assert len(ROWS) >= 12
