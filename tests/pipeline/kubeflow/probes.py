"""Executors that say what they were given."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from tfx.dsl.components.base import base_executor

from models.errors import DataError
from models.registry import Registry


class Probe(base_executor.BaseExecutor):
    """Writes what it got, and metadata of every kind."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        [model] = output_dict["model"]
        seen = {
            "inputs": {
                key: {
                    "type": artifacts[0].type_name,
                    "uri": artifacts[0].uri,
                    "files": sorted(os.listdir(artifacts[0].uri)),
                    "rows": artifacts[0].get_int_custom_property("rows"),
                    "tags": artifacts[0].get_json_value_custom_property("tags"),
                    "source": artifacts[0].get_string_custom_property("source"),
                }
                for key, artifacts in input_dict.items()
            },
            "properties": {key: [type(v).__name__, v] for key, v in exec_properties.items()},
            "run": self._context.pipeline_run_id,
        }
        with open(os.path.join(model.uri, "seen.json"), "w", encoding="utf-8") as file:
            json.dump(seen, file)
        model.set_string_custom_property("made_from", input_dict["examples"][0].uri)
        model.set_int_custom_property("rows", 12)
        model.set_bool_custom_property("good", True)
        model.set_float_custom_property("loss", float("nan"))
        model.set_json_value_custom_property("tags", ["a", "b"])


class Reader(base_executor.BaseExecutor):
    """Copies the file that its property `path` names."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        shutil.copy(exec_properties["path"], output_dict["model"][0].uri)


class Blocked(base_executor.BaseExecutor):
    """Refuses the data."""

    def Do(self, *_: Any) -> None:
        raise DataError("COLUMN_MISSING", "The column `fare` is missing.", next="Bring it back.")


class Broken(base_executor.BaseExecutor):
    """Has a mistake in it."""

    def Do(self, *_: Any) -> None:
        raise ValueError("two of them")


class Push(base_executor.BaseExecutor):
    """Moves the registry's pointer, as the Pusher does."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        registry = Registry(exec_properties["registry"])
        name = f"after-{registry.current()}"
        folder = registry.folder(name)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}", encoding="utf-8")
        registry._point_to(name, "pushed", self._context.pipeline_run_id)
        note = {"version": name, "path": str(folder), "new": True, "previous": None}
        with open(
            os.path.join(output_dict["pushed_model"][0].uri, "push.json"), "w", encoding="utf-8"
        ) as file:
            json.dump(note, file)
