"""What a recipe says: frozen dataclasses that check themselves. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass

_STRICT = pydantic.ConfigDict(extra="forbid")
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=_STRICT)
class Sparsity:
    """Magnitude pruning of the hidden dense layers (TFMOT), then fine-tuning.

    The file does not shrink, its gzip does: TFLite stores the zeros.

    Attributes:
      pattern: `unstructured`; `m_by_n`: m zeros in every n weights of a row, which
        some accelerators skip; `block`: whole blocks.
      share: Of zeros; `m_by_n` has its own.
      schedule: `constant` from the start, or `polynomial` during the first pass
        over train (Zhu and Gupta, "To prune, or not to prune", 2017, equation 1).
      m, n: Of `m_by_n`.
      block: Of `block`: inputs and outputs that stand or fall together.
    """

    pattern: Literal["unstructured", "m_by_n", "block"] = "unstructured"
    share: Share = 0.5
    schedule: Literal["constant", "polynomial"] = "polynomial"
    m: Count = 2
    n: Count = 4
    block: tuple[Count, Count] = (4, 1)

    def __post_init__(self) -> None:
        if self.pattern == "m_by_n" and self.m >= self.n:
            raise ValueError(f"m must be less than n, and {self.m} of {self.n} was asked")

    @property
    def zeros(self) -> float:
        """The share of zeros that is asked for."""
        return self.m / self.n if self.pattern == "m_by_n" else self.share


@dataclass(frozen=True, config=_STRICT)
class Clustering:
    """Weights of each hidden dense layer share a few values (TFMOT), then fine-tuning.

    Like sparsity it shrinks the gzip, not the file.

    Attributes:
      clusters: Distinct values per layer; with sparsity one of them is zero.
    """

    clusters: Annotated[int, Field(ge=3, le=256)] = 16


@dataclass(frozen=True, config=_STRICT)
class Tables:
    """What happens to vocabularies, the embedding table and the graph around them.

    Attributes:
      layout: `as_trained`, or `compact`: the same function in fewer operations
        (one chain for all numbers, integer categories among them; categories in
        the order that needs no slicing; no look-up where arithmetic does).
      coverage: Each text vocabulary is cut to its most frequent values that cover
        this share of train; the others share the out-of-vocabulary row, and the
        network is fine-tuned. 1 keeps all.
      buckets: The values that `coverage` cuts off share so many rows by a hash of the
        value (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning",
        2009) and not the one of unknown values. The file keeps these values: no
        built-in operation of TFLite hashes text.
      width: Of the embedding: narrowed by a truncated singular value decomposition
        and fine-tuning. None keeps it.
    """

    layout: Literal["as_trained", "compact"] = "compact"
    coverage: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    width: Count | None = None
    buckets: Count | None = None

    def __post_init__(self) -> None:
        if self.coverage < 1.0 and self.layout == "as_trained":
            raise ValueError("a `coverage` below 1 needs `layout: compact`")
        if self.buckets and self.coverage == 1.0:
            raise ValueError("`buckets` are for the values that a `coverage` below 1 cuts off")

    @property
    def changes_network(self) -> bool:
        """Whether fine-tuning has to follow."""
        return self.coverage < 1.0 or self.width is not None


@dataclass(frozen=True, config=_STRICT)
class Edge:
    """Dense weights are quantized by ai-edge-quantizer, in an environment of its own (`edge.py`).

    Attributes:
      compute: `dynamic`: activations in 8 bits too, at run time; `weight_only`: the
        weights are widened to float before use.
      block: Of `dynamic` in 4 bits: one scale for so many weights of a row, where the
        layer's inputs are a multiple of it; one for each output elsewhere. None: one
        for each output everywhere.
    """

    compute: Literal["dynamic", "weight_only"] = "dynamic"
    block: Literal[32, 64, 128, 256] | None = None


@dataclass(frozen=True, config=_STRICT)
class Recipe:
    """How to turn a float network into a TFLite file.

    Attributes:
      name: Unique, lower snake case.
      weights: Type the weights are stored in. `int4` needs `edge`; tables have 8 bits then.
      activations: `int8` and `int16` compute the dense layers in integers.
      ranges: Where the activations' ranges come from: nothing, representative
        rows after training, or fine-tuning with simulated quantization.
      summary: One sentence for people.
      sparsity, clustering: Before quantization; fine-tuning with simulated
        quantization keeps what they made (TFMOT's collaborative schemes).
      tables: Vocabularies, embedding, graph.
      least_elements: With `weights: int8`, dense weights and tables that the converter
        left in float are stored in 8 bits from this many elements on. The converter's
        own limit is 1,024, which leaves a small network as it was; None means that one.
      edge: Who quantizes the dense weights; None for the converter and `slim.py`.
      float_layers: That stay in float, by name: `embedding`, `hidden_1` and so on, `logits`;
        of a network of images `block_1`, `block_2_depthwise`, `block_2` and so on as well.
        `sensitivity` says which deserve it.
      slim: Take out what no interpreter reads: names, metadata, empty buffers,
        repeated constants. Answers do not change. With `float16`, constants of the
        preprocessing keep 32 bits, which the converter alone does not see to.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    weights: Literal["float32", "float16", "int8", "int4"]
    activations: Literal["float", "int8", "int16"] = "float"
    ranges: Literal["none", "representative", "aware"] = "none"
    summary: str = ""
    sparsity: Sparsity | None = None
    clustering: Clustering | None = None
    tables: Tables = Tables()
    least_elements: Count | None = None
    slim: bool = True
    edge: Edge | None = None
    float_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        integers = self.activations != "float"
        if integers and self.weights != "int8":
            raise ValueError(f"activations in {self.activations} need weights in int8")
        if integers == (self.ranges == "none"):
            raise ValueError(
                f"activations in {self.activations} need ranges from representative rows or from "
                "fine-tuning (`ranges: representative` or `aware`)"
                if integers
                else f"`ranges: {self.ranges}` is for integer activations"
            )
        if self.activations == "int16" and self.ranges == "aware":
            raise ValueError("activations in int16 are calibrated: `ranges: representative`")
        self._check_edge()
        if self.float_layers and not self.slim:
            raise ValueError("`float_layers` needs `slim`, which quantizes the others")

    def _check_edge(self) -> None:
        if self.edge is None:
            if self.weights == "int4":
                raise ValueError("weights in int4 need `edge`: the converter knows none")
            return
        if self.weights not in ("int8", "int4") or self.activations != "float":
            raise ValueError("`edge` is for weights in int8 or int4 and activations in float")
        if self.edge.block and (self.edge.compute, self.weights) != ("dynamic", "int4"):
            raise ValueError("`edge.block` is for weights in int4 that are computed dynamically")

    @property
    def fine_tunes(self) -> bool:
        """Whether it trains, and so takes longest."""
        return bool(
            self.ranges == "aware"
            or self.sparsity
            or self.clustering
            or self.tables.changes_network
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `from_dict` reads it back."""
        return dataclasses.asdict(self)
