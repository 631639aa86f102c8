"""Pruning, clustering and simulated quantization of the hidden layers, by TFMOT.

TFMOT knows tf_keras only. The last layer, `logits`, is left alone: it is tiny, and in
8 bits a model gives 256 different answers at most.
"""

from __future__ import annotations

import sys
from collections.abc import Collection

import numpy as np
import tensorflow as tf
import tf_keras

# TFMOT looks for a module that Keras 3 has not, and imports all of Keras 3 to find that out: most
# of the time that importing TFMOT takes.
sys.modules.setdefault("keras.engine", None)  # type: ignore[arg-type]

import tensorflow_model_optimization as tfmot  # noqa: E402
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (  # noqa: E402
    cluster as experimental,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts import (  # noqa: E402
    cluster_preserve,
    prune_preserve,
)

from custom_components.tflite_quantizer import coverage  # noqa: E402
from custom_components.tflite_quantizer.recipe import Clustering, Sparsity  # noqa: E402
from custom_components.tflite_quantizer.student import Student  # noqa: E402
from models.training import Schedule  # noqa: E402

#: TFMOT's layers need no translation into graphs, which would take longer than fine-tuning does.
_as_written = tf.autograph.experimental.do_not_convert
_MASK_UPDATES = 20
#: Rows from which the ranges of activations begin.
_RANGE_ROWS = 500
#: A network of convolutions is pruned over about so many steps at least.
PRUNING_STEPS = 150


def hidden(layer: tf_keras.layers.Layer) -> bool:
    """Whether a layer's weights are compressed: dense, or a convolution over all channels."""
    kind = type(layer)  # a depthwise convolution has few weights, and TFMOT compresses none of them
    return kind is tf_keras.layers.Conv2D or (
        kind is tf_keras.layers.Dense and layer.name != "logits"
    )


def prunable(layer: tf_keras.layers.Layer, sparsity: Sparsity) -> bool:
    """Whether a layer is pruned in this pattern.

    TFMOT takes blocks out of matrices only, and groups of n along the input channels: a first
    convolution, which sees one or three, has no such group.
    """
    if not hidden(layer) or sparsity.pattern == "unstructured":
        return hidden(layer)
    dense = isinstance(layer, tf_keras.layers.Dense)
    if sparsity.pattern == "block":
        return dense
    return dense or layer.kernel.shape[-2] >= sparsity.n


def simulated(layer: tf_keras.layers.Layer) -> bool:
    """Whether a layer computes in integers: the hidden ones and what stands between them."""
    layers = tf_keras.layers
    return hidden(layer) or isinstance(
        layer,
        (
            layers.DepthwiseConv2D,
            layers.BatchNormalization,
            layers.ReLU,
            layers.GlobalAveragePooling2D,
        ),
    )


def matrix(kernel: np.ndarray) -> np.ndarray:
    """A kernel as `[inputs, units]`: of a convolution, all values under it are inputs."""
    return kernel.reshape(-1, kernel.shape[-1])


@_as_written
def prune(student: Student, sparsity: Sparsity) -> Student:
    """A student with the share of zeros that is asked for in every hidden kernel.

    The first pass over train (repeated for few images) prunes on schedule, the others
    recover: `fit` keeps the best epoch, which must not be one from before the zeros were there.

    Raises:
      ValueError: the zeros did not come out as asked.
    """
    first = student.repeated(PRUNING_STEPS)
    steps = Schedule.of(first.options, len(first.train), 1).steps
    every = max(1, steps // _MASK_UPDATES)
    if sparsity.schedule == "polynomial" and sparsity.pattern != "m_by_n":
        # The last update must fall on the last step: end_step - begin_step in whole intervals.
        last = max(every, steps // every * every)
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            0.0, sparsity.zeros, begin_step=0, end_step=last, frequency=every
        )
    else:
        schedule = tfmot.sparsity.keras.ConstantSparsity(sparsity.zeros, 0, -1, every)
    pattern = {
        "unstructured": {},
        "m_by_n": {"sparsity_m_by_n": (sparsity.m, sparsity.n)},
        "block": {"block_size": sparsity.block, "block_pooling_type": "AVG"},
    }[sparsity.pattern]

    def annotate(layer):
        if prunable(layer, sparsity):
            return tfmot.sparsity.keras.prune_low_magnitude(layer, schedule, **pattern)
        return layer

    pruned = tf_keras.models.clone_model(student.clone(), clone_function=annotate)
    wrappers = [x for x in pruned.layers if hasattr(x, "pruning_step")]
    for wrapper in wrappers:  # what the callback UpdatePruningStep does when training begins
        wrapper.pruning_step.assign(0)
    first.fine_tune(pruned, "pruning", epochs=1)
    student.fine_tune(pruned, "pruned")
    for wrapper in wrappers:  # and what it does after an epoch
        wrapper.pruning_obj.weight_mask_op()
    network = _without_wrappers(student, pruned)
    for layer in network.layers:
        if prunable(layer, sparsity):
            _check_zeros(layer, sparsity)
    return student.replace(network=network)


def _check_zeros(layer: tf_keras.layers.Layer, sparsity: Sparsity) -> None:
    channels = layer.get_weights()[0].shape[-2]
    kernel = matrix(layer.get_weights()[0])
    found, asked = float(np.mean(kernel == 0.0)), sparsity.zeros
    # Whole weights, whole blocks, rows whose end does not fill a group.
    unit = {"unstructured": 1, "m_by_n": 0, "block": np.prod(sparsity.block)}[sparsity.pattern]
    slack = unit / kernel.size + (sparsity.n / channels if not unit else 0.0) + 1e-6
    if sparsity.pattern == "block":
        blocks = [-(-n // b) for n, b in zip(kernel.shape, sparsity.block, strict=True)]
        slack += 1 / np.prod(blocks) + sparsity.block[0] / kernel.shape[0]
    if found < asked - slack:
        raise ValueError(
            f"layer {layer.name} has {found:.1%} zeros after pruning, {asked:.1%} were asked for"
        )


@_as_written
def cluster(student: Student, clustering: Clustering, keep_zeros: bool) -> Student:
    """A student with few distinct weights per hidden kernel.

    Args:
      student: Float.
      clustering: How many.
      keep_zeros: Zeros stay zeros, and are one of the values.
    """
    settings = {
        "number_of_clusters": clustering.clusters,
        "cluster_centroids_init": tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        **({"preserve_sparsity": True} if keep_zeros else {}),
    }
    cluster_weights = (
        experimental.cluster_weights if keep_zeros else tfmot.clustering.keras.cluster_weights
    )

    def annotate(layer):
        return cluster_weights(layer, **settings) if hidden(layer) else layer

    clustered = tf_keras.models.clone_model(student.clone(), clone_function=annotate)
    student.fine_tune(clustered, "clustering")
    stripped = tfmot.clustering.keras.strip_clustering(clustered)
    return student.replace(network=_without_wrappers(student, stripped))


def _without_wrappers(student: Student, compressed: tf_keras.Model) -> tf_keras.Model:
    """The compressed weights in a plain network."""
    network = student.clone()
    for layer in compressed.layers:
        inner = getattr(layer, "layer", layer)
        if inner.get_weights():
            network.get_layer(inner.name).set_weights(inner.get_weights())
    return network


@_as_written
def quantization_aware(
    student: Student, zeros: bool, clusters: bool, float_layers: Collection[str] = ()
) -> tf_keras.Model:
    """The network fine-tuned with its hidden layers' quantization simulated.

    Args:
      student: Float, pruned or clustered already.
      zeros, clusters: What fine-tuning must keep.
      float_layers: Names of hidden layers that stay as they are.

    Returns:
      A network with quantizers in it, for export only.
    """
    quantize = tfmot.quantization.keras

    def annotate(layer):
        integers = simulated(layer) and _owner(layer.name) not in float_layers
        return quantize.quantize_annotate_layer(layer) if integers else layer

    annotated = tf_keras.models.clone_model(student.clone(), clone_function=annotate)
    if clusters:
        scheme = cluster_preserve.default_8bit_cluster_preserve_quantize_scheme
        scheme = scheme.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=zeros)
    elif zeros:
        scheme = prune_preserve.default_8bit_prune_preserve_quantize_scheme
        scheme = scheme.Default8BitPrunePreserveQuantizeScheme()
    else:
        scheme = None
    aware = quantize.quantize_apply(annotated, *([scheme] if scheme else []))
    if student.spec.image:
        _start_ranges(student, aware)
    return student.fine_tune(aware, "quantization-aware")


def _owner(name: str) -> str:
    """The convolution whose normalisation or ReLU a layer is: the three are one when quantized."""
    return name.removesuffix("_norm").removesuffix("_relu")


def _start_ranges(student: Student, aware: tf_keras.Model) -> None:
    """Begins every activation's range where the float network's is.

    TFMOT begins at -6 to 6 and moves by a thousandth per step: the few steps that a few images
    make would end near there, with most of the 8 bits unused.
    """
    wrapped = {layer.layer.name: layer for layer in aware.layers if hasattr(layer, "layer")}
    names = [layer.name for layer in student.network.layers if layer.name in wrapped]
    picked = coverage.representative(student.train, _RANGE_ROWS)
    inputs = [
        tf.cast(x, tf.float32) if x.dtype == np.uint8 else tf.constant(x)
        for x in student.train.take(picked).network_inputs(student.spec)
    ]
    watched = tf_keras.Model(
        student.network.inputs, [student.network.get_layer(name).output for name in names]
    )
    for name, values in zip(names, watched(inputs, training=False), strict=True):
        ends = {"min": tf.minimum(tf.reduce_min(values), 0.0), "max": tf.reduce_max(values)}
        for variable in wrapped[name].weights:
            kind, _, end = variable.name.split("/")[-1].split(":")[0].rpartition("_")
            if kind in ("post_activation", "output") and end in ends:
                variable.assign(ends[end])
