"""Graphs as KFP's compiler writes them: order, nesting, loops, conditions, exit handlers.

KFP's decorators read annotations as objects: no `from __future__ import annotations` here.
"""

from typing import Any

import pytest
from kfp import dsl

from pipeline.rehearsal import compiled
from tests.pipeline.rehearsal.conftest import ROOT, Backend, codes, states

IMAGE = "python:3.10-slim"


@dsl.container_component
def write(text: str, out: dsl.Output[dsl.Artifact], length: dsl.OutputPath(int)):
    source = """
import os, sys
text, out, length = sys.argv[1:]
os.makedirs(os.path.dirname(out), exist_ok=True)
open(out, "w").write(text)
open(length, "w").write(str(len(text)))
"""
    return dsl.ContainerSpec(
        image=IMAGE, command=["python3", "-c", source], args=[text, out.path, length]
    )


@dsl.container_component
def read(what: dsl.Input[dsl.Artifact], number: int):
    return dsl.ContainerSpec(
        image=IMAGE, command=["sh", "-c", 'cat "$0"; echo ":$1"'], args=[what.path, number]
    )


@dsl.container_component
def fail():
    return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", "echo no luck >&2; exit 7"])


@dsl.component(base_image=IMAGE)
def flip(value: str) -> str:
    return value


@dsl.component(base_image=IMAGE)
def tell(status: dsl.PipelineTaskFinalStatus):
    print(status.state, status.pipeline_task_name)


def test_outputs_reach_the_next_task(backend: Backend) -> None:
    @dsl.pipeline(name="two", pipeline_root=ROOT)
    def two(text: str = "hello"):
        first = write(text=text)
        read(what=first.outputs["out"], number=first.outputs["length"])

    result = backend.run(two, parameters={"text": "good day"})
    assert result["state"] == "succeeded", result["reasons"]
    assert states(result) == {"write": "succeeded", "read": "succeeded"}
    assert backend.log(result, "read").strip() == "good day:8"


def test_python_components_run_without_installing(backend: Backend) -> None:
    """Their command line begins with `pip install kfp`, which must not touch this Python."""

    @dsl.component(base_image=IMAGE, packages_to_install=["pyyaml>=5"])
    def add(a: int, b: float, scores: dsl.Output[dsl.Metrics]) -> float:
        scores.log_metric("a", a)
        return a + b

    @dsl.component(base_image=IMAGE)
    def show(value: float, scores: dsl.Input[dsl.Metrics]):
        print(value, scores.metadata["a"], type(scores.metadata["a"]).__name__)

    @dsl.pipeline(name="lightweight", pipeline_root=ROOT)
    def lightweight():
        added = add(a=1, b=0.5)
        show(value=added.outputs["Output"], scores=added.outputs["scores"])

    result = backend.run(lightweight)
    assert result["state"] == "succeeded", result["reasons"]
    assert "1.5 1 int" in backend.log(result, "show")  # JSON knows one kind of number


def test_a_package_that_is_missing_is_said(backend: Backend) -> None:
    @dsl.component(base_image=IMAGE, packages_to_install=["no-such-package-here==9"])
    def wants():
        pass

    @dsl.pipeline(name="wants", pipeline_root=ROOT)
    def pipeline():
        wants()

    result = backend.run(pipeline)
    assert result["state"] == "failed"
    log = backend.log(result, "wants")
    assert "no-such-package-here is not installed" in log
    assert "--containers" in log


def test_nested_pipelines_and_conditions(backend: Backend) -> None:
    @dsl.pipeline
    def inner(text: str = "abc") -> int:
        return write(text=text).outputs["length"]

    @dsl.pipeline(name="nested", pipeline_root=ROOT)
    def outer():
        side = flip(value="heads")
        with dsl.If(side.output == "heads"):
            inner(text="four")
        with dsl.If(side.output != "heads"):
            fail()
        inner().after(side)

    result = backend.run(outer)
    assert result["state"] == "succeeded", result["reasons"]
    assert states(result)["condition-1/inner/write"] == "succeeded"
    assert states(result)["inner-2/write"] == "succeeded"
    assert not any("fail" in task for task in states(result))


def test_a_loop_runs_per_item_and_its_outputs_are_collected(backend: Backend) -> None:
    @dsl.component(base_image=IMAGE)
    def total(lengths: list) -> int:
        print("sum", sum(lengths))
        return sum(lengths)

    @dsl.pipeline(name="loop", pipeline_root=ROOT)
    def loop(words: list = ["a", "bb", "ccc"]):  # noqa: B006
        with dsl.ParallelFor(words) as word:
            written = write(text=word)
        total(lengths=dsl.Collected(written.outputs["length"]))

    result = backend.run(loop)
    assert result["state"] == "succeeded", result["reasons"]
    assert [t for t in states(result) if "write" in t] == [
        f"for-loop-1/{n}/write" for n in range(3)
    ]
    assert "sum 6" in backend.log(result, "total")


@pytest.mark.parametrize(("broken", "state"), [(False, "COMPLETE"), (True, "FAILED")])
def test_exit_handlers_run_and_know_how_it_ended(
    backend: Backend, broken: bool, state: str
) -> None:
    @dsl.pipeline(name="exits", pipeline_root=ROOT)
    def exits():
        with dsl.ExitHandler(tell()):
            first = write(text="x")
            if broken:
                failing = fail().after(first)
                write(text="never").after(failing)

    result = backend.run(exits)
    assert result["state"] == ("failed" if broken else "succeeded")
    assert states(result)["tell"] == "succeeded"
    assert f"{state} exit-handler-1" in backend.log(result, "tell")
    if broken:
        assert codes(result) == ["TASK_FAILED"]
        assert "exit code 7): no luck" in result["reasons"][0]["message"]
        assert "exit-handler-1/write-2" not in states(result)


@pytest.mark.parametrize(("rules", "state"), [("kfp", "RUNNING"), ("vertex", "FAILED")])
def test_of_a_pod_that_ended_without_a_word_a_handler_reads_no_failure(
    backend: Backend, rules: str, state: str
) -> None:
    """On Kubeflow the launcher writes the state, and a deadline ends the launcher too."""

    @dsl.container_component
    def hang():
        return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", "sleep 600"])

    @dsl.pipeline(name="silent", pipeline_root="gs://bucket/root")
    def silent():
        with dsl.ExitHandler(tell()):
            hang()

    path = backend.compile(silent)
    with open(path, "a", encoding="utf-8") as file:
        file.write(
            "---\nplatforms: {kubernetes: {deploymentSpec: {executors: {exec-hang: "
            "{activeDeadlineSeconds: '1'}}}}}\n"
        )
    result = backend.run(path, backend=rules)
    assert codes(result) == ["TASK_TIMEOUT"]
    assert f"{state} exit-handler-1" in backend.log(result, "tell")


def test_a_skipped_producer_is_an_error_for_its_reader(backend: Backend) -> None:
    spec = compiled.load(backend.compile(_chain())).spec
    spec["root"]["dag"]["tasks"]["write"]["triggerPolicy"] = {
        "condition": "inputs.parameter_values['text'] == 'other'"
    }
    result = _run_spec(backend, spec)
    assert states(result) == {"write": "skipped", "read": "failed"}
    assert codes(result) == ["NO_OUTPUT"]
    assert "was skipped" in result["reasons"][0]["message"]


def test_a_producer_that_is_not_waited_for_is_an_error(backend: Backend) -> None:
    spec = compiled.load(backend.compile(_chain())).spec
    del spec["root"]["dag"]["tasks"]["read"]["dependentTasks"]
    result = _run_spec(backend, spec)
    assert codes(result) == ["PRODUCER_NOT_RUN"]
    assert "which has not run by then" in result["reasons"][0]["message"]
    source = spec["root"]["dag"]["tasks"]["read"]["inputs"]["parameters"]["number"]
    source["taskOutputParameter"]["producerTask"] = "wrote"
    result = _run_spec(backend, spec)
    assert codes(result) == ["PRODUCER_NOT_RUN"]
    assert "there is no such task in `root`" in result["reasons"][0]["message"]


def test_types_are_checked_and_only_strings_take_anything(backend: Backend) -> None:
    spec = compiled.load(backend.compile(_chain())).spec
    task = spec["root"]["dag"]["tasks"]["read"]["inputs"]["parameters"]["number"]
    task.clear()
    task["runtimeValue"] = {"constant": "eight"}
    result = _run_spec(backend, spec)
    assert states(result) == {"write": "succeeded", "read": "failed"}
    assert codes(result) == ["PARAMETER_TYPE"]
    assert "must be NUMBER_INTEGER, and what arrives is a string" in result["reasons"][0]["message"]


def _chain() -> Any:
    @dsl.pipeline(name="chain", pipeline_root=ROOT)
    def chain(text: str = "hello"):
        first = write(text=text)
        read(what=first.outputs["out"], number=first.outputs["length"])

    return chain


def _run_spec(backend: Backend, spec: dict[str, Any]) -> dict[str, Any]:
    """Rehearses a spec that no compiler would write."""
    import yaml

    path = backend.folder / "changed.yaml"
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return backend.run(path)
