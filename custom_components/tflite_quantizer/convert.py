"""Makes one variant. Runs in a process of its own: the converter may abort."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection, Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from custom_components.tflite_quantizer import edge, tables
from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.sensitivity import places, weighted_layers
from custom_components.tflite_quantizer.slim import slim
from custom_components.tflite_quantizer.student import Student
from models import bundle
from models.graph import Serving
from models.predictor import SIGNATURE
from models.rows import Rows

#: From so many elements on the converter itself stores weights in 8 bits.
_CONVERTERS_LEAST = 1024
#: Operations that stay in float when the dense layers become integers.
_FLOAT_OPERATIONS = (
    "ADD ARG_MAX CAST CONCATENATION DIV EQUAL EXP GATHER HASHTABLE_FIND LOGISTIC MAXIMUM MINIMUM "
    "MUL NOT_EQUAL RELU RESHAPE SELECT SELECT_V2 SOFTMAX SPLIT SPLIT_V STRIDED_SLICE SUB SUM TILE"
).split()


@dataclasses.dataclass(frozen=True)
class Job:
    """What the converting process needs.

    Attributes:
      recipe: How.
      bundle: Folder of the float network.
      output: Where the TFLite file goes.
      rows: `.npz` with the training rows as `Rows` (numeric, ids, labels), the
        float network's logits, and `input:<tensor>` arrays of representative rows.
      qat_epochs: Passes of every fine-tuning.
      seed: Of fine-tuning.
    """

    recipe: Recipe
    bundle: str
    output: str
    rows: str
    qat_epochs: int
    seed: int


def convert(job: Job) -> None:
    """Writes the TFLite file of a job."""
    recipe = job.recipe
    with np.load(job.rows, allow_pickle=True) as data:
        student = tables.reduce(_student(job, data), recipe)
        network = compressed(student, recipe)
        representative = None
        if recipe.ranges == "representative":
            representative = {
                name[len("input:") :]: data[name]
                for name in data.files
                if name.startswith("input:")
            }
        float_layers = places(student.spec, student.options, recipe.float_layers)
    content = to_tflite(student.serving(network), recipe, representative, float_layers)
    with open(job.output, "wb") as file:
        file.write(content)


def _student(job: Job, data) -> Student:
    spec, options, network = bundle.load(job.bundle)
    train, valid = (
        Rows(
            **{key: data[f"{split}:{key}"] for key in ("numeric", "ids", "labels")},
            image=data[f"{split}:image"] if spec.image else None,
        )
        for split in ("train", "eval")
    )
    return Student(
        contract=spec,
        spec=spec,
        options=options,
        network=network,
        train=train,
        valid=valid,
        logits=data["student_logits"],
        epochs=job.qat_epochs,
        seed=job.seed,
    )


def compressed(student: Student, recipe: Recipe) -> tf_keras.Model:
    """The network after the recipe's pruning, clustering and simulated quantization."""
    if not (recipe.sparsity or recipe.clustering or recipe.ranges == "aware"):
        return student.network
    from custom_components.tflite_quantizer import compress  # imports TFMOT

    if recipe.sparsity:
        student = compress.prune(student, recipe.sparsity)
    if recipe.clustering:
        student = compress.cluster(student, recipe.clustering, keep_zeros=bool(recipe.sparsity))
    if recipe.ranges == "aware":
        return compress.quantization_aware(
            student,
            zeros=bool(recipe.sparsity),
            clusters=bool(recipe.clustering),
            float_layers=recipe.float_layers,
        )
    return student.network


def to_tflite(
    serving: Serving,
    recipe: Recipe,
    representative: dict[str, np.ndarray] | None = None,
    float_layers: Collection[int | None] = (),
) -> bytes:
    """Converts with built-in operations only; raw features in, float prediction out.

    Args:
      serving: The graph over raw features.
      recipe: Precision, and whether the file is made slim.
      representative: Tensor name to `[rows, 1]`, for recipes that need it.
      float_layers: Places of the recipe's `float_layers` (`sensitivity.places`).
    """
    content = _converted(serving, recipe, representative, float_layers)
    if recipe.edge:
        content = edge.quantize(content, recipe, float_layers)
    if not recipe.slim:
        return content
    least = recipe.least_elements
    if recipe.weights not in ("int8", "int4"):
        return slim(content, recipe.weights, least or 1, float_layers)
    if least is None and _by_converter(recipe):
        return slim(content)
    return slim(content, "int8", least or _CONVERTERS_LEAST, float_layers)


def _by_converter(recipe: Recipe) -> bool:
    """Whether the converter stores large weights in 8 bits; it can be told of no exceptions."""
    if recipe.edge or recipe.weights != "int8":
        return False
    return recipe.activations != "float" or not recipe.float_layers


def _converted(
    serving: Serving,
    recipe: Recipe,
    representative: dict[str, np.ndarray] | None,
    float_layers: Collection[int | None],
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(serving, folder, signatures={SIGNATURE: serving.function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        if _by_converter(recipe) or (recipe.weights == "float16" and not recipe.slim):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if recipe.weights == "float16":  # made slim, only weights and tables are (see slim.py)
            converter.target_spec.supported_types = [tf.float16]
        if recipe.activations == "int16":
            converter.representative_dataset = lambda: _one_by_one(representative)
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.lite.OpsSet.TFLITE_BUILTINS,
            ]
            return converter.convert()
        if recipe.ranges != "representative":
            return converter.convert()
        # The last layer stays in float: in 8 bits a model gives 256 different answers at most.
        layers = [layer.name for layer in weighted_layers(converter.convert())]
        kept = {layers[-1], *(layers[place] for place in float_layers if place is not None)}
        converter.representative_dataset = lambda: _one_by_one(representative)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=lambda: _one_by_one(representative),
            debug_options=tf.lite.experimental.QuantizationDebugOptions(
                denylisted_ops=list(_FLOAT_OPERATIONS), denylisted_nodes=sorted(kept)
            ),
        )
        return debugger.get_nondebug_quantized_model()


def _one_by_one(inputs: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """One row at a time: the calibrator has crashed on larger batches."""
    for row in range(len(next(iter(inputs.values())))):
        yield SIGNATURE, {name: x[row : row + 1] for name, x in inputs.items()}
