"""How the pipeline is compiled for Kubeflow and Vertex."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from models.options import Options
from pipeline.cluster.options import ClusterOptions, VertexOptions

#: Names as Kubernetes takes them for labels, secrets and volume claims.
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Folder = Annotated[str, Field(pattern=r"^/.+")]
Cpu = Annotated[float, Field(gt=0.0, le=1024.0)]
Seconds = Annotated[int, Field(ge=1, le=30 * 24 * 3600)]

_UNITS = {"M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_QUANTITY = re.compile(r"^(\d+(?:\.\d+)?)(M|G|T|Mi|Gi|Ti)$")


def gigabytes(quantity: str) -> float:
    """`512Mi` as 0.536870912: Kubeflow's specification counts memory in units of 10^9 bytes."""
    match = _QUANTITY.match(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is no amount of memory; write it like 4Gi or 512Mi")
    return float(match[1]) * _UNITS[match[2]] / 1e9


def _checked(quantity: str) -> str:
    gigabytes(quantity)
    return quantity


Memory = Annotated[str, pydantic.AfterValidator(_checked)]


class AcceleratorOptions(Options):
    """A GPU or the like."""

    type: str = Field(
        "nvidia.com/gpu",
        description="Resource name on Kubernetes (`nvidia.com/gpu`), accelerator on Vertex "
        "(`NVIDIA_TESLA_T4`).",
    )
    count: Annotated[int, Field(ge=1, le=64)] = Field(1, description="How many.")


class RetryOptions(Options):
    """What happens after a task failed."""

    count: Annotated[int, Field(ge=0, le=20)] = Field(0, description="How often it is tried again.")
    wait_seconds: Seconds = Field(30, description="Wait before the first retry.")
    factor: Annotated[float, Field(ge=1.0, le=10.0)] = Field(
        2.0, description="Each wait is this many times the one before."
    )
    most_seconds: Seconds = Field(
        24 * 3600,
        description="No retry begins this long after the task's first start: Kubeflow hands it to "
        "Argo as the whole span of the retries.",
    )


class SecretOptions(Options):
    """A Kubernetes secret, as variables or as files."""

    name: Name = Field(description="Name of the secret.")
    env: dict[Variable, str] = Field(
        {}, description="Environment variable to key of the secret: `AWS_SECRET_ACCESS_KEY: key`."
    )
    mount: Folder | None = Field(None, description="Folder in which each key becomes a file.")

    @pydantic.model_validator(mode="after")
    def _used(self) -> SecretOptions:
        if not self.env and self.mount is None:
            raise ValueError("a secret needs `env` or `mount`")
        return self


class VolumeOptions(Options):
    """A persistent volume claim."""

    claim: Name = Field(description="Name of the claim, in the namespace of the run.")
    mount: Folder = Field(description="Folder at which tasks see it.")


class TolerationOptions(Options):
    """A taint of nodes that a task may run on all the same."""

    key: str = Field("", description="Of the taint; empty with `Exists`: every taint.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How the value is compared.")
    value: str = Field("", description="Of the taint, for `Equal`.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute", ""] = Field(
        "", description="Which effect is tolerated; empty: all."
    )
    seconds: Seconds | None = Field(None, description="How long, for `NoExecute`.")


class ComponentOptions(Options):
    """What one component needs from the cluster."""

    image: str | None = Field(None, description="Another image than `kubeflow.image`.")
    cpu: Cpu | None = Field(None, description="Most cores.")
    cpu_request: Cpu | None = Field(None, description="Cores it is scheduled with.")
    memory: Memory | None = Field(None, description="Most memory, e.g. `4Gi`.")
    memory_request: Memory | None = Field(None, description="Memory it is scheduled with.")
    accelerator: AcceleratorOptions | None = Field(None, description="GPUs.")
    retries: RetryOptions = Field(
        default_factory=RetryOptions, description="What happens after a failure."
    )
    timeout_seconds: Seconds | None = Field(
        None, description="A task that takes longer is ended and counts as failed (Kubernetes)."
    )
    env: dict[Variable, str] = Field({}, description="Environment variables. No secrets here.")
    secrets: tuple[SecretOptions, ...] = Field((), description="Secrets (Kubernetes).")
    volumes: tuple[VolumeOptions, ...] = Field((), description="Volumes (Kubernetes).")
    node_selector: dict[str, str] = Field(
        {}, description="Labels of the nodes it may run on (Kubernetes)."
    )
    tolerations: tuple[TolerationOptions, ...] = Field(
        (), description="Taints it may run in spite of (Kubernetes)."
    )
    caching: bool = Field(
        True,
        description="Whether an earlier execution with the same inputs may stand for this one. "
        "ExampleGen, DeployedModel and Pusher look at or change something outside the pipeline: "
        "they always run.",
    )


class RegistryOptions(Options):
    """Where deployed models are, as tasks see it."""

    path: str = Field(
        "/deployed",
        pattern=r"^(/.+|(gs|s3|minio)://.+)$",
        description="A folder under a mounted volume, or a bucket: `gs://`, `s3://`, `minio://`.",
    )
    claim: Name | None = Field(
        None, description="Volume claim that is mounted at `path`; must outlive the run."
    )

    @pydantic.model_validator(mode="after")
    def _one_of(self) -> RegistryOptions:
        if self.claim and "://" in self.path:
            raise ValueError("a bucket needs no `claim`")
        return self


class KubeflowOptions(Options):
    """What a cluster needs to know."""

    image: str = Field(
        "flywheel:modern",
        description="Image of every task, with its digest: `registry/flywheel@sha256:…`. `make "
        "image` builds it.",
    )
    pipeline_root: str = Field(
        "minio://mlpipeline/v2/artifacts",
        pattern=r"^(minio|s3|gs)://.+",
        description="Where artifacts go unless a run says otherwise: `minio://`, `s3://`, `gs://`.",
    )
    data: str | None = Field(
        None,
        description="The data as tasks see it, unless a run says otherwise: under a mounted "
        "volume, a bucket, or `demo:…`. Default: `data.path`.",
    )
    registry: RegistryOptions = Field(
        default_factory=RegistryOptions, description="Where deployed models are, in the cluster."
    )
    service_account: Name | None = Field(
        None, description="Whom tasks run as; `flywheel deploy` hands it over with each run."
    )
    report_end: bool = Field(
        True,
        description="An exit handler tells `alerts.channels` how every run ended, also a failed "
        "one. Needs Kubeflow Pipelines 2.14 or Vertex.",
    )
    cluster: ClusterOptions = Field(
        default_factory=ClusterOptions, description="Where `flywheel deploy` goes."
    )
    vertex: VertexOptions = Field(
        default_factory=VertexOptions, description="Where `flywheel deploy --target vertex` goes."
    )
    defaults: ComponentOptions = Field(
        default_factory=ComponentOptions, description="For every component."
    )
    components: dict[str, ComponentOptions] = Field(
        {},
        description="Component to what it needs besides or instead: `Trainer: {memory: 8Gi}`. "
        "`ExitHandler` is one of them. Variables and labels are added to those of `defaults`, and "
        "so are secrets, volumes and tolerations.",
    )

    def of(self, component: str) -> ComponentOptions:
        """Everything that holds for one component."""
        own = self.components.get(component)
        if own is None:
            return self.defaults
        merged: dict[str, Any] = {}
        for key in own.model_fields_set:
            common, value = getattr(self.defaults, key), getattr(own, key)
            if isinstance(value, dict):
                value = {**common, **value}
            elif isinstance(value, tuple):
                value = common + tuple(item for item in value if item not in common)
            merged[key] = value
        return self.defaults.model_copy(update=merged)
