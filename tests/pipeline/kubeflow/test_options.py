"""Options of a cluster: what holds for one component, and amounts of memory."""

from __future__ import annotations

import pathlib

import pydantic
import pytest

from models.errors import ConfigError
from pipeline import config as config_module
from pipeline.config import Config
from pipeline.kubeflow.cluster_paths import in_cluster
from pipeline.kubeflow.options import (
    ComponentOptions,
    KubeflowOptions,
    SecretOptions,
    VolumeOptions,
    gigabytes,
)
from pipeline.kubeflow.vertex import ignored


def test_a_component_overrides_adds_and_inherits() -> None:
    common, own = SecretOptions(name="a", mount="/a"), SecretOptions(name="b", mount="/b")
    options = KubeflowOptions(
        defaults=ComponentOptions(
            cpu=2, memory="4Gi", env={"A": "1", "B": "1"}, secrets=(common,), caching=False
        ),
        components={
            "Trainer": ComponentOptions(memory="8Gi", env={"B": "2"}, secrets=(common, own))
        },
    )
    trainer = options.of("Trainer")
    assert (trainer.cpu, trainer.memory, trainer.caching) == (2, "8Gi", False)
    assert trainer.env == {"A": "1", "B": "2"}
    assert trainer.secrets == (common, own)
    assert options.of("Pusher") is options.defaults


@pytest.mark.parametrize(
    ("quantity", "expected"), [("4G", 4.0), ("4Gi", 4.294967296), ("512Mi", 0.536870912)]
)
def test_memory_is_counted_in_gigabytes(quantity: str, expected: float) -> None:
    assert gigabytes(quantity) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("quantity", ["4", "4GB", "-1Gi", "Gi", ""])
def test_what_is_no_amount_of_memory_is_refused(quantity: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="write it like 4Gi"):
        ComponentOptions(memory=quantity)


def test_a_secret_that_goes_nowhere_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="needs `env` or `mount`"):
        SecretOptions(name="keys")


def _config(**kubeflow: object) -> Config:
    return config_module.parse(
        {
            "name": "taxi",
            "data": {"path": "/home/me/trips.csv"},
            "task": {"label": "tip", "type": "binary"},
            "features": {"fare": "numeric"},
            "kubeflow": kubeflow,
        }
    )


def test_a_path_of_this_machine_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        in_cluster(_config())
    assert caught.value.reason.code == "PATH_NOT_IN_CLUSTER"
    assert "/home/me/trips.csv" in caught.value.reason.message


def test_a_path_under_a_mounted_volume_is_taken() -> None:
    volume = VolumeOptions(claim="trips", mount="/data")
    cluster = in_cluster(
        _config(
            data="/data/2024/*.parquet",
            components={"ExampleGen": {"volumes": [volume.model_dump()]}},
            registry={"path": "gs://bucket/models"},
        )
    )
    assert cluster.data.path == "/data/2024/*.parquet"
    assert cluster.deploy.path == "gs://bucket/models"


@pytest.mark.parametrize("section", ["distillation", "validation"])
def test_other_files_are_read_from_volumes_only(section: str) -> None:
    key = {"distillation": "extra_data", "validation": "schema_path"}[section]
    config = _config(data="gs://bucket/trips.csv")
    options = getattr(config, section).model_copy(update={key: "gs://bucket/file"})
    with pytest.raises(ConfigError) as caught:
        in_cluster(config.model_copy(update={section: options}))
    assert f"{section}.{key}" in caught.value.reason.message


def test_a_sibling_of_a_mount_is_not_under_it() -> None:
    volume = {"claim": "trips", "mount": "/data"}
    with pytest.raises(ConfigError):
        in_cluster(_config(data="/data2/x", components={"ExampleGen": {"volumes": [volume]}}))


def test_what_vertex_does_not_know_is_named() -> None:
    here = pathlib.Path(__file__).parent / "configs"
    findings = ignored(config_module.load(here / "vertex.yaml"))
    assert [f.where for f in findings] == ["kubeflow.components.Trainer.timeout_seconds"]
    many = {f.where for f in ignored(config_module.load(here / "full.yaml"))}
    assert "kubeflow.defaults.secrets" in many
    assert "kubeflow.components.Trainer.tolerations" in many
