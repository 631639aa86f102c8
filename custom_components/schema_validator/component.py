"""SchemaValidator: is this data good enough to train on, and if not, why not?

A stock ExampleValidator asks whether each split fits the schema. This one also asks whether the
splits fit each other, whether all rows arrived, whether the label can be learned, and whether the
data is still what the deployed model was trained on. It answers with a verdict that has
reasons, and publishes it whatever it says: whoever trains refuses when it blocks
(`custom_components.data_gate`).

Inputs   statistics: ExampleStatistics; split `train` (else the first one) is learned from
         schema: inferred by SchemaGen, or curated
         examples (optional): for the row counts ExampleGen left in its custom properties
         deployed_schema, deployed_statistics (optional): of the deployed model, with the
         custom properties `present` (0 while there is none; taken as 1 when not set)
         and `version`
Outputs  anomalies: `Split-<name>/SchemaDiff.pb` per split, as the stock component
         writes it (TFDV's `anomalies_util.load_anomalies_binary` reads it), the train split's with
         TFDV's drift values in `drift_skew_info`; `verdict.json` (see verdict.py); custom
         properties `blocked` (0 or 1) and `state` (passed, warned, blocked)

The schema that judges is the curated one, else the deployed model's, else the inferred one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, channel_utils, component_spec, standard_artifacts

from custom_components.schema_validator import executor
from custom_components.schema_validator.options import ValidationOptions
from models.options import TaskOptions


class SchemaValidatorSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "options": component_spec.ExecutionParameter(type=str),
        "task": component_spec.ExecutionParameter(type=str),
        "kinds": component_spec.ExecutionParameter(type=str),
        "curated": component_spec.ExecutionParameter(type=int),
    }
    INPUTS = {
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "examples": component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
        "deployed_schema": component_spec.ChannelParameter(
            type=standard_artifacts.Schema, optional=True
        ),
        "deployed_statistics": component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }
    OUTPUTS = {
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)
    }


class SchemaValidator(base_component.BaseComponent):
    """Judges the data before anything is trained on it.

    Args:
      statistics: Of the examples, with 100 quantiles and rank histograms of all values for the
        sharpest drift measures; fewer work, less exactly.
      schema: Inferred or curated.
      task: Label and kind of problem.
      kinds: Column to `numeric`, `categorical` or `ignore`, as JSON or mapping. Columns that are
        ignored or not named are told about and not judged (but for a new column that is
        not named); empty: all are judged.
      options: Thresholds, and what to do per reason code.
      curated: Whether the schema is the user's own: then it is the one that judges.
      examples: Where the rows are; adds their reconciliation.
      deployed_schema: Of the deployed model.
      deployed_statistics: Of the deployed model's train split.
    """

    SPEC_CLASS = SchemaValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        statistics: channel.BaseChannel,
        schema: channel.BaseChannel,
        task: TaskOptions,
        kinds: str | Mapping[str, str] = "{}",
        options: ValidationOptions | None = None,
        curated: bool = False,
        examples: channel.BaseChannel | None = None,
        deployed_schema: channel.BaseChannel | None = None,
        deployed_statistics: channel.BaseChannel | None = None,
    ):
        super().__init__(
            SchemaValidatorSpec(
                statistics=statistics,
                schema=schema,
                examples=examples,
                deployed_schema=deployed_schema,
                deployed_statistics=deployed_statistics,
                task=task.model_dump_json(),
                kinds=kinds if isinstance(kinds, str) else json.dumps(dict(kinds)),
                options=(options or ValidationOptions()).model_dump_json(),
                curated=int(curated),
                anomalies=channel_utils.as_channel([standard_artifacts.ExampleAnomalies()]),
            )
        )
