"""TFLiteQuantizer: several TFLite variants of the student; the smallest good one is chosen.

Inputs   examples (train calibrates and fine-tunes, eval chooses), model (the
         Distiller's), teacher (the Trainer's; its float32 file is shown
         beside the variants)
Outputs  model: model.json and Format-Serving/tflite, the file that would ship
         variants: <name>.tflite for each, and variants.json: bytes, quality,
         agreement, latency, state and reason
"""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from custom_components.tflite_quantizer import executor
from custom_components.tflite_quantizer.options import QuantizerOptions


class TFLiteQuantizerSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "options": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "teacher": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {
        "chosen": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "variants": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class TFLiteQuantizer(base_component.BaseComponent):
    """Makes every variant in a process of its own, measures all, chooses one.

    Args:
      examples: Splits `train` and `eval`.
      model: Output `model` of the Distiller.
      teacher: Output `model` of the Trainer.
      options: Recipes, quality bound, time and memory bounds.
      seed: Of quantization-aware fine-tuning.
    """

    SPEC_CLASS = TFLiteQuantizerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        model: channel.BaseChannel,
        teacher: channel.BaseChannel,
        options: QuantizerOptions | None = None,
        seed: int = 0,
    ):
        super().__init__(
            TFLiteQuantizerSpec(
                examples=examples,
                model=model,
                teacher=teacher,
                options=(options or QuantizerOptions()).model_dump_json(),
                seed=seed,
                chosen=channel_utils.as_channel([standard_artifacts.Model()]),
                variants=channel_utils.as_channel([standard_artifacts.ModelRun()]),
            )
        )
