"""Compiles the pipeline: TFX's KubeflowV2DagRunner, and what is then still to be done.

`python -m pipeline.kubeflow.compile TARGET OUTPUT < CONFIG` is the process behind `flywheel
compile`: it imports TFX so that the command need not.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, Literal

import yaml

from models import stack
from models.errors import ConfigError, FlywheelError
from models.registry import POINTER
from models.text import did_you_mean
from pipeline import config as config_module
from pipeline.config import Config
from pipeline.kubeflow import exit_task, platform, spec
from pipeline.kubeflow.cluster_paths import in_cluster
from pipeline.kubeflow.document import Document
from pipeline.kubeflow.options import VolumeOptions

Target = Literal["kfp", "vertex"]

#: The runtime parameter: where the data of a run is. The pipeline root is the other one; both
#: clients have a field of their own for it.
DATA_PARAMETER = "data_path"
#: What the container of every task runs.
COMMAND = ("python", "-m", "pipeline.kubeflow_entrypoint")
_PUSHER = "Pusher"
#: These see the registry of deployed models.
_SEE_REGISTRY = ("DeployedModel", _PUSHER, exit_task.NAME)
#: Names of pipelines, as both backends take them.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
#: Of a claim nobody named.
_CLAIM = "flywheel-deployed"


def compile_config(config: Config, target: Target) -> Document:
    """Compiles the pipeline of a config.

    Args:
      config: Checked, paths absolute.
      target: `kfp`: open-source Kubeflow Pipelines v2. `vertex`: Vertex AI Pipelines.

    Raises:
      ConfigError: BAD_PIPELINE_NAME, PATH_NOT_IN_CLUSTER, UNKNOWN_COMPONENT,
        REGISTRY_NOT_A_BUCKET, ROOT_NOT_ON_VERTEX.
    """
    options = config.kubeflow
    _check(config, target)
    cluster = in_cluster(config)
    compiled = _compile(cluster)
    names = list(compiled["components"])
    _check_components(config, names)
    always = _always_run(compiled)
    for name, task in spec.tasks(compiled):
        settings = options.of(name)
        spec.set_caching(task, settings.caching and name not in always)
        spec.set_retries(task, settings)
    for name in always:
        spec.add_run_id(compiled, name)
    spec.drop_lifecycle(compiled)
    spec.mend_producers(compiled)
    spec.set_defaults(compiled, {DATA_PARAMETER: cluster.data.path})
    if options.report_end:
        exit_task.add(
            compiled,
            image=options.image,
            channels=config.alerts.targets,
            registry=options.registry.path,
        )
        names.append(exit_task.NAME)
    executors = compiled["deploymentSpec"]["executors"]
    for name in names:
        spec.set_container(executors[spec.executor_label(name)]["container"], options.of(name))
    spec.add_entrypoint_flags(compiled, lean=config.engine == "local")
    spec.write_inputs_arguments(compiled)
    compiled["defaultPipelineRoot"] = options.pipeline_root
    # The packages that count are those of the image, not those of the machine that compiled.
    compiled["sdkVersion"] = "flywheel"
    if target == "vertex":
        return Document(compiled, job=_job(config, compiled))
    kubernetes = {
        spec.executor_label(name): platform.executor_config(
            options.of(name), _volumes(config) if name in _SEE_REGISTRY else ()
        )
        for name in names
    }
    return Document(compiled, platform.document(kubernetes))


def _compile(config: Config) -> spec.Spec:
    """The spec as TFX makes it."""
    from tfx.orchestration import data_types
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as runner

    from pipeline.dag import create_pipeline

    pipeline = create_pipeline(
        config,
        root=config.kubeflow.pipeline_root,
        deployed_version=POINTER,
        data_path=data_types.RuntimeParameter(DATA_PARAMETER, str, config.data.path),
    )
    settings = runner.KubeflowV2DagRunnerConfig(
        default_image=config.kubeflow.image,
        default_commands=list(COMMAND),
        use_pipeline_spec_2_1=True,
    )
    job = runner.KubeflowV2DagRunner(settings).run(pipeline, write_out=False)
    # Through JSON: protobuf's dicts become ours, and shared parts become copies.
    return json.loads(json.dumps(job["pipelineSpec"]))


def _always_run(compiled: spec.Spec) -> list[str]:
    """Components that look at, or change, something outside the pipeline: no cache can know.

    What takes no input of the pipeline reads elsewhere: ExampleGen, DeployedModel, a schema file.
    """
    return [
        name
        for name, component in compiled["components"].items()
        if name == _PUSHER or not component.get("inputDefinitions", {}).get("artifacts")
    ]


def _volumes(config: Config) -> tuple[VolumeOptions, ...]:
    registry = config.kubeflow.registry
    if "://" in registry.path:
        return ()
    return (VolumeOptions(claim=registry.claim or _CLAIM, mount=registry.path),)


def _job(config: Config, compiled: spec.Spec) -> dict[str, Any]:
    """Vertex's wrapper."""
    return {
        "displayName": compiled["pipelineInfo"]["name"],
        "labels": {"flywheel": "pipeline"},
        "runtimeConfig": {
            "gcsOutputDirectory": config.kubeflow.pipeline_root,
            "parameterValues": {DATA_PARAMETER: _default(compiled)},
        },
    }


def _default(compiled: spec.Spec) -> str:
    return compiled["root"]["inputDefinitions"]["parameters"][DATA_PARAMETER]["defaultValue"]


def _check(config: Config, target: Target) -> None:
    if not _NAME.fullmatch(config.name):
        raise ConfigError(
            "BAD_PIPELINE_NAME",
            f"The pipeline is called `{config.name}`; on a cluster its name must be lower-case "
            "letters, digits and dashes, with a letter or digit last.",
            next="Change `name` in the config.",
        )
    if target == "kfp":
        return
    options = config.kubeflow
    if not options.registry.path.startswith("gs://"):
        raise ConfigError(
            "REGISTRY_NOT_A_BUCKET",
            f"`kubeflow.registry.path` is `{options.registry.path}`; tasks on Vertex have no "
            "volumes, so what they deploy there would be lost.",
            next="Set it to a bucket: `gs://BUCKET/deployed`.",
        )
    if not options.pipeline_root.startswith("gs://"):
        raise ConfigError(
            "ROOT_NOT_ON_VERTEX",
            f"`kubeflow.pipeline_root` is `{options.pipeline_root}`; Vertex knows gs:// only.",
            next="Set it to a bucket: `gs://BUCKET/pipelines`.",
        )


def _check_components(config: Config, names: list[str]) -> None:
    known = [*names, exit_task.NAME]
    for name in config.kubeflow.components:
        if name not in known:
            raise ConfigError(
                "UNKNOWN_COMPONENT",
                f"`kubeflow.components` names `{name}`, which the pipeline does not have."
                f"{did_you_mean(name, known)}",
                next=f"Its components are: {', '.join(known)}.",
            )


def main() -> None:
    """Compiles the config on stdin; an error goes to stdout as one JSON object."""
    target, output = sys.argv[1:]
    del sys.argv[1:]  # TFX hands them to Beam
    stack.prepare_environment()
    try:
        config = config_module.parse(yaml.safe_load(sys.stdin), "the config")
        compile_config(config, target).write(output)  # type: ignore[arg-type]
    except FlywheelError as error:
        sys.stdout.write(json.dumps(error.reason.to_dict()))
        sys.stdout.flush()
        os._exit(error.exit_code)
    os._exit(0)  # the file is written; taking TensorFlow down in order costs seconds


if __name__ == "__main__":
    main()
