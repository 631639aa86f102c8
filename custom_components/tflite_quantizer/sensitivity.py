"""Which layer bears 8 bits and which does not: one layer at a time, all others float.

Each layer is quantized as `int8_ptq` does it, with ranges from representative rows, and the
file is compared with the one that is float throughout. The drops of single layers do not add up
to the drop of all together; they say where to look.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

from models import isolation
from models.options import NetworkOptions
from models.spec import ModelSpec

TABLE, LAST = "embedding", "logits"
#: What layers with weights are in a file, the table's aside.
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclasses.dataclass(frozen=True)
class LayerJob:
    """What the process that quantizes one layer needs.

    Attributes:
      job: As for a float recipe; its rows hold the representative ones.
      layer: Of `layers`; None leaves all of them float.
      position: Of the layer among those with weights; None for the table and for none.
    """

    job: Any
    layer: str | None
    position: int | None = None


@dataclasses.dataclass(frozen=True)
class LayerDrop:
    """What 8 bits in one layer cost and save.

    Attributes:
      layer: Of `layers`.
      bytes_saved: Against the float file; below 0 where 8 bits take more than they save.
      quality: Drop against the float student with its interval, as `comparison.Drop.to_dict`;
        empty when there is no file.
      reason: Why there is none.
    """

    layer: str
    bytes_saved: int | None = None
    quality: dict[str, Any] = dataclasses.field(default_factory=dict)
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def layers(spec: ModelSpec, network: NetworkOptions) -> tuple[str, ...]:
    """Names of what can be quantized, in the order in which it computes.

    `embedding`; of a network of images its convolutions, as `models.network` calls them
    (`block_1`, `block_2_depthwise`, `block_2` and so on); `hidden_1` and so on; `logits`.
    """
    table = (TABLE,) if spec.categorical else ()
    hidden = (f"hidden_{i + 1}" for i in range(len(network.hidden)))
    return (*table, *convolutions(spec, network), *hidden, LAST)


def convolutions(spec: ModelSpec, network: NetworkOptions) -> tuple[str, ...]:
    """Names of the convolutions; none without an image."""
    if spec.image is None:
        return ()
    found: list[str] = []
    for number in range(1, len(network.blocks(spec.image.height, spec.image.width)) + 1):
        full = network.convolution == "full"
        found += [f"block_{number}_depthwise"] if number > 1 and not full else []
        found += [f"block_{number}", *([f"block_{number}_second"] if full else [])]
    return tuple(found)


def places(
    spec: ModelSpec, network: NetworkOptions, names: Sequence[str]
) -> tuple[int | None, ...]:
    """Where layers are among those with weights, as they compute; None: the table.

    Raises:
      ValueError: there is no such layer.
    """
    known = layers(spec, network)
    weighted = [name for name in known if name != TABLE]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no layer `{name}`; there are {', '.join(known)}")
    return tuple(None if name == TABLE else weighted.index(name) for name in names)


def sensitivity(
    job: Any,
    spec: ModelSpec,
    network: NetworkOptions,
    judge: Callable[[bytes], dict[str, Any]],
    *,
    seconds: float,
    memory_mb: int,
    workers: int = 1,
) -> list[LayerDrop]:
    """Quantizes one layer at a time, each in a process of its own.

    Args:
      job: `convert.Job` of a float recipe (`float32_compact`); files go beside its output.
      spec, network: The student's.
      judge: Content of a file to its drop against the float student
        (`comparison.drop(...).to_dict()`).
      seconds, memory_mb: Bounds of each conversion.
      workers: Converted at once.

    Returns:
      One for each of `layers`, in that order.

    Raises:
      isolation.Isolated: not even the float file can be made.
    """
    names = layers(spec, network)

    def make(layer: str | None) -> bytes:
        path = f"{job.output}.{layer or 'float'}"
        [position] = places(spec, network, [layer]) if layer else [None]
        isolation.run_isolated(
            convert_layer,
            LayerJob(dataclasses.replace(job, output=path), layer, position),
            seconds=seconds,
            memory_mb=memory_mb,
        )
        with open(path, "rb") as file:
            content = file.read()
        os.unlink(path)
        return content

    plain = len(make(None))

    def one(layer: str) -> LayerDrop:
        try:
            content = make(layer)
        except isolation.Isolated as error:
            return LayerDrop(layer, reason=str(error))
        return LayerDrop(layer, plain - len(content), judge(content))

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, names))


def least_tolerant(found: Sequence[LayerDrop], max_drop: float) -> tuple[str, ...]:
    """Layers that should stay float: alone, each may lose more than the bound; the worst first.

    Args:
      found: Of `sensitivity`.
      max_drop: The bound; a share of it finds layers that only together lose too much.
    """
    over = [d for d in found if d.quality and not _within(d, max_drop)]
    return tuple(d.layer for d in sorted(over, key=lambda d: -_high(d)))


def _within(drop: LayerDrop, max_drop: float) -> bool:
    return _high(drop) <= max_drop


def _high(drop: LayerDrop) -> float:
    high = drop.quality["high"]
    return float("inf") if high is None else high


def convert_layer(asked: LayerJob) -> None:
    """Writes the file with one layer in 8 bits. Runs in a process of its own."""
    import numpy as np

    from custom_components.tflite_quantizer import convert, tables
    from custom_components.tflite_quantizer.slim import slim

    job = asked.job
    with np.load(job.rows, allow_pickle=True) as data:
        student = tables.reduce(convert._student(job, data), job.recipe)
        rows = {n[len("input:") :]: data[n] for n in data.files if n.startswith("input:")}
    content = slim(_with_one_layer(student.serving(), asked, rows))
    with open(job.output, "wb") as file:
        file.write(content)


def _with_one_layer(serving: Any, asked: LayerJob, rows: dict[str, Any]) -> bytes:
    import tempfile

    import tensorflow as tf

    from custom_components.tflite_quantizer import convert

    with tempfile.TemporaryDirectory() as folder:
        signature = convert.SIGNATURE
        tf.saved_model.save(serving, folder, signatures={signature: serving.function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[signature])
        plain = converter.convert()
        if asked.layer is None:
            return plain
        others = [found.name for found in weighted_layers(plain)]
        if asked.position is not None:
            del others[asked.position]
        operations = {*convert._FLOAT_OPERATIONS, "MEAN"} - (
            {"GATHER"} if asked.layer == TABLE else set()
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: convert._one_by_one(rows)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=lambda: convert._one_by_one(rows),
            debug_options=tf.lite.experimental.QuantizationDebugOptions(
                denylisted_ops=operations, denylisted_nodes=others
            ),
        )
        return debugger.get_nondebug_quantized_model()


@dataclasses.dataclass(frozen=True)
class Weighted:
    """A layer with weights, in a file.

    Attributes:
      operation: `CONV_2D`, `DEPTHWISE_CONV_2D` or `FULLY_CONNECTED`.
      name: Of the tensor it writes.
      shape: Of its weights.
    """

    operation: str
    name: str
    shape: tuple[int, ...]

    @property
    def dense(self) -> bool:
        return self.operation == "FULLY_CONNECTED"


def weighted_layers(model: bytes) -> list[Weighted]:
    """Convolutions and dense layers in the order in which they compute.

    Args:
      model: A file as the converter wrote it, names included.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    return [
        Weighted(
            operation["op_name"],
            tensors[operation["outputs"][0]]["name"],
            tuple(int(n) for n in tensors[operation["inputs"][1]]["shape"]),
        )
        for operation in interpreter._get_ops_details()
        if operation["op_name"] in _WEIGHTED
    ]
