"""Checks and publishes a blessed model."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pyarrow as pa
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from custom_components.evaluator.verdict import Verdict
from models import examples, feeds, golden, progress
from models.predictor import SERVING_FOLDER, TFLITE_FILE, Predictor
from models.registry import MODEL_FILE, Registry
from models.spec import SPEC_FILE

PUSH_FILE = "push.json"
GOLDEN_REQUESTS = 20


class Executor(base_executor.BaseExecutor):
    """See component.py for the contract."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        os.makedirs(pushed.uri, exist_ok=True)
        blessing = artifact_utils.get_single_instance(input_dict["blessing"])
        blessed = blessing.get_int_custom_property("blessed") == 1
        pushed.set_int_custom_property("pushed", int(blessed))
        if not blessed:
            pushed.set_string_custom_property("version", "")
            return
        model = artifact_utils.get_single_uri(input_dict["model"])
        statistics = artifact_utils.get_split_uri(input_dict["statistics"], "train")
        schema = artifact_utils.get_single_uri(input_dict["schema"])
        data = artifact_utils.get_single_instance(input_dict["examples"])
        verdict = Verdict.load(artifact_utils.get_single_uri(input_dict["evaluation"]))
        progress.doing("recording golden requests")
        predictor = Predictor.load(model)
        batch = next(examples.read_split(artifact_utils.get_split_uri([data], "test")))
        rows = pa.Table.from_batches([batch]).slice(0, GOLDEN_REQUESTS)
        progress.doing("checking the file in a separate process")
        registry = Registry(exec_properties["registry"])
        before = registry.current()
        version, new = registry.publish(
            {
                MODEL_FILE: os.path.join(model, SERVING_FOLDER, TFLITE_FILE),
                SPEC_FILE: os.path.join(model, SPEC_FILE),
                "schema.pbtxt": os.path.join(schema, "schema.pbtxt"),
                "statistics/Split-train/FeatureStats.pb": os.path.join(
                    statistics, "FeatureStats.pb"
                ),
                golden.GOLDEN_FILE: golden.record(predictor, feeds.encode(predictor.spec, rows)),
            },
            {
                "run_id": self._context.pipeline_run_id if self._context else "",
                "data_fingerprint": data.get_string_custom_property("fingerprint"),
                "metrics": verdict.metrics.get("shipped", {}),
            },
        )
        pushed.set_string_custom_property("version", version)
        folder = registry.folder(version)
        shutil.copytree(folder, pushed.uri, dirs_exist_ok=True)
        with open(os.path.join(pushed.uri, PUSH_FILE), "w", encoding="utf-8") as file:
            json.dump(
                {"version": version, "path": str(folder), "new": new, "previous": before}, file
            )
