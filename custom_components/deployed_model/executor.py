"""Copies the deployed version into artifacts."""

from __future__ import annotations

import os
import shutil
from typing import Any

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from models.predictor import SERVING_FOLDER, TFLITE_FILE
from models.registry import MODEL_FILE, POINTER, Registry
from models.spec import SPEC_FILE

_STATISTICS = os.path.join("Split-train", "FeatureStats.pb")


class Executor(base_executor.BaseExecutor):
    """See component.py for the contract."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        registry = Registry(exec_properties["registry"])
        version = exec_properties["version"]
        if version == POINTER:
            version = registry.current() or ""
        for artifacts in output_dict.values():
            os.makedirs(artifacts[0].uri, exist_ok=True)
            artifacts[0].set_int_custom_property("present", int(bool(version)))
            artifacts[0].set_string_custom_property("version", version)
        statistics = artifact_utils.get_single_instance(output_dict["statistics"])
        statistics.split_names = artifact_utils.encode_split_names(["train"])
        if not version:
            return
        source = registry.folder(version)
        model = artifact_utils.get_single_uri(output_dict["model"])
        schema = artifact_utils.get_single_uri(output_dict["schema"])
        _copy(source / MODEL_FILE, os.path.join(model, SERVING_FOLDER, TFLITE_FILE))
        _copy(source / SPEC_FILE, os.path.join(model, SPEC_FILE))
        _copy(source / "schema.pbtxt", os.path.join(schema, "schema.pbtxt"))
        _copy(source / "statistics" / _STATISTICS, os.path.join(statistics.uri, _STATISTICS))


def _copy(source: os.PathLike[str], target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)
