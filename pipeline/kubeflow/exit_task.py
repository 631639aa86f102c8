"""The task that tells how a run ended, and the DAG that moves one level down for it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from monitoring.alerts.options import ChannelOptions
from pipeline.kubeflow.spec import RUN_ID, RUN_ID_PLACEHOLDER, Spec, executor_label

NAME = "ExitHandler"
#: TFX's name for the nested DAG.
DAG = "tfx-dag"
STATUS = "status"
RUN_NAME = "run_name"
_COMMAND = ["python", "-m", "pipeline.kubeflow.exit_handler"]


def add(spec: Spec, *, image: str, channels: Sequence[ChannelOptions], registry: str) -> None:
    """Adds the handler.

    A handler sees the end of its sibling only, so all other tasks move into a DAG of their own,
    and what they read of the pipeline's parameters is handed down.

    Args:
      spec: Is changed.
      image: The handler's.
      channels: Whom it tells.
      registry: Where it sees whether the run pushed a model.
    """
    root, components = spec["root"], spec["components"]
    definitions = root.get("inputDefinitions", {})
    names = sorted(definitions.get("parameters", {}))
    nested: Spec = {"dag": {"tasks": root["dag"]["tasks"]}}
    main: Spec = {"componentRef": {"name": DAG}, "taskInfo": {"name": DAG}}
    if names:
        nested["inputDefinitions"] = {
            "parameters": {
                name: {"parameterType": definitions["parameters"][name]["parameterType"]}
                for name in names
            }
        }
        main["inputs"] = {"parameters": {name: {"componentInputParameter": name} for name in names}}
    components[DAG] = nested
    components[NAME] = {
        "executorLabel": executor_label(NAME),
        "inputDefinitions": {
            "parameters": {
                # A backend that knows no final status leaves it out; the handler says so.
                STATUS: {"parameterType": "TASK_FINAL_STATUS", "isOptional": True},
                RUN_ID: {"parameterType": "STRING"},
                RUN_NAME: {"parameterType": "STRING"},
            }
        },
    }
    handler = {
        "cachingOptions": {"enableCache": False},
        "componentRef": {"name": NAME},
        "dependentTasks": [DAG],
        "inputs": {
            "parameters": {
                STATUS: {"taskFinalStatus": {"producerTask": DAG}},
                RUN_ID: {"runtimeValue": {"constant": RUN_ID_PLACEHOLDER}},
                RUN_NAME: {"runtimeValue": {"constant": "{{$.pipeline_job_name}}"}},
            }
        },
        "taskInfo": {"name": NAME},
        "triggerPolicy": {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
    }
    root["dag"] = {"tasks": {DAG: main, NAME: handler}}
    spec["deploymentSpec"]["executors"][executor_label(NAME)] = {
        "container": {
            "image": image,
            "command": list(_COMMAND),
            "args": [
                "--executor_input",
                "{{$}}",
                "--pipeline",
                spec["pipelineInfo"]["name"],
                "--registry",
                registry,
                "--channels",
                json.dumps(
                    [
                        {"type": c.type, **c.model_dump(mode="json", exclude_defaults=True)}
                        for c in channels
                    ]
                ),
            ],
        }
    }
