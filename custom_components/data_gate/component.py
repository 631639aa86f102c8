"""DataGate: nothing is trained on data that was blocked.

The SchemaValidator publishes its verdict whatever it says, so that the anomalies
can be looked at; this component fails when the verdict blocks. Whatever must not
run then is ordered after it (`trainer.add_upstream_node(gate)`): an order, not an
input, so that a new baseline alone does not make the Trainer run again.

Inputs   anomalies: the SchemaValidator's
"""

from __future__ import annotations

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from custom_components.data_gate import executor


class DataGateSpec(component_spec.ComponentSpec):
    PARAMETERS = {}
    INPUTS = {
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)
    }
    OUTPUTS = {}


class DataGate(base_component.BaseComponent):
    """Fails with the verdict's reasons when it blocks.

    Args:
      anomalies: Output of the SchemaValidator.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, anomalies: channel.BaseChannel):
        super().__init__(DataGateSpec(anomalies=anomalies))
