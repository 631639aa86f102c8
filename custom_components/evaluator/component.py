"""The Evaluator component: may this model ship?

Stock TFX's Evaluator compares one candidate with one baseline, both of the same
kind. This one measures the TFLite file that would ship, the teacher it was
distilled from and the deployed champion over the same rows, and says why.
"""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from custom_components.evaluator import executor
from custom_components.evaluator.options import EvaluationOptions
from models.options import TaskOptions


class EvaluatorSpec(component_spec.ComponentSpec):
    """See `Evaluator`."""

    PARAMETERS = {
        "options": component_spec.ExecutionParameter(type=str),
        "task": component_spec.ExecutionParameter(type=str),
        "engine": component_spec.ExecutionParameter(type=str),
        "split": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "teacher": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "student": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema, optional=True),
    }
    OUTPUTS = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
    }


class Evaluator(base_beam_component.BaseBeamComponent):
    """Measures candidate, teacher and champion on the test split and blesses, or does not.

    Outputs:
      evaluation: TFMA's files as stock TFX writes them (`tfma.load_eval_result`,
        `tfma.load_validation_result`), models named `shipped`, `student`, `teacher` and
        `champion` (TFMA's baseline), and `verdict.json` (`custom_components.evaluator.verdict`).
      blessing: As stock TFX writes it; its Pusher reads it.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        teacher: types.BaseChannel,
        task: TaskOptions,
        options: EvaluationOptions | None = None,
        student: types.BaseChannel | None = None,
        champion: types.BaseChannel | None = None,
        schema: types.BaseChannel | None = None,
        engine: str = "local",
        split: str = "test",
    ):
        """Describes the evaluation.

        Args:
          examples: Examples with the split.
          model: The candidate: Model with `Format-Serving/tflite` and `model.json`.
          teacher: Model with a SavedModel (signature `raw`) or a TFLite file, and
            `model.json`.
          task: What is predicted; must agree with the models.
          options: When the candidate is good enough.
          student: The float network the candidate was made from; shown, not judged.
          champion: The deployed Model; its int custom property `present` is 0 when
            nothing is deployed yet.
          schema: Names the columns that can be sliced by, so that a misspelt one is
            an error before anything runs.
          engine: `local` (in this process; anything it does not reproduce goes to
            Beam) or `beam` (with the component's beam_pipeline_args).
          split: Name of the split.
        """
        options = options or EvaluationOptions()
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                teacher=teacher,
                student=student,
                champion=champion,
                schema=schema,
                options=options.model_dump_json(),
                task=task.model_dump_json(),
                engine=engine,
                split=split,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
