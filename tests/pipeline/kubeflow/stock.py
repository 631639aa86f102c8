"""TFX's compiler as it comes, on our pipeline and on one of stock components. Imports TFX.

Without `from __future__ import annotations`: TFX's `@component` reads annotations as objects.
"""

import json
import pathlib
from typing import Any

from tfx.components import CsvExampleGen, Pusher, StatisticsGen, Trainer
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common import resolver
from tfx.dsl.input_resolution.strategies import latest_artifact_strategy
from tfx.orchestration import data_types
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow import decorators
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner
from tfx.proto import pusher_pb2, trainer_pb2
from tfx.types import channel, standard_artifacts

from pipeline.config import Config
from pipeline.dag import create_pipeline
from pipeline.kubeflow.document import Document, read

_ROOT = "minio://mlpipeline/v2/artifacts"


@component
def CountRows(
    examples: InputArtifact[standard_artifacts.Examples],
    rows: OutputArtifact[standard_artifacts.Integer],
) -> None:
    """Its output becomes a property of the next one."""
    rows.value = len(examples.uri)


@component
def TellRows(rows: Parameter[int]) -> None:
    """Takes a property from another task."""
    print(rows)


@decorators.exit_handler
def TellEnd(final_status: Parameter[str]) -> None:
    """Takes the end state."""
    print(final_status)


def ours(config: Config, folder: pathlib.Path, extension: str = "json") -> Document:
    """Our pipeline with the stock settings."""
    return _compile(create_pipeline(config, root=_ROOT), folder, extension)


def of_stock_components(folder: pathlib.Path, extension: str = "json") -> Document:
    """A pipeline as TFX's tutorials have it."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    (data / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    module = folder / "trainer_module.py"
    module.write_text("def run_fn(fn_args):\n    pass\n", encoding="utf-8")
    examples = CsvExampleGen(
        input_base=data_types.RuntimeParameter("data-root", str, default=str(data))
    )
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    latest = resolver.Resolver(
        strategy_class=latest_artifact_strategy.LatestArtifactStrategy,
        model=channel.Channel(type=standard_artifacts.Model),
    ).with_id("latest_model")
    trainer = Trainer(
        module_file=str(module),
        examples=examples.outputs["examples"],
        base_model=latest.outputs["model"],
        train_args=trainer_pb2.TrainArgs(num_steps=1),
        eval_args=trainer_pb2.EvalArgs(num_steps=1),
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory="/serving")
        ),
    )
    counted = CountRows(examples=examples.outputs["examples"])
    told = TellRows(rows=counted.outputs["rows"].future()[0].value)
    # The root is where TFX puts the wheel it builds of the module, while it compiles.
    pipeline = tfx_pipeline.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(folder / "root"),
        components=[examples, statistics, latest, trainer, pusher, counted, told],
        enable_cache=True,
    )
    handler = TellEnd(final_status=decorators.FinalStatusStr()).with_id("TellEnd")
    return _compile(pipeline, folder, extension, handler)


def _compile(
    pipeline: tfx_pipeline.Pipeline, folder: pathlib.Path, extension: str, handler: Any = None
) -> Document:
    name = f"{pipeline.pipeline_info.pipeline_name}.{extension}"
    settings = runner.KubeflowV2DagRunnerConfig(
        default_image="registry.example/tfx:1", use_pipeline_spec_2_1=extension == "yaml"
    )
    compiler = runner.KubeflowV2DagRunner(settings, output_dir=str(folder), output_filename=name)
    if handler is not None:
        compiler.set_exit_handler(handler)
    compiler.run(pipeline)
    return read(folder / name)


def as_text(document: Document) -> str:
    """For a look at what went wrong."""
    return json.dumps(document.pipeline, indent=1)
