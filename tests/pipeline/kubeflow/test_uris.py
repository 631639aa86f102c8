"""Addresses and paths."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from pipeline.kubeflow import uris

_ADDRESSES = st.builds(
    "{}{}".format, st.sampled_from(sorted(uris.MOUNTS)), st.text(min_size=1, max_size=30)
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | _ADDRESSES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://mlpipeline/v2/a", "/minio/mlpipeline/v2/a"),
        ("s3://bucket/a b", "/s3/bucket/a b"),
        ("gs://bucket", "/gcs/bucket"),
        ("/already/a/path", "/already/a/path"),
        ("hdfs://elsewhere/a", "hdfs://elsewhere/a"),
    ],
)
def test_addresses_become_the_folders_of_the_launcher(uri: str, path: str) -> None:
    assert uris.to_path(uri) == path


@settings(max_examples=40)
@given(_ADDRESSES)
def test_there_and_back(address: str) -> None:
    assert uris.to_uri(uris.to_path(address)) == address


@settings(max_examples=40)
@given(_JSON)
def test_whole_values_go_there_and_back(value: object) -> None:
    assert uris.uris_in(uris.paths_in(value)) == uris.uris_in(value)
