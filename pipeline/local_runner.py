"""Runs the pipeline on this machine: TFX's LocalDagRunner with a watched loop.

Differences to the stock loop: the run's id is ours to choose, every component's
start and end become events, and the cache key of every component holds a
fingerprint of the code, so that changed code is never a cache hit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from custom_components.tflite_quantizer.executor import PRELOAD
from models import isolation, progress
from pipeline.unchanged import code_fingerprint

RUN_ID_PARAMETER = "pipeline-run-id"
CODE_PARAMETER = "flywheel_code"
#: Components that look at or change something outside the pipeline: never from cache.
_ALWAYS_RUN = ("Pusher",)
#: While these train on one core, the other is free.
_TRAINING = ("Trainer", "Distiller")
#: New output of these ends in new files.
_LEADS_TO_FILES = {"ExampleGen", "Trainer"}


class LocalRunner(local_dag_runner.LocalDagRunner):
    """LocalDagRunner for one run.

    Args:
      run_id: Name of the run in ML Metadata.
      before_component: Called before each component; may raise to end the run.
    """

    def __init__(self, run_id: str, before_component: Callable[[], None] = lambda: None):
        super().__init__()
        self._run_id = run_id
        self._before_component = before_component

    def run_with_ir(
        self,
        pipeline: pipeline_pb2.Pipeline,
        run_options: pipeline_pb2.RunOptions | None = None,
    ) -> None:
        """Launches every component in order; the first failure ends the run.

        Raises:
          Whatever a component raised, unchanged.
        """
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {RUN_ID_PARAMETER: self._run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        connections = deployment.metadata_connection_config
        connection = getattr(connections, connections.WhichOneof("connection_config"))
        code = code_fingerprint()
        nodes = [node.pipeline_node for node in pipeline.nodes]
        ran: set[str] = set()
        progress.emit("components", names=[node.node_info.id for node in nodes])
        for node in nodes:
            name = node.node_info.id
            value = node.parameters.parameters[CODE_PARAMETER].field_value
            value.string_value = code
            if name in _ALWAYS_RUN:
                node.execution_options.caching_options.enable_cache = False
            self._before_component()
            if name in _TRAINING and ran & _LEADS_TO_FILES:
                # The converter will be needed: let it be imported meanwhile.
                isolation.warm_up(PRELOAD)
            progress.emit("component", name=name, state="running")
            start = time.monotonic()
            try:
                info = launcher.Launcher(
                    pipeline_node=node,
                    mlmd_connection=metadata.Metadata(connection),
                    pipeline_info=pipeline.pipeline_info,
                    pipeline_runtime_spec=pipeline.runtime_spec,
                    executor_spec=runner_utils.extract_executor_spec(deployment, name),
                    custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
                ).launch()
            except BaseException:
                progress.emit(
                    "component", name=name, state="failed", seconds=time.monotonic() - start
                )
                raise
            cached = _was_cached(connection, info.execution_id)
            progress.emit(
                "component",
                name=name,
                state="cached" if cached else "complete",
                seconds=time.monotonic() - start,
            )
            if not cached:
                ran.add(name)


def _was_cached(connection: metadata_store_pb2.ConnectionConfig, execution_id: int) -> bool:
    with metadata.Metadata(connection) as handle:
        [execution] = handle.store.get_executions_by_id([execution_id])
    return execution.last_known_state == metadata_store_pb2.Execution.CACHED
