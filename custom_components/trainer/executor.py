"""Trains the teacher from the validated train split."""

from __future__ import annotations

import json
import os
from typing import Any

import tensorflow_data_validation as tfdv
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from models import bundle, examples, progress
from models.graph import Preprocessor
from models.options import PreprocessingOptions, TaskOptions, TeacherOptions
from models.preprocessing import build_spec
from models.rows import preprocess
from models.student import USUAL_TEACHER_EPOCHS, train

REPORT_FILE = "training.json"


class Executor(base_executor.BaseExecutor):
    """See component.py for the contract."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        data = input_dict["examples"]
        statistics = artifact_utils.get_split_uri(input_dict["statistics"], "train")
        task = TaskOptions.model_validate_json(exec_properties["task"])
        options = TeacherOptions.model_validate_json(exec_properties["options"])
        seed = exec_properties["seed"]
        spec = build_spec(
            tfdv.load_stats_binary(os.path.join(statistics, "FeatureStats.pb")),
            json.loads(exec_properties["kinds"]),
            task,
            PreprocessingOptions.model_validate_json(exec_properties["preprocessing"]),
        )
        progress.doing("reading examples")
        preprocessor = Preprocessor(spec)
        rows = {
            split: preprocess(
                spec,
                examples.read_split(artifact_utils.get_split_uri(data, split)),
                preprocessor,
            )
            for split in ("train", "eval")
        }
        options = options.for_rows(len(rows["train"]))
        teacher = train(
            spec,
            rows["train"],
            rows["eval"],
            options,
            name="teacher",
            usual_epochs=USUAL_TEACHER_EPOCHS,
            balanced=task.class_weights == "balanced",
            seed=seed,
        )
        progress.doing("saving the teacher")
        bundle.save(
            artifact_utils.get_single_uri(output_dict["model"]), spec, options, teacher.network
        )
        folder = artifact_utils.get_single_uri(output_dict["model_run"])
        os.makedirs(folder, exist_ok=True)
        report = {
            **teacher.report(),
            "rows": {split: len(part) for split, part in rows.items()},
            "features": {
                "numeric": [f.name for f in spec.numeric],
                "categorical": {f.name: len(f.vocabulary) for f in spec.categorical},
                "unused": sorted(
                    name
                    for name, kind in json.loads(exec_properties["kinds"]).items()
                    if kind != "ignore"
                    and name != spec.label
                    and name not in {f.name for f in spec.features}
                ),
            },
        }
        with open(os.path.join(folder, REPORT_FILE), "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
