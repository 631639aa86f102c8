"""The graph of a compiled pipeline, walked task by task."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from models.errors import FlywheelError
from pipeline.rehearsal import conditions, driver
from pipeline.rehearsal.artifacts import recorded
from pipeline.rehearsal.caching import fingerprint
from pipeline.rehearsal.compiled import Compiled
from pipeline.rehearsal.executions import (
    FAILED,
    SKIPPED,
    SUCCEEDED,
    Dag,
    Execution,
    Loop,
)
from pipeline.rehearsal.kubernetes import pod
from pipeline.rehearsal.launcher import Launcher, Task
from pipeline.rehearsal.ledger import Ledger, Run
from pipeline.rehearsal.retries import RetryPolicy
from pipeline.rehearsal.values import TaskError

#: States as whoever draws the run knows them.
_SHOWN = {SUCCEEDED: "complete", SKIPPED: "waiting"}
_EXIT = "ALL_UPSTREAM_TASKS_COMPLETED"


class Engine:
    """Runs one pipeline. Tasks run one after the other, in an order that their `dependentTasks`
    allow; what a failure keeps from starting does not start, and exit handlers always do.

    Args:
      compiled: The pipeline.
      run: Its run, new or to be gone on with.
      ledger: Of all runs.
      launcher: Starts containers.
      emit: Gets an event whenever something happens.
    """

    def __init__(
        self,
        compiled: Compiled,
        run: Run,
        ledger: Ledger,
        launcher: Launcher,
        emit: Callable[[dict[str, Any]], None],
    ):
        self._compiled = compiled
        self._run = run
        self._ledger = ledger
        self._launcher = launcher
        self._emit = emit
        self._job = driver.Job(compiled.backend, compiled.name, run.id, compiled.root, run.created)
        self.root = Dag(
            "root", "running", component=compiled.spec["root"], inputs=dict(compiled.parameters)
        )
        self.reasons: list[FlywheelError] = []
        self.notes: set[str] = set()
        self._labels = labels(container_tasks(compiled))

    def execute(self) -> Dag:
        """Runs everything.

        Returns:
          The root DAG, with all executions below it.
        """
        self._walk(self.root, "")
        return self.root

    def _walk(self, dag: Dag, path: str) -> None:
        tasks = dag.component["dag"].get("tasks", {})
        waiting = sorted(name for name in tasks if not _is_exit(tasks[name]))
        exits = sorted(name for name in tasks if _is_exit(tasks[name]))
        dag.state = SUCCEEDED
        while waiting:
            ready = [
                name
                for name in waiting
                if all(d in dag.tasks for d in tasks[name].get("dependentTasks", ()))
            ]
            if not ready:
                break  # what is left depends on what failed, or on itself
            name = ready[0]
            waiting.remove(name)
            dag.tasks[name] = self._task(name, tasks[name], dag, f"{path}{name}")
            for handler in [e for e in exits if name in tasks[e].get("dependentTasks", ())]:
                if all(d in dag.tasks for d in tasks[handler]["dependentTasks"]):
                    dag.tasks[handler] = self._task(handler, tasks[handler], dag, path + handler)
            failed = [e for e in dag.tasks.values() if e.state == FAILED]
            if failed:
                dag.state, dag.told = FAILED, any(e.told for e in failed)
                return
        if waiting:
            dag.state = FAILED
            self.reasons.append(
                TaskError(
                    "NEVER_READY",
                    f"In `{dag.name}`, {', '.join(waiting)} can never start: they depend on each "
                    "other, on tasks that are not there, or on exit handlers.",
                )
            )

    def _task(self, name: str, spec: dict[str, Any], dag: Dag, path: str) -> Execution:
        component = self._compiled.component(spec["componentRef"]["name"])
        start, label = time.monotonic(), self._labels.get(path, path)
        if "dag" not in component:
            self._emit({"event": "component", "name": label, "state": "running"})
        try:
            execution = self._started(name, spec, component, dag, path)
        except FlywheelError as error:
            self.reasons.append(error)
            told = isinstance(error, TaskError) and error.told
            execution = Execution(name, FAILED, problem=str(error), told=told)
        if execution.state == FAILED and "dag" not in component:
            execution.seconds = round(time.monotonic() - start, 3)
            execution.attempts = self._run.task(path).attempts
        if "dag" not in component:
            self._emit(
                {
                    "event": "component",
                    "name": label,
                    "state": _SHOWN.get(execution.state, execution.state),
                    "seconds": execution.seconds,
                }
            )
        return execution

    def _started(
        self, name: str, spec: dict[str, Any], component: dict[str, Any], dag: Dag, path: str
    ) -> Execution:
        """A task from its driver to its end."""
        inputs = driver.resolve(name, spec, component, dag, self._job)
        if not self._triggered(spec, inputs):
            return Execution(name, SKIPPED)
        if "parameterIterator" in spec:
            return self._loop(name, spec, component, inputs, path)
        if "dag" in component:
            return self._nested(Dag(name, "running"), component, inputs, path)
        executor = self._compiled.executor(component["executorLabel"])
        if "importer" in executor:
            return self._import(name, executor["importer"], component, inputs)
        return self._container(name, spec, component, executor["container"], inputs, dag, path)

    def _triggered(self, spec: dict[str, Any], inputs: driver.Inputs) -> bool:
        condition = spec.get("triggerPolicy", {}).get("condition")
        if not condition:
            return True
        scope = {"inputs": {"parameterValues": {}, **inputs.for_executor(self._compiled.backend)}}
        return conditions.holds(condition, scope)

    def _nested(
        self, nested: Dag, component: dict[str, Any], inputs: driver.Inputs, path: str
    ) -> Dag:
        nested.component = component
        nested.inputs = inputs.parameters
        nested.input_artifacts = inputs.artifacts
        self._walk(nested, f"{path}/")
        return nested

    def _loop(
        self,
        name: str,
        spec: dict[str, Any],
        component: dict[str, Any],
        inputs: driver.Inputs,
        path: str,
    ) -> Loop:
        """The same DAG for every item; a failed one ends the loop."""
        item = spec["parameterIterator"]["itemInput"]
        loop = Loop(name, SUCCEEDED)
        for number, value in enumerate(driver.iteration_items(spec, inputs)):
            parameters = {**inputs.parameters, item: value}
            parameters.pop(spec["parameterIterator"]["items"].get("inputParameter", ""), None)
            own = dataclasses.replace(inputs, parameters=parameters)
            nested = self._nested(Dag(name, "running"), component, own, f"{path}/{number}")
            loop.iterations.append(nested)
            if nested.state == FAILED:
                loop.state, loop.told = FAILED, nested.told
                break
        return loop

    def _import(
        self,
        name: str,
        importer: dict[str, Any],
        component: dict[str, Any],
        inputs: driver.Inputs,
    ) -> Execution:
        """An artifact that is there already."""
        source = importer["artifactUri"]
        uri = source.get("constant") or inputs.parameters.get(source.get("runtimeParameter", ""))
        if not uri:
            raise TaskError("NO_URI", f"The importer `{name}` gets no URI.")
        [output] = component["outputDefinitions"]["artifacts"]
        artifact = {"uri": uri, "metadata": importer.get("metadata", {})}
        artifact["type"] = importer.get("typeSchema", {})
        return Execution(
            name, SUCCEEDED, artifacts={output: recorded(output, artifact, self._compiled.backend)}
        )

    def _container(
        self,
        name: str,
        spec: dict[str, Any],
        component: dict[str, Any],
        container: dict[str, Any],
        inputs: driver.Inputs,
        dag: Dag,
        path: str,
    ) -> Execution:
        """A container: from the ledger, from the cache, or run."""
        folder = self._run.task(path)
        done = folder.done()
        if done is not None:
            return done
        what = pod(self._compiled.kubernetes.get(component["executorLabel"], {}), dag.inputs)
        self.notes |= set(what.notes)
        key = fingerprint(
            self._compiled.name, spec, component, container, inputs, list(what.volumes.values())
        )
        cached = self._ledger.cached(key) if key else None
        if cached is not None:
            cached.name = name
            folder.succeed(cached)
            return cached
        execution = self._tried(name, spec, component, container, inputs, what, folder)
        folder.succeed(execution)
        if key:
            self._ledger.keep(key, execution)
        return execution

    def _tried(
        self,
        name: str,
        spec: dict[str, Any],
        component: dict[str, Any],
        container: dict[str, Any],
        inputs: driver.Inputs,
        what: Any,
        folder: Any,
    ) -> Execution:
        """Attempt after attempt; all of them have the same inputs and places for outputs."""
        backend = self._compiled.backend
        executor_input = {
            "inputs": inputs.for_executor(backend),
            "outputs": driver.provision(name, component, self._job),
        }
        task = Task(name, component, container, executor_input, what, backend)
        policy, start, failures, told = RetryPolicy.of(spec), time.monotonic(), 0, False
        while True:
            try:
                execution = self._launcher.run(task, folder.new_attempt())
                execution.attempts = failures + 1
                return execution
            except TaskError as error:
                failures += 1
                told = told or error.reason.code != "TASK_TIMEOUT"  # which ends the launcher too
                wait = policy.next_wait(failures, time.monotonic() - start)
                if wait is None:
                    error.told = told
                    raise
                self._emit(
                    {"event": "doing", "text": f"attempt {failures + 1} in {wait:g} s: {error}"}
                )
                time.sleep(wait)


def _is_exit(task: dict[str, Any]) -> bool:
    return task.get("triggerPolicy", {}).get("strategy") == _EXIT


def container_tasks(compiled: Compiled) -> list[str]:
    """Paths of all tasks that start a container, in the order in which they would run; those in a
    loop are left out, because nobody knows how often they run."""
    found: list[str] = []

    def visit(component: dict[str, Any], path: str) -> None:
        tasks = component["dag"].get("tasks", {})
        placed: set[str] = set()
        while len(placed) < len(tasks):
            ready = [
                name
                for name in sorted(tasks, key=lambda n: (_is_exit(tasks[n]), n))
                if name not in placed
                and placed.issuperset(set(tasks[name].get("dependentTasks", ())) & set(tasks))
            ]
            if not ready:
                return
            name = ready[0]
            placed.add(name)
            used = compiled.component(tasks[name]["componentRef"]["name"])
            if "dag" not in used:
                found.append(path + name)
            elif "parameterIterator" not in tasks[name]:
                visit(used, f"{path}{name}/")

    visit(compiled.spec["root"], "")
    return found


def executions(dag: Dag, path: str = "") -> dict[str, Execution]:
    """Path to execution, of every task below a DAG that is no DAG itself."""
    found: dict[str, Execution] = {}
    for name, execution in dag.tasks.items():
        if isinstance(execution, Loop):
            for number, iteration in enumerate(execution.iterations):
                found |= executions(iteration, f"{path}{name}/{number}/")
        elif isinstance(execution, Dag):
            found |= executions(execution, f"{path}{name}/")
        else:
            found[path + name] = execution
    return found


def labels(paths: list[str]) -> dict[str, str]:
    """Path to what people call the task: its own name where no other has it."""
    names = [path.rsplit("/", 1)[-1] for path in paths]
    return {
        path: name if names.count(name) == 1 else path
        for path, name in zip(paths, names, strict=True)
    }
