"""DeployedModel: the champion, as artifacts.

Reads the registry's pointer and copies the deployed version into the pipeline, so
that drift is measured against it and a candidate is compared with it. (A TFX
Resolver does the same locally, and does not exist on open-source Kubeflow.)

Outputs  model (Model), schema (Schema), statistics (ExampleStatistics), each with
         the custom properties `present` (0: nothing deployed yet, the folder is
         empty) and `version`
"""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel_utils, component_spec, standard_artifacts

from custom_components.deployed_model import executor


class DeployedModelSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        "registry": component_spec.ExecutionParameter(type=str),
        "version": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }


class DeployedModel(base_component.BaseComponent):
    """Brings the deployed version into the pipeline.

    Args:
      registry: Folder of deployed versions.
      version: The deployed version when the pipeline is built (`''`: none), so
        that the same champion is a cache hit; or `CURRENT`: whatever the pointer
        names when the component runs, which then must never come from a cache.
    """

    SPEC_CLASS = DeployedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, registry: str, version: str):
        super().__init__(
            DeployedModelSpec(
                registry=registry,
                version=version,
                model=channel_utils.as_channel([standard_artifacts.Model()]),
                schema=channel_utils.as_channel([standard_artifacts.Schema()]),
                statistics=channel_utils.as_channel([standard_artifacts.ExampleStatistics()]),
            )
        )
