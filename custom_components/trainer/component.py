"""Trainer: the teacher.

Inputs   examples (train, eval), statistics (train)
Outputs  model: contract, network, weights and a SavedModel in Format-Serving
         model_run: training.json with learning curves and eval metrics
"""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from custom_components.trainer import executor
from models.options import PreprocessingOptions, TaskOptions, TeacherOptions


class TrainerSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "task": component_spec.ExecutionParameter(type=str),
        "kinds": component_spec.ExecutionParameter(type=str),
        "preprocessing": component_spec.ExecutionParameter(type=str),
        "options": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class Trainer(base_component.BaseComponent):
    """Trains the teacher.

    Args:
      examples: Splits `train` and `eval`.
      statistics: Of the same examples, limits lifted (see StatisticsGen).
      task: Label and kind of problem.
      kinds: Column to `numeric`, `categorical` or `ignore`, as JSON.
      preprocessing: Clipping and vocabulary limits.
      options: Shape and training of the network.
      seed: Of weights, shuffling and dropout.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        statistics: channel.BaseChannel,
        task: TaskOptions,
        kinds: str,
        preprocessing: PreprocessingOptions | None = None,
        options: TeacherOptions | None = None,
        seed: int = 0,
    ):
        super().__init__(
            TrainerSpec(
                examples=examples,
                statistics=statistics,
                task=task.model_dump_json(),
                kinds=kinds,
                preprocessing=(preprocessing or PreprocessingOptions()).model_dump_json(),
                options=(options or TeacherOptions()).model_dump_json(),
                seed=seed,
                model=channel_utils.as_channel([standard_artifacts.Model()]),
                model_run=channel_utils.as_channel([standard_artifacts.ModelRun()]),
            )
        )
