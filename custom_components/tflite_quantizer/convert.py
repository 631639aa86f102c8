"""Makes one variant. Runs in a process of its own: the converter may abort."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from custom_components.tflite_quantizer.recipes import Recipe
from models import bundle
from models.graph import Serving
from models.losses import distillation_objective
from models.options import DistillationOptions, NetworkOptions
from models.predictor import SIGNATURE
from models.rows import Rows
from models.spec import ModelSpec
from models.training import fit

#: Operations that stay in float when the dense layers become integers.
_FLOAT_OPERATIONS = (
    "ADD ARG_MAX CAST CONCATENATION DIV EQUAL EXP GATHER HASHTABLE_FIND LOGISTIC MAXIMUM MINIMUM "
    "MUL NOT_EQUAL RELU RESHAPE SELECT SELECT_V2 SOFTMAX SUB SUM TILE"
).split()
_QAT_LEARNING_RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Job:
    """What the converting process needs.

    Attributes:
      recipe: How.
      bundle: Folder of the float network.
      output: Where the TFLite file goes.
      rows: `.npz` with the training rows as `Rows` (numeric, ids, labels), the
        teacher's logits, and `input:<tensor>` arrays of representative rows.
      qat_epochs: Passes of quantization-aware fine-tuning.
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
    spec, options, network = bundle.load(job.bundle)
    with np.load(job.rows, allow_pickle=True) as data:
        if job.recipe.ranges == "aware":
            network = quantization_aware(spec, options, network, data, job.qat_epochs, job.seed)
        representative = None
        if job.recipe.ranges == "representative":
            representative = {
                name[len("input:") :]: data[name]
                for name in data.files
                if name.startswith("input:")
            }
    content = to_tflite(Serving(spec, network), job.recipe, representative)
    with open(job.output, "wb") as file:
        file.write(content)


def to_tflite(
    serving: Serving, recipe: Recipe, representative: dict[str, np.ndarray] | None = None
) -> bytes:
    """Converts with built-in operations only; raw features in, float prediction out.

    Args:
      serving: The graph over raw features.
      recipe: Precision.
      representative: Tensor name to `[rows, 1]`, for recipes that need it.
    """
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(serving, folder, signatures={SIGNATURE: serving.function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        if recipe.weights != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if recipe.weights == "float16":
            converter.target_spec.supported_types = [tf.float16]
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


def quantization_aware(
    spec: ModelSpec,
    options: NetworkOptions,
    network: tf_keras.Model,
    data,
    epochs: int,
    seed: int,
) -> tf_keras.Model:
    """The network fine-tuned with its hidden layers' quantization simulated."""
    import tensorflow_model_optimization as tfmot

    quantize = tfmot.quantization.keras
    # A copy first: annotating in place changes the source and spoils the next technique.
    copy = tf_keras.models.clone_model(network)
    copy.set_weights(network.get_weights())

    def annotate(layer):
        # The last layer stays in float: in 8 bits its answers would be 256 different ones.
        if isinstance(layer, tf_keras.layers.Dense) and layer.name != "logits":
            return quantize.quantize_annotate_layer(layer)
        return layer

    aware = quantize.quantize_apply(tf_keras.models.clone_model(copy, clone_function=annotate))
    train, valid = (
        Rows(data[f"{split}:numeric"], data[f"{split}:ids"], data[f"{split}:labels"])
        for split in ("train", "eval")
    )
    teacher = data["teacher_logits"]
    fit(
        aware,
        spec,
        train,
        valid,
        options.model_copy(
            update={"epochs": epochs, "learning_rate": _QAT_LEARNING_RATE, "dropout": 0.0}
        ),
        name="quantization-aware",
        usual_epochs=epochs,
        objective=distillation_objective(spec, DistillationOptions()),
        teacher_logits=teacher,
        seed=seed,
    )
    return aware
