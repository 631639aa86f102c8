"""Recipes as data, and what is said before any process starts."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_components.tflite_quantizer import builtin, coverage, needs, recipes, trials
from custom_components.tflite_quantizer.options import QuantizerOptions
from custom_components.tflite_quantizer.recipes import Clustering, Edge, Recipe, Sparsity, Tables
from models.errors import ConfigError
from models.options import NetworkOptions
from models.rows import Rows
from models.spec import CategoricalFeature, ModelSpec, NumericFeature

FARE = NumericFeature("fare", 1.0, 0.0, 2.0, 1.0, 1.0)
AREA = CategoricalFeature("area", "integer", ("1", "2", "5"), "integer")
WORD = CategoricalFeature("word", "string", ("a", "b"))


def spec(numeric=(FARE,), categorical=(AREA, WORD)) -> ModelSpec:
    return ModelSpec("binary", "y", ("no", "yes"), tuple(numeric), tuple(categorical))


def shape(**changes) -> NetworkOptions:
    return NetworkOptions(
        **{
            "embedding": 4,
            "hidden": (16,),
            "dropout": 0.0,
            "learning_rate": 0.01,
            "weight_decay": 0.0,
            **changes,
        }
    )


@pytest.mark.parametrize("name", recipes.names())
def test_recipes_go_to_json_and_back(name):
    recipe = recipes.get(name)
    assert recipes.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.summary.endswith(".")


@given(
    st.builds(
        Sparsity,
        pattern=st.sampled_from(["unstructured", "block"]),
        share=st.floats(0.01, 0.99),
        schedule=st.sampled_from(["constant", "polynomial"]),
        block=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    ),
    st.none() | st.builds(Clustering, clusters=st.integers(3, 256)),
    st.builds(Tables, coverage=st.floats(0.01, 1.0), width=st.none() | st.integers(1, 64)),
)
def test_any_recipe_goes_to_json_and_back(sparsity, clustering, tables):
    recipe = Recipe("r", "float32", sparsity=sparsity, clustering=clustering, tables=tables)
    assert recipes.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"wieghts": "int8"}, ["`wieghts`", "'weights'"]),
        ({"sparsity": {"shar": 0.5}}, ["`sparsity.shar`", "'share'"]),
        ({"sparsity": {"share": 1.5}}, ["`sparsity.share`", "less than 1"]),
        ({"sparsity": {"pattern": "m_by_n", "m": 4, "n": 4}}, ["m must be less than n"]),
        ({"clustering": {"clusters": 2}}, ["`clustering.clusters`"]),
        ({"weights": "int3"}, ["`weights`", "'int8'"]),
        ({"weights": "int4"}, ["need `edge`"]),
        ({"weights": "float32", "activations": "int8"}, ["need weights in int8"]),
        ({"activations": "int8"}, ["need ranges"]),
        ({"ranges": "aware"}, ["for integer activations"]),
        ({"name": "No Name"}, ["`name`"]),
        ({"tables": {"width": 0}, "slim": "perhaps"}, ["`tables.width`", "`slim`"]),
        ({"tables": {"buckets": 4}}, ["`buckets`", "`coverage` below 1"]),
        ({"tables": {"coverage": 0.9, "layout": "as_trained"}}, ["`layout: compact`"]),
    ],
)
def test_wrong_recipes_are_refused_by_the_name_of_the_key(fields, said):
    with pytest.raises(ConfigError) as error:
        recipes.from_dict({"name": "mine", "weights": "int8", **fields})
    assert error.value.reason.code == "RECIPE_INVALID"
    assert all(words in str(error.value) for words in said), str(error.value)


def of(**wanted):
    """Whether a recipe has these fields; what it says nothing about must be as in a plain one."""
    plain = {
        "activations": "float",
        "ranges": "none",
        "sparsity": None,
        "clustering": None,
        "edge": None,
        "tables": Tables(),
    }
    fields = {**plain, **wanted}
    return lambda recipe: all(getattr(recipe, name) == value for name, value in fields.items())


AWARE = {"weights": "int8", "activations": "int8", "ranges": "aware"}
REDUCED = Tables(coverage=0.98, width=2)


@pytest.mark.parametrize(
    "meant",
    [
        of(weights="float32", tables=Tables(layout="as_trained"), slim=False),
        of(weights="float16"),
        of(weights="int8"),  # dynamic range
        of(weights="int8", activations="int8", ranges="representative"),
        of(**AWARE),
        of(weights="int8", activations="int16", ranges="representative"),
        *(
            of(weights="float32", sparsity=Sparsity(share=share, schedule=schedule))
            for share in (0.5, 0.8)
            for schedule in ("constant", "polynomial")
        ),
        of(weights="float32", sparsity=Sparsity(pattern="m_by_n", m=2, n=4)),
        of(weights="float32", sparsity=Sparsity(pattern="block", block=(4, 1))),
        *(of(weights="float32", clustering=Clustering(n)) for n in (8, 16, 32)),
        of(**AWARE, sparsity=Sparsity()),
        of(**AWARE, clustering=Clustering(16)),
        of(**AWARE, sparsity=Sparsity(), clustering=Clustering(16)),
        of(**AWARE, tables=REDUCED),
        of(weights="int8", tables=REDUCED),
        of(weights="int8", tables=dataclasses.replace(REDUCED, buckets=8)),  # rare ones hashed
        *(of(weights=w, edge=Edge("dynamic")) for w in ("int8", "int4")),
        *(of(weights=w, edge=Edge("weight_only")) for w in ("int8", "int4")),
        of(weights="int4", edge=Edge(block=32)),
    ],
)
def test_every_technique_is_one_recipe_of_the_registry(meant):
    assert len([name for name in recipes.names() if meant(recipes.get(name))]) == 1


def test_no_recipe_of_the_registry_does_what_another_does():
    """A name of each: what differs between two is in their fields."""
    meanings = {trials.key(recipe) for recipe in builtin.RECIPES}
    assert len(meanings) == len(builtin.RECIPES) == 27


def test_a_user_adds_a_recipe_in_the_config():
    options = QuantizerOptions(
        recipes=("float32", "mine"),
        custom_recipes={"mine": {"weights": "float32", "sparsity": {"share": 0.7}}},
    )
    again = QuantizerOptions.model_validate_json(options.model_dump_json())
    assert again == options
    first, mine = again.chosen()
    assert first == recipes.get("float32")
    assert mine == Recipe("mine", "float32", sparsity=Sparsity(share=0.7))
    assert "mine" not in recipes.names()


def test_recipes_of_the_config_are_checked_when_it_is_read():
    with pytest.raises(ConfigError, match="Did you mean 'weights'"):
        QuantizerOptions(custom_recipes={"mine": {"weigths": "int8"}})
    with pytest.raises(pydantic.ValidationError, match="built-in"):
        QuantizerOptions(custom_recipes={"float16": {"weights": "float16"}})
    with pytest.raises(ConfigError, match="Did you mean 'mine'"):
        QuantizerOptions(recipes=("mina",), custom_recipes={"mine": {"weights": "int8"}}).chosen()


def test_a_user_adds_a_recipe_in_python():
    made = recipes.register(Recipe("halved", "float32", sparsity=Sparsity()))
    try:
        assert recipes.get("halved") is made and "halved" in recipes.names()
        with pytest.raises(ValueError, match="already"):
            recipes.register(made)
    finally:
        del recipes._REGISTRY["halved"]


def test_nothing_stands_in_the_way_of_a_usual_student():
    skipped = {
        name
        for name in recipes.names()
        if needs.reason_to_skip(recipes.get(name), spec(), shape(), 3000)
    }
    edge = {name for name in recipes.names() if recipes.get(name).edge}
    assert skipped - edge == {"int16x8"}
    for name in QuantizerOptions().recipes:
        assert recipes.get(name)


@pytest.mark.parametrize(
    ("name", "model", "network", "rows", "cause"),
    [
        ("int16x8", spec(), shape(), 3000, "`fare` is one"),
        ("int16x8", spec(numeric=()), shape(), 3000, "`area` is one"),
        ("int8_qat", spec(), shape(hidden=()), 3000, "a hidden layer to compute in integers"),
        ("pruned50_constant", spec(), shape(hidden=()), 3000, "a hidden layer to prune"),
        ("clustered8", spec(), shape(hidden=()), 3000, "a hidden layer to cluster"),
        ("clustered32", spec((FARE,), ()), shape(hidden=(8,)), 3000, "more than 32 weights"),
        ("sparse_2_4", spec((FARE,), ()), shape(), 3000, "4 inputs per layer"),
        ("sparse_block", spec((FARE,), ()), shape(), 3000, "one block of 4 x 1"),
        ("sparse_2_4", spec(), shape(hidden=(16, 2, 8)), 3000, "hidden layer 3 has 2 x 8"),
        ("int8_qat_tables", spec((FARE,), ()), shape(), 3000, "categorical features"),
        ("int8_qat_tables", spec(), shape(embedding=2), 3000, "wider than 2"),
        ("int8_qat_tables", spec(categorical=(AREA,)), shape(), 3000, "text categories"),
        ("int8_qat", spec(), shape(), 10, "32 train rows"),
        ("int8_ptq", spec(), shape(), 0, "train rows to calibrate"),
    ],
)
def test_what_cannot_work_is_skipped_with_its_cause(name, model, network, rows, cause):
    reason = needs.reason_to_skip(recipes.get(name), model, network, rows)
    assert reason.startswith(f"SKIPPED: {name} needs ") and cause in reason, reason
    assert reason.endswith(".")


def test_words_alone_can_be_computed_with_16_bits():
    assert needs.reason_to_skip(recipes.get("int16x8"), spec((), (WORD,)), shape(), 3000) is None


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=1, max_size=60),
    st.integers(1, 80),
)
def test_rows_are_chosen_by_coverage(ids, least):
    ids = np.array(ids, np.int32)
    numeric = np.sin(np.arange(len(ids), dtype=np.float32)).reshape(-1, 1)
    rows = Rows(numeric, ids, np.zeros(len(ids), np.float32))
    chosen = coverage.representative(rows, least)
    assert (np.diff(chosen) > 0).all() and len(chosen) >= min(least, len(ids))
    for column in range(2):
        assert set(ids[chosen, column]) == set(ids[:, column])
    assert {numeric.argmin(), numeric.argmax()} <= set(chosen)
