"""Distiller: a smaller student learns from the teacher.

Inputs   examples (train, eval), teacher (a Model of the Trainer)
Outputs  model: the network that goes on, in the teacher's own layout
         model_run: distillation.json with curves, both controls, the boosted
         reference, gains with their intervals, agreement, calibration and the verdict
"""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from custom_components.distiller import executor
from models.options import DistillationOptions, StudentOptions, TaskOptions


class DistillerSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "task": component_spec.ExecutionParameter(type=str),
        "student": component_spec.ExecutionParameter(type=str),
        "options": component_spec.ExecutionParameter(type=str),
        "seed": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "teacher": component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_run": component_spec.ChannelParameter(type=standard_artifacts.ModelRun),
    }


class Distiller(base_component.BaseComponent):
    """Trains the student and the two controls that say whether distillation helped.

    The student goes on unless the teacher's validation loss is no better than the
    control's, or the student lost quality beyond chance: then the control goes on,
    and the report says so. Gradient-boosted trees are always trained beside them:
    they may label rows for the student, and the verdict says where they are better
    than a network.

    Args:
      examples: Splits `train` and `eval`.
      teacher: Output `model` of the Trainer.
      task: Label and kind of problem.
      student: Shape and training of the student, and the shapes to search.
      options: Who teaches, temperature, alpha, hints, seeds, extra rows, calibration,
        the second control's dropout.
      seed: Of weights, shuffling and dropout.
    """

    SPEC_CLASS = DistillerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        examples: channel.BaseChannel,
        teacher: channel.BaseChannel,
        task: TaskOptions,
        student: StudentOptions | None = None,
        options: DistillationOptions | None = None,
        seed: int = 0,
    ):
        super().__init__(
            DistillerSpec(
                examples=examples,
                teacher=teacher,
                task=task.model_dump_json(),
                student=(student or StudentOptions()).model_dump_json(),
                options=(options or DistillationOptions()).model_dump_json(),
                seed=seed,
                model=channel_utils.as_channel([standard_artifacts.Model()]),
                model_run=channel_utils.as_channel([standard_artifacts.ModelRun()]),
            )
        )
