"""Whether every task can be executed, and by what."""

from __future__ import annotations

import re
from collections.abc import Iterator

from models.text import did_you_mean
from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.parsed import Parsed, Task

STOCK_ENTRYPOINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
INPUTS_ARGUMENT = "--json_serialized_inputs_spec_args"
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
#: The backend replaces these in constants of inputs only.
_JOB_PLACEHOLDER = re.compile(r"\{\{\$\.pipeline_(?:job|task)_\w+\}\}")


def check(parsed: Parsed) -> list[Finding]:
    """Executors that do not exist or are not supported; images; command lines."""
    return list(_check(parsed))


def _check(parsed: Parsed) -> Iterator[Finding]:
    for task in parsed.tasks():
        yield from _component(parsed, task)
    for label, executor in parsed.executors.items():
        yield from _executor(f"deploymentSpec.executors.{label}", label, executor)
    for task in parsed.tasks():
        yield from _task(task)


def _component(parsed: Parsed, task: Task) -> Iterator[Finding]:
    name = task.spec.get("componentRef", {}).get("name", "")
    if name not in parsed.components:
        yield Finding(
            "error",
            "NO_SUCH_COMPONENT",
            f"{task.where}.componentRef",
            f"`{task.name}` refers to a component `{name}`, which the file does not hold."
            f"{did_you_mean(name, parsed.components)}",
            "Compile it again.",
        )
        return
    component, where = task.component, f"components.{name}"
    label = component.get("executorLabel")
    if label is None and "dag" not in component:
        yield Finding(
            "error",
            "NO_IMPLEMENTATION",
            where,
            f"The component `{name}` has neither an executor nor a DAG.",
            "Compile it again.",
        )
    elif label is not None and label not in parsed.executors:
        yield Finding(
            "error",
            "NO_SUCH_EXECUTOR",
            f"{where}.executorLabel",
            f"`{name}` is executed by `{label}`, and `deploymentSpec` has no such executor."
            f"{did_you_mean(label, parsed.executors)}",
            "Compile it again.",
        )


def _executor(where: str, label: str, executor: dict) -> Iterator[Finding]:
    if "resolver" in executor:
        yield Finding(
            "error",
            "RESOLVER",
            f"{where}.resolver",
            f"`{label}` is a resolver; Kubeflow Pipelines has no resolvers, only Vertex has.",
            "Bring earlier artifacts in with a component, as DeployedModel does.",
        )
    elif "customJob" in executor:
        yield Finding(
            "error",
            "CUSTOM_JOB",
            f"{where}.customJob",
            f"`{label}` is a custom job of Google Cloud; only Vertex runs it.",
            "Use a container.",
        )
    elif "container" in executor:
        yield from _container(where, label, executor["container"])
    elif "importer" not in executor:
        yield Finding(
            "error",
            "NO_EXECUTOR",
            where,
            f"`{label}` is neither a container nor an importer.",
            "Compile it again.",
        )


def _container(where: str, label: str, container: dict) -> Iterator[Finding]:
    image = container.get("image", "")
    if not image:
        yield Finding(
            "error",
            "NO_IMAGE",
            f"{where}.container.image",
            f"`{label}` names no image.",
            "Set `kubeflow.image`.",
        )
    elif not _DIGEST.search(image):
        yield Finding(
            "warning",
            "UNPINNED_IMAGE",
            "deploymentSpec.executors.*.container.image",
            f"The image `{image}` is named without its digest: what runs may change without the "
            "file changing, and caches, which know an image by its name, would not notice.",
            "Set `kubeflow.image` to `REPOSITORY@sha256:…`, as `docker push` prints it.",
        )
    if "lifecycle" in container:
        yield Finding(
            "error",
            "LIFECYCLE",
            f"{where}.container.lifecycle",
            f"`{label}` has a driver in `lifecycle.preCacheCheck`, which Kubeflow Pipelines never "
            "runs: span, version and the input files would not be resolved.",
            "Run it in the container: pipeline.kubeflow_entrypoint does.",
        )
    words = [*container.get("command", ()), *container.get("args", ())]
    if STOCK_ENTRYPOINT in words:
        yield Finding(
            "error",
            "STOCK_ENTRYPOINT",
            f"{where}.container.command",
            f"`{label}` runs TFX's own entrypoint, which fails at the first input: Kubeflow "
            "Pipelines hands over inputs without types and wraps their metadata.",
            "Use `python -m pipeline.kubeflow_entrypoint` as the command.",
        )
    for word in words:
        found = _JOB_PLACEHOLDER.search(word)
        if found:
            yield Finding(
                "warning",
                "PLACEHOLDER_NOT_REPLACED",
                f"{where}.container.args",
                f"`{label}` has {found[0]} on its command line, where Kubeflow Pipelines leaves it "
                "as it is.",
                "Pass it as the constant of an input parameter, and name that.",
            )


def _task(task: Task) -> Iterator[Finding]:
    spec, artifacts = task.spec, task.component.get("inputDefinitions", {}).get("artifacts")
    if task.argument("--executor_class_path") and artifacts:
        if task.argument(INPUTS_ARGUMENT) is None:
            yield Finding(
                "error",
                "NO_INPUT_TYPES",
                f"{task.where}.componentRef",
                f"`{task.name}` has inputs, and its command line does not say of which types "
                f"(`{INPUTS_ARGUMENT}`); Kubeflow Pipelines does not say either.",
                "TFX adds it with `use_pipeline_spec_2_1=True`.",
            )
    if "artifactIterator" in spec:
        yield Finding(
            "error",
            "ARTIFACT_ITERATOR",
            f"{task.where}.artifactIterator",
            f"`{task.name}` iterates over artifacts, which Kubeflow Pipelines does not do.",
            "Iterate over parameters.",
        )
    if "importer" in task.executor and spec.get("triggerPolicy", {}).get("condition"):
        yield Finding(
            "error",
            "CONDITIONAL_IMPORTER",
            f"{task.where}.triggerPolicy",
            f"`{task.name}` is an importer with a condition, which Kubeflow Pipelines refuses.",
            "Put the condition on the tasks that use it.",
        )
