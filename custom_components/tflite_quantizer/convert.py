"""Makes one variant. Runs in a process of its own: the converter may abort."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from custom_components.tflite_quantizer import tables
from custom_components.tflite_quantizer.recipe import Recipe
from custom_components.tflite_quantizer.slim import slim
from custom_components.tflite_quantizer.student import Student
from models import bundle
from models.graph import Serving
from models.predictor import SIGNATURE
from models.rows import Rows

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
    content = to_tflite(student.serving(network), recipe, representative)
    with open(job.output, "wb") as file:
        file.write(content)


def _student(job: Job, data) -> Student:
    spec, options, network = bundle.load(job.bundle)
    train, valid = (
        Rows(data[f"{split}:numeric"], data[f"{split}:ids"], data[f"{split}:labels"])
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
    from custom_components.tflite_quantizer import compress  # TFMOT takes a second to import

    if recipe.sparsity:
        student = compress.prune(student, recipe.sparsity)
    if recipe.clustering:
        student = compress.cluster(student, recipe.clustering, keep_zeros=bool(recipe.sparsity))
    if recipe.ranges == "aware":
        return compress.quantization_aware(
            student, zeros=bool(recipe.sparsity), clusters=bool(recipe.clustering)
        )
    return student.network


def to_tflite(
    serving: Serving, recipe: Recipe, representative: dict[str, np.ndarray] | None = None
) -> bytes:
    """Converts with built-in operations only; raw features in, float prediction out.

    Args:
      serving: The graph over raw features.
      recipe: Precision, and whether the file is made slim.
      representative: Tensor name to `[rows, 1]`, for recipes that need it.
    """
    content = _converted(serving, recipe, representative)
    if not recipe.slim:
        return content
    if recipe.weights == "int8" and recipe.least_elements is None:
        return slim(content)
    return slim(content, recipe.weights, recipe.least_elements or 1)


def _converted(
    serving: Serving, recipe: Recipe, representative: dict[str, np.ndarray] | None
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(serving, folder, signatures={SIGNATURE: serving.function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        if recipe.weights == "int8" or (recipe.weights == "float16" and not recipe.slim):
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
        last_layer = _last_layer(converter.convert())
        converter.representative_dataset = lambda: _one_by_one(representative)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=lambda: _one_by_one(representative),
            debug_options=tf.lite.experimental.QuantizationDebugOptions(
                denylisted_ops=list(_FLOAT_OPERATIONS), denylisted_nodes=[last_layer]
            ),
        )
        return debugger.get_nondebug_quantized_model()


def _last_layer(model: bytes) -> str:
    """Name of what the last dense layer writes.

    It stays in float: in 8 bits a model gives 256 different answers at most.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    dense = [op for op in interpreter._get_ops_details() if op["op_name"] == "FULLY_CONNECTED"]
    outputs = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
    return outputs[dense[-1]["outputs"][0]]


def _one_by_one(inputs: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """One row at a time: the calibrator has crashed on larger batches."""
    for row in range(len(next(iter(inputs.values())))):
        yield SIGNATURE, {name: x[row : row + 1] for name, x in inputs.items()}
