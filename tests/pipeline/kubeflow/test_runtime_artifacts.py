"""What Kubeflow does to artifacts between two tasks, and what we do about it."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from pipeline.kubeflow import runtime_artifacts

_MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
_DEFINITIONS = {"model": {"artifactType": _MODEL}}


def _entry(**artifact: Any) -> dict[str, Any]:
    return {"model": {"artifacts": [{"uri": "minio://b/model", **artifact}]}}


def _stored(value: Any) -> Any:
    """A value after the round through the backend's metadata store (its StructValueToMLMDValue)."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int):
        return float(value)
    if isinstance(value, list):
        return {"list": value}
    if isinstance(value, dict):
        return {"struct": value}
    assert value is not None, "the backend refuses null"
    return value


@pytest.mark.parametrize(
    "empty",
    [
        {},
        {"instanceSchema": ""},
        {"schemaTitle": ""},
        {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"},  # of `kfp.local`
        None,
    ],
)
def test_an_input_without_type_gets_the_declared_one(empty: Any) -> None:
    found = runtime_artifacts.localize_inputs(_entry(type=empty), _DEFINITIONS)
    assert found["model"]["artifacts"][0]["type"] == _MODEL


def test_a_type_that_is_there_stays() -> None:
    other = {"schemaTitle": "tfx.PushedModel"}
    found = runtime_artifacts.localize_inputs(_entry(type=other), _DEFINITIONS)
    assert found["model"]["artifacts"][0]["type"] == other


def test_addresses_become_paths_in_metadata_too() -> None:
    entry = _entry(metadata={"current_model": "minio://b/model", "n": 1.0})
    [artifact] = runtime_artifacts.localize_inputs(entry, _DEFINITIONS)["model"]["artifacts"]
    assert artifact["uri"] == "/minio/b/model"
    assert artifact["metadata"] == {"current_model": "/minio/b/model", "n": 1.0}


def test_paths_become_addresses_on_the_way_out() -> None:
    published = runtime_artifacts.publish_outputs(
        {
            "model": {
                "artifacts": [
                    {
                        "uri": "/s3/b/model",
                        "metadata": {"source": "/s3/b/x", "listed": ["/s3/b/y"], "other": "/tmp/x"},
                    }
                ]
            }
        }
    )
    assert published["model"]["artifacts"] == [
        {
            "uri": "s3://b/model",
            "metadata": {"source": "s3://b/x", "listed": ["s3://b/y"], "other": "/tmp/x"},
        }
    ]


def test_the_absent_champion_is_dropped() -> None:
    absent = _entry(metadata={"present": 0.0, "version": ""})
    assert runtime_artifacts.localize_inputs(absent, _DEFINITIONS) == {}
    present = _entry(metadata={"present": 1.0, "version": "abc"})
    assert "model" in runtime_artifacts.localize_inputs(present, _DEFINITIONS)


def test_the_launchers_log_is_not_ours() -> None:
    outputs = {**_entry(), "executor-logs": {"artifacts": [{"uri": "minio://b/executor-logs"}]}}
    assert list(runtime_artifacts.localize_outputs(outputs)) == ["model"]


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.one_of(
            st.text(alphabet="abc/:", max_size=10),
            st.integers(-(2**31), 2**31),
            st.floats(allow_nan=True),
            st.booleans(),
            st.none(),
            st.lists(st.text(alphabet="xyz", max_size=3), max_size=3),
            st.dictionaries(st.sampled_from("ab"), st.integers(0, 9), min_size=2),
        ),
        max_size=5,
    )
)
def test_metadata_survives_the_round_through_the_backend(metadata: dict[str, Any]) -> None:
    [out] = runtime_artifacts.publish_outputs(
        {"model": {"artifacts": [{"uri": "/minio/b/model", "metadata": metadata}]}}
    )["model"]["artifacts"]
    stored = {key: _stored(value) for key, value in out["metadata"].items()}
    back = runtime_artifacts.localize_outputs(_entry(metadata=stored))["model"]["artifacts"][0]
    for key, value in metadata.items():
        if value is None:
            assert key not in back["metadata"]
        elif isinstance(value, float) and (value != value or abs(value) == float("inf")):
            assert back["metadata"][key] == str(value)
        else:
            assert back["metadata"][key] == value
