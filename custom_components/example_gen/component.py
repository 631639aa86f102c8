"""ExampleGen: a table becomes train, eval and test examples."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import component_spec, standard_artifacts

from custom_components.example_gen import executor
from custom_components.example_gen.fingerprint import fingerprint as fingerprint_of
from custom_components.example_gen.options import DataOptions


class ExampleGenSpec(component_spec.ComponentSpec):
    """Contract of `ExampleGen`."""

    PARAMETERS = {
        executor.OPTIONS_KEY: component_spec.ExecutionParameter(type=str),
        executor.FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
        executor.KINDS_KEY: component_spec.ExecutionParameter(type=str),
        executor.PATH_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        executor.ENGINE_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {
        executor.EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }


class ExampleGen(base_beam_component.BaseBeamComponent):
    """Reads CSV, Parquet or TFRecord and writes standard examples in three splits.

    It stands where TFX's CsvExampleGen does; Beam is a choice. What it reads, how it types columns
    and how it splits is described in `reader`, `column_types` and `split`.

    Outputs:
      examples: `Examples` with the splits train, eval and test, each one gzip TFRecord of
        tf.Example. All columns of the data are in it, derived ones too. Custom properties:
        `rows_read`, `rows_train`, `rows_eval`, `rows_test`, `fingerprint`.

    The fingerprint of the content is part of the execution: on unchanged data and options TFX's
    cache answers, on changed data it never does.

        ExampleGen(DataOptions(path="trips/*.csv"), kinds={"fare": "numeric", "tip": "label"})

    Args:
      options: Where the rows are, derived columns and the split; or its JSON.
      fingerprint: Of the data's content; computed here by default. Pass `""` where the data is not
        on the machine that builds the pipeline; it is then computed in the run, and caching must be
        off, because TFX cannot see the data change.
      kinds: What columns are configured as: `numeric`, `categorical`, `ignore` or `label`.
      path: Where the rows are when the component runs, instead of the path in the options; a
        RuntimeParameter lets every run choose it. Needs `fingerprint=""`.
      engine: `local`, or `beam`: each file of the table is encoded by a Beam worker; after one look
        at the whole table here, which decides about types and splits.

    Raises:
      ConfigError: NO_SUCH_FILE, NO_SUCH_DEMO, DEMO_NOT_INSTALLED.
    """

    SPEC_CLASS = ExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        options: DataOptions | str,
        fingerprint: str | None = None,
        kinds: Mapping[str, str] | None = None,
        path: str | data_types.RuntimeParameter | None = None,
        engine: str = "local",
    ):
        if isinstance(options, str):
            options = DataOptions.model_validate_json(options)
        if fingerprint is None:
            fingerprint = fingerprint_of(options.path)
        super().__init__(
            spec=ExampleGenSpec(
                options=options.model_dump_json(),
                fingerprint=fingerprint,
                kinds=json.dumps(dict(kinds or {}), sort_keys=True, ensure_ascii=False),
                path=path,
                engine=engine,
                examples=types.Channel(type=standard_artifacts.Examples),
            )
        )
