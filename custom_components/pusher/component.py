"""Pusher: a blessed model becomes the deployed version.

Inputs   model (the file that was evaluated), blessing, examples (golden requests
         come from the test split), schema, statistics (the drift reference),
         evaluation (metrics for the manifest)
Outputs  pushed_model: push.json with version, path and whether it is new; a copy
         of the version; custom properties `pushed` and `version`
"""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from custom_components.pusher import executor


class PusherSpec(component_spec.ComponentSpec):
    PARAMETERS = {"registry": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class Pusher(base_component.BaseComponent):
    """Publishes the model to the registry, only if blessed.

    Args:
      model: Holds Format-Serving/tflite and model.json.
      blessing: Of the Evaluator.
      evaluation: Of the Evaluator.
      examples: Split `test`.
      schema, statistics: Of the training data.
      registry: Folder of deployed versions.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: channel.BaseChannel,
        blessing: channel.BaseChannel,
        evaluation: channel.BaseChannel,
        examples: channel.BaseChannel,
        schema: channel.BaseChannel,
        statistics: channel.BaseChannel,
        registry: str,
    ):
        super().__init__(
            PusherSpec(
                model=model,
                blessing=blessing,
                evaluation=evaluation,
                examples=examples,
                schema=schema,
                statistics=statistics,
                registry=registry,
                pushed_model=channel_utils.as_channel([standard_artifacts.PushedModel()]),
            )
        )
