"""The Evaluator in a TFX pipeline of someone else, before the stock Pusher."""

from __future__ import annotations

import os

import pytest
from test_evaluator_fixtures import BINARY, WEIGHTS, make_examples, make_model, make_table
from tfx.components import Pusher
from tfx.dsl.components.common import importer
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from custom_components.evaluator.component import Evaluator
from custom_components.evaluator.options import EvaluationOptions
from custom_components.evaluator.verdict import Verdict
from models.options import TaskOptions


@pytest.mark.parametrize("good", [True, False], ids=["blessed", "refused"])
def test_only_a_blessed_model_is_pushed_by_the_stock_pusher(tmp_path, good):
    rows = make_examples(tmp_path / "examples", {"test": make_table(BINARY, 400, 1)})
    weights = WEIGHTS["binary"] if good else -WEIGHTS["binary"]
    model = make_model(tmp_path / "model", BINARY, weights)
    teacher = make_model(tmp_path / "teacher", BINARY, saved_model=True)

    def imported(name, artifact, cls, **details):
        return importer.Importer(
            source_uri=artifact.uri, artifact_type=cls, reimport=True, **details
        ).with_id(name)

    examples_node = imported(
        "examples",
        rows,
        standard_artifacts.Examples,
        properties={"split_names": rows.split_names},
        custom_properties={"payload_format": "FORMAT_TF_EXAMPLE", "file_format": "tfrecords_gzip"},
    )
    model_node = imported("model", model, standard_artifacts.Model)
    teacher_node = imported("teacher", teacher, standard_artifacts.Model)
    champion_node = imported(
        "champion", teacher, standard_artifacts.Model, custom_properties={"present": 0}
    )
    evaluator = Evaluator(
        examples=examples_node.outputs["result"],
        model=model_node.outputs["result"],
        teacher=teacher_node.outputs["result"],
        champion=champion_node.outputs["result"],
        task=TaskOptions(label="tip", type="binary"),
        options=EvaluationOptions(slices=(("hour",),), min_slice_rows=20),
    )
    pushed = tmp_path / "pushed"
    pusher = Pusher(
        model=model_node.outputs["result"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(pushed))
        ),
    )
    LocalDagRunner().run(
        pipeline.Pipeline(
            pipeline_name="theirs",
            pipeline_root=str(tmp_path / "root"),
            components=[
                examples_node,
                model_node,
                teacher_node,
                champion_node,
                evaluator,
                pusher,
            ],
            metadata_connection_config=metadata.sqlite_metadata_connection_config(
                str(tmp_path / "metadata.sqlite")
            ),
        )
    )
    (folder,) = (tmp_path / "root" / "Evaluator" / "evaluation").iterdir()
    verdict = Verdict.load(folder)
    assert verdict.blessed is good
    assert "NO_BASELINE" in {reason.code for reason in verdict.reasons}
    assert (pushed.exists() and bool(os.listdir(pushed))) is good
