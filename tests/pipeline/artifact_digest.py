"""Reads every kind of artifact of a finished run and prints what it found, as JSON.

    python -m tests.pipeline.artifact_digest FOLDER_OF_FLYWHEEL_YAML

One stack runs it over what the other wrote: equal digests mean equal reading.
"""

from __future__ import annotations

import json
import pathlib
import sys

from models import stack

stack.prepare_environment()

import numpy as np  # noqa: E402
import tensorflow_data_validation as tfdv  # noqa: E402
import tensorflow_model_analysis as tfma  # noqa: E402

from models import bundle, examples  # noqa: E402
from models.graph import Preprocessor  # noqa: E402
from models.predictor import SERVING_FOLDER, Predictor, SavedModelRunner, TFLiteRunner  # noqa: E402
from models.rows import preprocess  # noqa: E402
from models.training import predict_logits  # noqa: E402
from pipeline.runs import RunStore  # noqa: E402
from pipeline.workspace import Workspace  # noqa: E402

_ROWS = 200


def digest(folder: pathlib.Path) -> dict:
    """What is in the last run's artifacts, as plain numbers and names."""
    workspace = Workspace(folder / ".flywheel")
    run = RunStore(workspace).load(workspace.run_ids()[0])
    uri = {
        f"{name}.{key}": pathlib.Path(artifact.uri)
        for name, component in run.components.items()
        for key, artifact in component.outputs.items()
    }
    found: dict = {"components": {name: c.state for name, c in run.components.items()}}
    statistics = tfdv.load_stats_binary(
        str(uri["StatisticsGen.statistics"] / "Split-train" / "FeatureStats.pb")
    ).datasets[0]
    found["rows"] = statistics.num_examples
    found["means"] = {
        f.path.step[0]: f.num_stats.mean for f in statistics.features if f.HasField("num_stats")
    }
    schema = tfdv.load_schema_text(str(uri["SchemaGen.schema"] / "schema.pbtxt"))
    found["schema"] = sorted(f.name for f in schema.feature)
    teacher_folder = str(uri["Trainer.model"])
    spec, _, teacher = bundle.load(teacher_folder)
    _, _, student = bundle.load(str(uri["Distiller.model"]))
    test = preprocess(
        spec,
        examples.read_split(str(uri["ExampleGen.examples"] / "Split-test")),
        Preprocessor(spec),
        keep_inputs=True,
    )
    found["labels"] = float(np.nansum(test.labels))
    first = {name: values[:_ROWS] for name, values in test.inputs.items()}
    found["answers"] = {
        "teacher network": predict_logits(teacher, spec, test)[:_ROWS, 0].tolist(),
        "student network": predict_logits(student, spec, test)[:_ROWS, 0].tolist(),
        "teacher SavedModel": Predictor(
            spec, SavedModelRunner(f"{teacher_folder}/{SERVING_FOLDER}")
        )
        .predict_inputs(first)[:, 0]
        .tolist(),
        **{
            path.name: Predictor(spec, TFLiteRunner(path)).predict_inputs(first)[:, 0].tolist()
            for path in sorted(uri["TFLiteQuantizer.variants"].glob("*.tflite"))
        },
    }
    evaluation = tfma.load_eval_result(str(uri["Evaluator.evaluation"]), model_name="shipped")
    found["slices"] = len(evaluation.slicing_metrics)
    found["auc"] = evaluation.get_metrics_for_slice()["auc"]["doubleValue"]
    return found


if __name__ == "__main__":
    print(json.dumps(digest(pathlib.Path(sys.argv[1]))))
