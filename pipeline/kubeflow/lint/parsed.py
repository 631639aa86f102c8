"""A pipeline as the backend's own messages read it, strictly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from models import stack
from pipeline.kubeflow.document import Document
from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint import protos


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of one DAG.

    Attributes:
      name: Within the DAG.
      dag: Name of the DAG's component, `root` for the outermost.
      spec: The PipelineTaskSpec.
      component: The ComponentSpec it refers to, empty when there is none.
      executor: The ExecutorSpec of that component, empty when there is none.
    """

    name: str
    dag: str
    spec: dict[str, Any]
    component: dict[str, Any]
    executor: dict[str, Any]

    @property
    def where(self) -> str:
        """Its path in the file."""
        parent = "root" if self.dag == "root" else f"components.{self.dag}"
        return f"{parent}.dag.tasks.{self.name}"

    @property
    def container(self) -> dict[str, Any]:
        """The container it runs, empty when it runs none."""
        return self.executor.get("container", {})

    @property
    def is_exit_task(self) -> bool:
        """Whether it runs after others, however those ended."""
        strategy = self.spec.get("triggerPolicy", {}).get("strategy")
        return strategy == "ALL_UPSTREAM_TASKS_COMPLETED"

    def argument(self, flag: str) -> str | None:
        """The word after a flag on the container's command line."""
        words = [*self.container.get("command", ()), *self.container.get("args", ())]
        return words[words.index(flag) + 1] if flag in words[:-1] else None

    def constant(self, parameter: str) -> Any:
        """The constant that is passed for a parameter, None for none."""
        value = self.spec.get("inputs", {}).get("parameters", {}).get(parameter, {})
        value = value.get("runtimeValue", {})
        old = value.get("constantValue", {})  # of schema 2.0.0
        return value.get("constant", next(iter(old.values()), None))


@dataclasses.dataclass(frozen=True)
class Parsed:
    """What the rules look at: camelCase keys, shapes as the messages say.

    Attributes:
      spec: The PipelineSpec.
      executors: Label to ExecutorSpec.
      kubernetes: Label to KubernetesExecutorConfig.
      root: Where artifacts go, `''` when the file does not say.
    """

    spec: dict[str, Any]
    executors: dict[str, Any]
    kubernetes: dict[str, Any]
    root: str

    @property
    def components(self) -> dict[str, Any]:
        """Name to ComponentSpec, without the root."""
        return self.spec.get("components", {})

    def dags(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and component of every DAG."""
        if "dag" in self.spec.get("root", {}):
            yield "root", self.spec["root"]
        for name, component in self.components.items():
            if "dag" in component:
                yield name, component

    def tasks_of(self, dag: str) -> dict[str, Task]:
        """The tasks of one DAG by name."""
        owner = self.spec["root"] if dag == "root" else self.components[dag]
        return {
            name: self._task(name, dag, task)
            for name, task in owner["dag"].get("tasks", {}).items()
        }

    def tasks(self) -> Iterator[Task]:
        """Every task of every DAG."""
        for dag, _ in self.dags():
            yield from self.tasks_of(dag).values()

    def _task(self, name: str, dag: str, spec: dict[str, Any]) -> Task:
        component = self.components.get(spec.get("componentRef", {}).get("name", ""), {})
        executor = self.executors.get(component.get("executorLabel", ""), {})
        return Task(name, dag, spec, component, executor)


def parse(document: Document) -> tuple[Parsed | None, list[Finding]]:
    """Parses a document with the messages of kfp-pipeline-spec and kfp-kubernetes.

    Returns:
      None when it cannot be parsed, and why.
    """
    findings = []
    spec = _strict("the pipeline", "", "pipeline_spec", document.pipeline, findings)
    deployment = _strict(
        "deploymentSpec",
        "deploymentSpec.",
        "deployment",
        document.pipeline.get("deploymentSpec", document.pipeline.get("deployment_spec", {})),
        findings,
    )
    kubernetes = {}
    if document.platform is not None:
        _strict("the platform document", "", "platform_spec", document.platform, findings)
        for label, config in document.kubernetes.items():
            where = f"platforms.kubernetes.deploymentSpec.executors.{label}."
            kubernetes[label] = _strict(where[:-1], where, "kubernetes", config, findings)
    if spec is None or deployment is None or any(c is None for c in kubernetes.values()):
        return None, findings
    job_root = (document.job or {}).get("runtimeConfig", {}).get("gcsOutputDirectory", "")
    root = spec.get("defaultPipelineRoot", job_root)
    return Parsed(spec, deployment.get("executors", {}), kubernetes, root), findings


def _strict(
    what: str, where: str, message: str, data: Any, findings: list[Finding]
) -> dict[str, Any] | None:
    try:
        return protos.strict(message, data)
    except protos.ParseError as error:
        version = stack.version("kfp-pipeline-spec")
        findings.append(
            Finding(
                "error",
                "UNPARSEABLE",
                f"{where}{error.path}".rstrip("."),
                f"The backend cannot read {what}: {error}",
                "Mend the file, or whatever wrote it; the rules are those of kfp-pipeline-spec "
                f"{version}.",
            )
        )
        return None
