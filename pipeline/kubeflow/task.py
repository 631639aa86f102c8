"""Runs one executor on what Kubeflow hands to a task. Imports TFX."""

from __future__ import annotations

import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import lean_imports
from pipeline.kubeflow import runtime_artifacts, uris
from pipeline.kubeflow.bucket import fetch_data
from pipeline.kubeflow.bucket_registry import BucketRegistry
from pipeline.kubeflow.spec import RUN_ID

#: Exec properties that name data outside the pipeline: ours, and of TFX's file-based ExampleGen.
_DATA = ("path", "input_base")
_REGISTRY = "registry"


def run(
    executor_class_path: str,
    *,
    executor_input: Mapping[str, Any],
    inputs_spec: Mapping[str, Any],
    beam_arguments: Sequence[str] = (),
    lean: bool = False,
) -> None:
    """Runs the executor and leaves what the backend reads.

    Args:
      executor_class_path: `module.Class`.
      executor_input: KFP's ExecutorInput, as JSON.
      inputs_spec: The component's ComponentInputsSpec, as JSON.
      beam_arguments: For executors on Beam.
      lean: Leave out what only Beam needs of TFX's imports.
    """
    if lean:
        lean_imports.install()
    with lean_imports.without_collector():
        from tfx.utils import import_utils

        executor_class = import_utils.import_class_by_path(executor_class_path)
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        _Task(executor_class, executor_input, inputs_spec, pathlib.Path(scratch)).run(
            list(beam_arguments)
        )


class _Task:
    def __init__(
        self,
        executor_class: type,
        executor_input: Mapping[str, Any],
        inputs_spec: Mapping[str, Any],
        scratch: pathlib.Path,
    ):
        inputs, outputs = executor_input.get("inputs", {}), executor_input.get("outputs", {})
        parameters = dict(inputs.get("parameterValues", {}))
        self._run_id = str(parameters.pop(RUN_ID, ""))
        self._executor_class = executor_class
        self._inputs_spec = inputs_spec
        self._output_file = uris.to_path(outputs["outputFile"])
        self._scratch = scratch
        self._input: dict[str, Any] = {
            "inputs": {
                "artifacts": runtime_artifacts.localize_inputs(
                    inputs.get("artifacts", {}), inputs_spec.get("artifacts", {})
                ),
                "parameterValues": self._with_local_data(parameters),
            },
            "outputs": {
                "artifacts": runtime_artifacts.localize_outputs(outputs.get("artifacts", {})),
                "parameters": outputs.get("parameters", {}),
                "outputFile": self._output_file,
            },
        }

    def run(self, beam_arguments: list[str]) -> None:
        """From input to output file."""
        from tfx.orchestration.portable import outputs_utils

        self._prepare_outputs()
        if self._has_driver():
            self._run_driver()
        names: dict[int, str] = {}
        inputs, outputs, properties = self._parsed(names)
        registry = self._fetch_registry(properties)
        executor = self._executor_class(self._context(beam_arguments))
        executor.Do(inputs, outputs, properties)
        if registry is not None and "pushed_model" in outputs:
            registry.put()
            registry.correct(pathlib.Path(outputs["pushed_model"][0].uri))
        outputs_utils.tag_output_artifacts_with_version(outputs)
        self._write(outputs, names)

    def _with_local_data(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Data in a bucket is copied here: no launcher does it for what is no artifact."""
        for key in _DATA:
            value = parameters.get(key)
            if isinstance(value, str) and "://" in value:
                folder = self._scratch / f"data-{key}"
                folder.mkdir()
                parameters[key] = fetch_data(value, folder)
        return parameters

    def _prepare_outputs(self) -> None:
        """Folders to write into, and nothing of an earlier attempt in them."""
        for entry in self._input["outputs"]["artifacts"].values():
            for artifact in entry["artifacts"]:
                shutil.rmtree(artifact["uri"], ignore_errors=True)
                os.makedirs(artifact["uri"])
        os.makedirs(os.path.dirname(self._output_file), exist_ok=True)
        pathlib.Path(self._output_file).unlink(missing_ok=True)

    def _has_driver(self) -> bool:
        """Whether it is a file-based ExampleGen: its driver finds span, version and files."""
        from tfx.components.example_gen.base_example_gen_executor import BaseExampleGenExecutor

        return (
            issubclass(self._executor_class, BaseExampleGenExecutor)
            and "input_base" in self._input["inputs"]["parameterValues"]
        )

    def _run_driver(self) -> None:
        """Runs TFX's driver here and takes over what it found."""
        import argparse

        from tfx.orchestration.kubeflow.v2.file_based_example_gen import driver

        driver.main(
            argparse.Namespace(
                json_serialized_invocation_args=json.dumps(self._input),
                json_serialized_inputs_spec_args=json.dumps(self._inputs_spec),
            )
        )
        found = json.loads(pathlib.Path(self._output_file).read_text("utf-8"))
        self._input["inputs"]["parameterValues"].update(found.get("parameterValues", {}))
        for key, entry in found.get("artifacts", {}).items():
            for mine, its in zip(
                self._input["outputs"]["artifacts"][key]["artifacts"],
                entry["artifacts"],
                strict=True,
            ):
                mine.setdefault("metadata", {}).update(its.get("metadata", {}))
        os.unlink(self._output_file)

    def _parsed(self, names: dict[int, str]) -> tuple[Any, Any, dict[str, Any]]:
        """TFX's artifacts and exec properties."""
        from google.protobuf import json_format
        from kfp.pipeline_spec import pipeline_spec_pb2
        from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils

        message = pipeline_spec_pb2.ExecutorInput()
        json_format.ParseDict(self._input, message, ignore_unknown_fields=True)
        spec = pipeline_spec_pb2.ComponentInputsSpec()
        json_format.ParseDict(self._inputs_spec, spec, ignore_unknown_fields=True)
        return (
            utils.parse_raw_artifact_dict(message.inputs.artifacts, names),
            utils.parse_raw_artifact_dict(message.outputs.artifacts, names),
            utils.parse_execution_properties(message.inputs.parameter_values, {}, spec),
        )

    def _fetch_registry(self, properties: dict[str, Any]) -> BucketRegistry | None:
        address = properties.get(_REGISTRY)
        if not isinstance(address, str) or "://" not in address:
            return None
        folder = self._scratch / "registry"
        folder.mkdir()
        registry = BucketRegistry(address, folder)
        registry.fetch()
        properties[_REGISTRY] = str(folder)
        return registry

    def _context(self, beam_arguments: list[str]) -> Any:
        from tfx.dsl.components.base import base_beam_executor, base_executor

        common = {
            "tmp_dir": str(self._scratch / "tmp"),
            "unique_id": os.path.basename(os.path.dirname(self._output_file)),
            "pipeline_run_id": self._run_id,
        }
        if issubclass(self._executor_class, base_beam_executor.BaseBeamExecutor):
            return base_beam_executor.BaseBeamExecutor.Context(
                beam_pipeline_args=beam_arguments, **common
            )
        return base_executor.BaseExecutor.Context(extra_flags=beam_arguments, **common)

    def _write(self, outputs: dict[str, Any], names: dict[int, str]) -> None:
        """The ExecutorOutput, complete before it is visible."""
        from google.protobuf import json_format
        from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils as utils
        from tfx.types import standard_artifacts, value_artifact

        for artifacts in outputs.values():
            for artifact in artifacts:
                if isinstance(artifact, standard_artifacts.ModelBlessing):
                    _name_models(artifact, names)
                for value in artifact.mlmd_artifact.custom_properties.values():
                    # What TFX or protobuf's JSON cannot write.
                    if value.WhichOneof("value") == "bool_value":
                        value.int_value = int(value.bool_value)
                    elif not math.isfinite(value.double_value):
                        value.string_value = str(value.double_value)
        result: dict[str, Any] = {
            "artifacts": runtime_artifacts.publish_outputs(
                {
                    key: json_format.MessageToDict(entry)
                    for key, entry in utils.translate_executor_output(outputs, names).items()
                }
            ),
            "parameterValues": {
                key: outputs[key][0].read()
                for key in self._input["outputs"]["parameters"]
                if key in outputs and isinstance(outputs[key][0], value_artifact.ValueArtifact)
            },
        }
        temporary = f"{self._output_file}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(result, file, allow_nan=False)
        os.replace(temporary, self._output_file)


def _name_models(blessing: Any, names: Mapping[int, str]) -> None:
    """Models in a blessing are named by the store's names: its numbers mean nothing there."""
    from tfx.components.evaluator import constants

    for key in (
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY,
        constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY,
    ):
        if blessing.has_custom_property(key):
            number = blessing.get_int_custom_property(key)
            blessing.set_string_custom_property(key, names.get(number, str(number)))
