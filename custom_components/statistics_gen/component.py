"""StatisticsGen: what is in each column of each split."""

from __future__ import annotations

from collections.abc import Iterable

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from custom_components.statistics_gen import executor
from custom_components.statistics_gen.options import StatisticsOptions


class StatisticsGenSpec(component_spec.ComponentSpec):
    """Contract of `StatisticsGen`."""

    PARAMETERS = {executor.OPTIONS_KEY: component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }
    OUTPUTS = {
        executor.STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics
        )
    }


class StatisticsGen(base_beam_component.BaseBeamComponent):
    """TFX's StatisticsGen without Beam, and with its limits lifted.

    The numbers are those of TFDV. Unlike by default, all values of a categorical column are kept
    with their counts (up to 50,000), integers may be categories, and quantiles are percentiles, so
    vocabularies and preprocessing can be built from the statistics alone.

        StatisticsGen(example_gen.outputs["examples"], categorical_integers=["zip_code"])

    Inputs:
      examples: `Examples` of any ExampleGen.

    Outputs:
      statistics: `ExampleStatistics`, one `Split-<name>/FeatureStats.pb` (binary
        DatasetFeatureStatisticsList) per split, as TFX's own component writes it.

    Args:
      examples: Channel of examples.
      categorical_integers: Columns whose integers are names, not amounts.
      engine: `local`, or `beam` for TFX's own executor with the same options.
      images: Columns of images.
    """

    SPEC_CLASS = StatisticsGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        categorical_integers: Iterable[str] = (),
        engine: str = "local",
        images: Iterable[str] = (),
    ):
        options = StatisticsOptions(
            engine=engine,
            categorical_integers=tuple(sorted(categorical_integers)),
            images=tuple(sorted(images)),
        )
        super().__init__(
            spec=StatisticsGenSpec(
                examples=examples,
                options=options.model_dump_json(),
                statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
            )
        )
