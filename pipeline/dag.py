"""The pipeline: which components there are and what flows between them.

    ExampleGen ── StatisticsGen ── SchemaGen ── SchemaValidator ── DataGate
        │               │                            │                ┊
        │               └──────── Trainer ◄┄┄┄┄┄┄┄┄┄┄┼┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┘
        ├───────────────────────── │                 │
        ├────────────────────── Distiller            │
        ├─────────────────── TFLiteQuantizer    DeployedModel
        ├────────────────────── Evaluator ───────────┘
        └─────────────────────── Pusher

The same function serves every runner.
"""

from __future__ import annotations

import json

from tfx.components.schema_gen.component import SchemaGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.orchestration import data_types
from tfx.orchestration import metadata as tfx_metadata
from tfx.orchestration import pipeline as tfx_pipeline

from custom_components.data_gate.component import DataGate
from custom_components.deployed_model.component import DeployedModel
from custom_components.distiller.component import Distiller
from custom_components.evaluator.component import Evaluator
from custom_components.example_gen.component import ExampleGen
from custom_components.pusher.component import Pusher
from custom_components.schema_validator.component import SchemaValidator
from custom_components.statistics_gen.component import StatisticsGen
from custom_components.tflite_quantizer.component import TFLiteQuantizer
from custom_components.trainer.component import Trainer
from pipeline.config import Config


def create_pipeline(
    config: Config,
    *,
    root: str,
    deployed_version: str = "",
    metadata_path: str | None = None,
    data_path: data_types.RuntimeParameter | None = None,
) -> tfx_pipeline.Pipeline:
    """Builds the DAG.

    Args:
      config: What to do, paths absolute.
      root: Pipeline root: where artifacts go.
      deployed_version: What the registry's pointer names now, `''` for nothing; `CURRENT`
        where only the run itself can look.
      metadata_path: SQLite file of ML Metadata, for runners that need one.
      data_path: Lets every run choose its data; the path in the config is not looked at then.
    """
    kinds = json.dumps(config.kinds)
    example_gen = ExampleGen(
        config.data,
        fingerprint=None if data_path is None else "",
        kinds={**config.features, config.task.label: "label"},
        path=data_path,
        engine=config.engine,
    )
    examples = example_gen.outputs["examples"]
    statistics_gen = StatisticsGen(
        examples=examples,
        categorical_integers=[n for n, kind in config.kinds.items() if kind == "categorical"],
        engine=config.engine,
        images=[n for n, kind in config.kinds.items() if kind == "image"],
    )
    statistics = statistics_gen.outputs["statistics"]
    if config.validation.schema_path:
        schema_gen = ImportSchemaGen(schema_file=config.validation.schema_path)
    else:
        schema_gen = SchemaGen(statistics=statistics, infer_feature_shape=True)
    schema = schema_gen.outputs["schema"]
    deployed = DeployedModel(registry=config.deploy.path, version=deployed_version)
    validator = SchemaValidator(
        statistics=statistics,
        schema=schema,
        examples=examples,
        deployed_schema=deployed.outputs["schema"],
        deployed_statistics=deployed.outputs["statistics"],
        options=config.validation,
        task=config.task,
        kinds=config.kinds,
        curated=bool(config.validation.schema_path),
    )
    gate = DataGate(anomalies=validator.outputs["anomalies"])
    trainer = Trainer(
        examples=examples,
        statistics=statistics,
        task=config.task,
        kinds=kinds,
        preprocessing=config.preprocessing,
        options=config.teacher,
        seed=config.seed,
    )
    trainer.add_upstream_node(gate)
    distiller = Distiller(
        examples=examples,
        teacher=trainer.outputs["model"],
        task=config.task,
        student=config.student,
        options=config.distillation,
        seed=config.seed,
    )
    quantizer = TFLiteQuantizer(
        examples=examples,
        model=distiller.outputs["model"],
        teacher=trainer.outputs["model"],
        options=config.quantizer,
        seed=config.seed,
    )
    evaluator = Evaluator(
        examples=examples,
        schema=schema,
        model=quantizer.outputs["chosen"],
        teacher=trainer.outputs["model"],
        student=distiller.outputs["model"],
        champion=deployed.outputs["model"],
        options=config.evaluation,
        task=config.task,
        engine=config.engine,
    )
    pusher = Pusher(
        model=quantizer.outputs["chosen"],
        blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        examples=examples,
        schema=schema,
        statistics=statistics,
        registry=config.deploy.path,
    )
    return tfx_pipeline.Pipeline(
        pipeline_name=config.name,
        pipeline_root=root,
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            deployed,
            validator,
            gate,
            trainer,
            distiller,
            quantizer,
            evaluator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=(
            tfx_metadata.sqlite_metadata_connection_config(metadata_path) if metadata_path else None
        ),
        beam_pipeline_args=list(config.beam_args),
    )
