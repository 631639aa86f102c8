"""What became of tasks: states, outputs, and how outputs of nested DAGs are found."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipeline.rehearsal.values import TaskError

SUCCEEDED, CACHED, FAILED, SKIPPED = "succeeded", "cached", "failed", "skipped"
GOOD = (SUCCEEDED, CACHED)


@dataclasses.dataclass
class Execution:
    """One task, done.

    Attributes:
      name: Of the task, within its DAG.
      state: One of the constants above.
      parameters: Output parameters.
      artifacts: Output to the recorded artifact.
      seconds: It took.
      attempts: How often it was started; 0 when it was not.
      problem: Why it failed.
      told: Of a failed one: whether a launcher has recorded that.
    """

    name: str
    state: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    artifacts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    attempts: int = 0
    problem: str = ""
    told: bool = False

    def parameter(self, key: str) -> Any:
        """An output parameter.

        Raises:
          TaskError: NO_OUTPUT.
        """
        if key not in self.parameters:
            raise _no_output(self, "parameter", key)
        return self.parameters[key]

    def artifact(self, key: str) -> list[dict[str, Any]]:
        """An output: one artifact, or one of each iteration.

        Raises:
          TaskError: NO_OUTPUT.
        """
        if key not in self.artifacts:
            raise _no_output(self, "artifact", key)
        return [self.artifacts[key]]


@dataclasses.dataclass
class Dag(Execution):
    """A DAG that runs or has run; its outputs are those of its tasks.

    Attributes:
      component: Its spec.
      inputs: Its input parameters.
      input_artifacts: Its input artifacts, as recorded.
      tasks: Its tasks so far.
    """

    component: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    input_artifacts: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    tasks: dict[str, Execution] = dataclasses.field(default_factory=dict)

    def parameter(self, key: str) -> Any:
        outputs = self.component.get("dag", {}).get("outputs", {}).get("parameters", {})
        spec = outputs.get(key)
        if spec is None:
            raise _no_output(self, "parameter", key)
        one_of = spec.get("valueFromOneof", {}).get("parameterSelectors", ())
        selectors = [spec["valueFromParameter"]] if "valueFromParameter" in spec else one_of
        producer, selector = self._producer(key, selectors)
        return producer.parameter(selector["outputParameterKey"])

    def artifact(self, key: str) -> list[dict[str, Any]]:
        outputs = self.component.get("dag", {}).get("outputs", {}).get("artifacts", {})
        if key not in outputs:
            raise _no_output(self, "artifact", key)
        producer, selector = self._producer(key, outputs[key].get("artifactSelectors", ()))
        return producer.artifact(selector["outputArtifactKey"])

    def _producer(self, key: str, selectors: Any) -> tuple[Execution, dict[str, Any]]:
        """The first task among those named that has run."""
        for selector in selectors:
            producer = self.tasks.get(selector["producerSubtask"])
            if producer is not None and producer.state in GOOD:
                return producer, selector
        raise _no_output(self, "value", key)


@dataclasses.dataclass
class Loop(Execution):
    """A DAG that ran once per item; each of its outputs is a list."""

    iterations: list[Dag] = dataclasses.field(default_factory=list)

    def parameter(self, key: str) -> Any:
        return [iteration.parameter(key) for iteration in self.iterations]

    def artifact(self, key: str) -> list[dict[str, Any]]:
        return [found for iteration in self.iterations for found in iteration.artifact(key)]


def _no_output(execution: Execution, kind: str, key: str) -> TaskError:
    why = "was skipped" if execution.state == SKIPPED else "left none of that name"
    return TaskError(
        "NO_OUTPUT",
        f"The output {kind} `{key}` of task `{execution.name}` is asked for, and the task {why}.",
        next="Read outputs only of tasks that always run, or put the reader behind the same "
        "condition.",
    )
