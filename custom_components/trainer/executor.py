"""Trains the teacher from the validated train split."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow_data_validation as tfdv
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from models import bundle, examples, feeds, images, progress
from models.errors import DataError
from models.graph import Preprocessor
from models.options import PreprocessingOptions, TaskOptions, TeacherOptions
from models.preprocessing import build_spec
from models.rows import preprocess
from models.spec import ImageFeature
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
        kinds = json.loads(exec_properties["kinds"])
        spec = build_spec(
            tfdv.load_stats_binary(os.path.join(statistics, "FeatureStats.pb")),
            kinds,
            task,
            PreprocessingOptions.model_validate_json(exec_properties["preprocessing"]),
            _image(kinds, artifact_utils.get_split_uri(data, "train")),
        )
        progress.doing("reading examples")
        preprocessor = Preprocessor(spec)
        rows = {
            split: preprocess(
                spec,
                examples.sample_split(artifact_utils.get_split_uri(data, split), most, seed),
                preprocessor,
            )
            for split, most in task.most().items()
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
                **({"image": dataclasses.asdict(spec.image)} if spec.image else {}),
                "unused": sorted(
                    name
                    for name, kind in kinds.items()
                    if kind != "ignore"
                    and name != spec.label
                    and name not in {f.name for f in spec.features}
                ),
            },
        }
        with open(os.path.join(folder, REPORT_FILE), "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)


def _image(kinds: Mapping[str, str], folder: str) -> ImageFeature | None:
    """The picture among the features, in the size of the first one: ExampleGen made them equal.

    Raises:
      DataError: UNREADABLE_IMAGE, NO_FEATURES when there is none in the train split.
    """
    name = next((name for name, kind in kinds.items() if kind == "image"), None)
    if name is None:
        return None
    for batch in examples.read_split(folder):
        for content in feeds.flat_column(batch, name).drop_null().to_pylist():
            try:
                return ImageFeature(name, *images.shape(content))
            except images.Undecodable as error:
                case = {"row": 0, "column": name, "problem": str(error)}
                raise images.unreadable([case], batch.num_rows) from error
    raise DataError(
        "NO_FEATURES",
        f"Column `{name}` is configured as an image and is empty in the train split.",
        next="Name the column that holds the images under `features` in flywheel.yaml.",
    )
