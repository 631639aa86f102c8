"""docs/configuration.md says what the typed config says."""

from __future__ import annotations

import pytest
import yaml

from pipeline import config as config_module
from pipeline import configuration_doc
from tests.conftest import ROOT

KEYS = dict(configuration_doc.keys())


def test_the_committed_page_is_what_the_config_says():
    committed = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert committed == configuration_doc.markdown(), "docs/configuration.md is old: `make docs`"


def test_the_example_is_a_config_that_names_every_key():
    settings = yaml.safe_load(configuration_doc.example())
    assert config_module.parse(settings).data.split.by == "time"
    for key in KEYS:
        value = settings
        for part in key.split("."):
            assert part in value, f"{key} is not in the example"
            value = value[part]


def test_the_example_shows_defaults_unless_it_says_otherwise():
    settings = yaml.safe_load(configuration_doc.example())
    plain = config_module.parse(
        {key: settings[key] for key in ("name", "task", "features")} | {"data": {"path": "x"}}
    ).model_dump(mode="json")
    for key in set(KEYS) - set(configuration_doc.EXAMPLE):
        shown, default = settings, plain
        for part in key.split("."):
            shown, default = shown[part], default[part]
        assert shown == default, key


def test_what_the_example_sets_exists():
    assert set(configuration_doc.EXAMPLE) <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described_in_plain_words(key):
    field = KEYS[key]
    assert field.description, "say in options.py what it does"
    words = configuration_doc.type_words(field)
    assert not any(sign in words for sign in ("typing", "Annotated", "<", "[")) or (
        "matching" in words
    ), words


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("seed", "whole number, at least 0 and below 2,147,483,648"),
        ("task.positive", "text, or nothing"),
        ("teacher.hidden", "list of whole numbers, at least 1 and at most 4,096"),
        ("teacher.epochs", "whole number, at least 1, or nothing"),
        ("evaluation.slices", "list of lists of text"),
        ("evaluation.thresholds", "map of text to numbers"),
        ("data.split.train", "number, above 0 and below 1"),
        ("engine", "`local` or `beam`"),
    ],
)
def test_types_in_words(key, words):
    assert configuration_doc.type_words(KEYS[key]) == words
