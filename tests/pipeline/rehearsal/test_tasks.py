"""One task at a time: its file system, command line, outputs, retries, cache, and kills."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from kfp import dsl

from pipeline.rehearsal import isolation
from tests.conftest import ROOT as PROJECT
from tests.conftest import children
from tests.pipeline.rehearsal.conftest import ROOT, Backend, codes, states

IMAGE = "python:3.10-slim"
_PEEK = """
import json, os
def names(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else None
outside = os.path.join(os.getcwd(), "left-behind")
open(outside, "w").write("x")
print(json.dumps({
    "tmp": names("/tmp"), "minio": names("/minio"), "s3": names("/s3"), "gcs": names("/gcs"),
    "rehearsal": names(os.path.join(os.getcwd(), "rehearsal")),
    "environment": sorted(os.environ),
}))
"""


@dsl.container_component
def peek():
    return dsl.ContainerSpec(image=IMAGE, command=["python3", "-c", _PEEK])


@dsl.container_component
def make(out: dsl.Output[dsl.Artifact], other: dsl.Output[dsl.Artifact]):
    source = """
import os, sys
for path in sys.argv[1:]:
    os.makedirs(path + "/deep/empty")
    open(path + "/deep/file", "w").write("content")
os.chmod(sys.argv[1] + "/deep/file", 0o755)
open("/tmp/forgotten", "w").write("x")
"""
    return dsl.ContainerSpec(
        image=IMAGE, command=["python3", "-c", source], args=[out.path, other.path]
    )


@dsl.container_component
def look(what: dsl.Input[dsl.Artifact]):
    source = """
import json, os, sys
found = {}
for folder, folders, files in os.walk("/minio"):
    for name in folders + files:
        path = os.path.join(folder, name)
        found[os.path.relpath(path, sys.argv[1])] = oct(os.stat(path).st_mode & 0o777)
print(json.dumps({"found": found, "forgotten": os.path.exists("/tmp/forgotten"),
                  "input": json.loads(sys.argv[2])["inputs"]["artifacts"]["what"]["artifacts"]}))
"""
    return dsl.ContainerSpec(
        image=IMAGE, command=["python3", "-c", source], args=[what.path, "{{$}}"]
    )


def test_a_task_sees_its_inputs_and_nothing_else(backend: Backend) -> None:
    @dsl.pipeline(name="alone", pipeline_root=ROOT)
    def alone():
        made = make()
        look(what=made.outputs["out"])
        peek()

    result = backend.run(alone)
    assert result["state"] == "succeeded", result["reasons"]
    seen = backend.said(result, "look")
    inside = {name: mode for name, mode in seen["found"].items() if not name.startswith("..")}
    assert set(inside) == {".", "deep", "deep/file"}  # object stores know no empty folder
    assert inside["deep/file"] == "0o644"  # and no file modes
    assert not any("other" in name for name in seen["found"])
    assert not seen["forgotten"]
    [artifact] = seen["input"]
    assert artifact["type"] == {"instanceSchema": ""}  # as the backend hands it over
    assert artifact["uri"].startswith(f"{ROOT}/alone/{result['run_id']}/make/")
    peeked = backend.said(result, "peek")
    assert peeked["s3"] == peeked["gcs"] == []
    assert not peeked["rehearsal"]  # the store itself is out of sight
    assert "USER" not in peeked["environment"]
    if isolation.has_overlay():
        assert not (backend.folder / "left-behind").exists()


@pytest.mark.skipif(not isolation.has_overlay(), reason="no overlay file system here")
def test_what_a_task_leaves_behind_is_gone(backend: Backend) -> None:
    outside = pathlib.Path("/var/tmp/rehearsal-left-behind")

    @dsl.container_component
    def litter(out: dsl.Output[dsl.Artifact]):
        return dsl.ContainerSpec(
            image=IMAGE,
            command=["sh", "-c", f'date > {outside} && cat {outside} > "$0"'],
            args=[out.path],
        )

    @dsl.pipeline(name="litter", pipeline_root=ROOT)
    def pipeline():
        litter()

    result = backend.run(pipeline)
    assert result["state"] == "succeeded", result["reasons"]
    [stored] = [p for p in (backend.folder / "rehearsal/store").rglob("*") if p.is_file()]
    assert stored.read_text("utf-8").strip()
    assert not outside.exists()
    assert not pathlib.Path("/minio").exists()


def test_a_failed_task_uploads_nothing_and_is_tried_again(backend: Backend) -> None:
    @dsl.container_component
    def flaky(out: dsl.Output[dsl.Artifact], volume: str):
        source = """
import os, sys
out, marker = sys.argv[1:]
os.makedirs(out)
open(out + "/half", "w").write("x")
if not os.path.exists(marker):
    open(marker, "w").write("x")
    sys.exit("not yet")
os.rename(out + "/half", out + "/whole")
"""
        return dsl.ContainerSpec(
            image=IMAGE, command=["python3", "-c", source], args=[out.path, volume]
        )

    @dsl.pipeline(name="flaky", pipeline_root=ROOT)
    def pipeline(marker: str):
        flaky(volume=marker).set_retry(2, backoff_duration="0s")

    path = backend.compile(pipeline)
    _mount(path, "exec-flaky", "state", "/state")
    result = backend.run(path, parameters={"marker": "/state/marker"})
    assert result["state"] == "succeeded", result["reasons"]
    assert result["tasks"][0]["attempts"] == 2
    assert backend.log(result, "flaky", 1).strip() == "not yet"
    stored = [p.name for p in (backend.folder / "rehearsal/store").rglob("*") if p.is_file()]
    assert stored == ["whole"]
    assert (backend.folder / "rehearsal/volumes/state/marker").exists()


def test_retries_end(backend: Backend) -> None:
    @dsl.container_component
    def never():
        return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", "kill -9 $$"])

    @dsl.pipeline(name="never", pipeline_root=ROOT)
    def pipeline():
        never().set_retry(2, backoff_duration="0s")

    result = backend.run(pipeline)
    assert result["state"] == "failed"
    assert result["tasks"] == [
        {"task": "never", "state": "failed", "seconds": pytest.approx(0, abs=60), "attempts": 3}
    ]
    assert "SIGKILL" in result["reasons"][0]["message"]


def test_a_deadline_ends_a_task(backend: Backend) -> None:
    @dsl.container_component
    def slow():
        return dsl.ContainerSpec(image=IMAGE, command=["sleep", "600"])

    @dsl.pipeline(name="slow", pipeline_root=ROOT)
    def pipeline():
        slow()

    path = backend.compile(pipeline)
    _platform(path, "exec-slow", {"activeDeadlineSeconds": "1"})
    result = backend.run(path)
    assert codes(result) == ["TASK_TIMEOUT"]


def test_only_what_changed_runs_again(backend: Backend) -> None:
    @dsl.pipeline(name="cache", pipeline_root=ROOT)
    def pipeline():
        made = make()
        look(what=made.outputs["out"])
        peek().set_caching_options(False)

    first, second = backend.run(pipeline), backend.run(pipeline)
    assert first["run_id"] != second["run_id"]
    assert states(second) == {"make": "cached", "look": "cached", "peek": "succeeded"}

    @dsl.pipeline(name="cache", pipeline_root=ROOT)
    def changed():
        made = make()
        look(what=made.outputs["other"])

    assert states(backend.run(changed)) == {"make": "cached", "look": "succeeded"}


def test_metadata_comes_back_as_the_backend_keeps_it(backend: Backend) -> None:
    @dsl.container_component
    def say(out: dsl.Output[dsl.Artifact]):
        source = """
import json, os, sys
given = json.loads(sys.argv[1])["outputs"]
artifact = given["artifacts"]["out"]["artifacts"][0]
artifact["metadata"] = {"yes": True, "whole": 3, "half": 0.5, "many": [1], "name": "x"}
artifact["metadata"]["in"] = {"a": 1}
os.makedirs(os.path.dirname(given["outputFile"]), exist_ok=True)
json.dump({"artifacts": {"out": {"artifacts": [artifact]}}}, open(given["outputFile"], "w"))
"""
        return dsl.ContainerSpec(
            image=IMAGE, command=["python3", "-c", source], args=["{{$}}", out.path]
        )

    @dsl.pipeline(name="metadata", pipeline_root=ROOT)
    def pipeline():
        look(what=say().outputs["out"])

    result = backend.run(pipeline)
    assert result["state"] == "succeeded", result["reasons"]
    metadata = backend.said(result, "look")["input"][0]["metadata"]
    assert {
        k: v for k, v in metadata.items() if k not in ("display_name", "store_session_info")
    } == {
        "yes": 1,
        "whole": 3,
        "half": 0.5,
        "many": {"list": [1]},
        "name": "x",
        "in": {"struct": {"a": 1}},
    }
    assert metadata["display_name"] == "out"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ('{"artifacts": {"out": {"artifacts": [{"metadata": {"a": null}}]}}}', "METADATA_TYPE"),
        ('{"artefacts": {}}', "EXECUTOR_OUTPUT"),
        ("not json", "EXECUTOR_OUTPUT"),
    ],
)
def test_an_output_that_the_launcher_cannot_take_fails_the_task(
    backend: Backend, output: str, code: str
) -> None:
    @dsl.container_component
    def say(text: str, out: dsl.Output[dsl.Artifact]):
        source = """
import json, sys
given = json.loads(sys.argv[1])
open(given["outputs"]["outputFile"], "w").write(sys.argv[2])
"""
        return dsl.ContainerSpec(
            image=IMAGE, command=["python3", "-c", source], args=["{{$}}", text, out.path]
        )

    @dsl.pipeline(name="wrong", pipeline_root=ROOT)
    def pipeline(text: str):
        say(text=text)

    result = backend.run(pipeline, parameters={"text": output})
    assert codes(result) == [code], result["reasons"]


def test_an_output_parameter_that_was_not_written_fails_the_task(backend: Backend) -> None:
    @dsl.container_component
    def silent(out: dsl.OutputPath(int)):
        return dsl.ContainerSpec(image=IMAGE, command=["true"], args=[out])

    @dsl.pipeline(name="silent", pipeline_root=ROOT)
    def pipeline():
        silent()

    result = backend.run(pipeline)
    assert codes(result) == ["NO_OUTPUT_PARAMETER"]


@pytest.mark.parametrize(
    ("killed", "number"),
    [
        ("write", signal.SIGKILL),
        pytest.param("copy", signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param("copy", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_killed_rehearsal_goes_on_where_it_was(
    backend: Backend, killed: str, number: signal.Signals
) -> None:
    """Killed while a task has half of its output written; then the same command again."""

    @dsl.container_component
    def step(name: str, out: dsl.Output[dsl.Artifact], before: dsl.Input[dsl.Artifact] = None):
        source = """
import os, sys, time
name, out = sys.argv[1:]
os.makedirs(out)
open(out + "/a", "w").write(name)
if not os.path.exists("/state/" + name):
    open("/state/" + name, "w").write("here")
    if os.path.exists("/state/stop-" + name):
        time.sleep(600)
open(out + "/b", "w").write(name)
"""
        return dsl.ContainerSpec(
            image=IMAGE, command=["python3", "-c", source], args=[name, out.path]
        )

    @dsl.pipeline(name="killed", pipeline_root=ROOT)
    def pipeline():
        first = step(name="write").set_caching_options(False)
        second = step(name="copy", before=first.outputs["out"]).set_caching_options(False)
        look(what=second.outputs["out"]).set_caching_options(False)

    path = backend.compile(pipeline)
    for executor in ("exec-step", "exec-step-2"):
        _mount(path, executor, "state", "/state")
    state = backend.folder / "rehearsal/volumes/state"
    state.mkdir(parents=True)
    (state / f"stop-{killed}").touch()
    command = [sys.executable, "-m", "pipeline", "rehearse", str(path), "--json"]
    command += ["--folder", str(backend.folder / "rehearsal")]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(
        command,
        cwd=backend.folder,
        env=environment,
        # A shell starts what it puts into the background deaf to Ctrl-C, tests included.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (state / killed).exists():
        assert process.poll() is None
        time.sleep(0.1)
    [task] = children(process.pid)
    process.send_signal(number)
    assert process.wait() == (130 if number == signal.SIGINT else -number)
    for _ in range(100):
        if not pathlib.Path(f"/proc/{task}").exists():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the task outlived the rehearsal")
    done = subprocess.run(
        command, cwd=backend.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(states(result).values()) == {"succeeded"}
    assert len(list((backend.folder / "rehearsal/runs").iterdir())) == 1
    attempts = {"step": 1, "step-2": 1, "look": 1} | {"step" if killed == "write" else "step-2": 2}
    for name, times in attempts.items():
        folder = pathlib.Path(result["folder"]) / "tasks" / name
        assert len(list(folder.glob("attempt-*"))) == times, name
    found = backend.said(result, "look")["found"]
    assert {"a", "b"} <= set(found)
    stored = [p for p in (backend.folder / "rehearsal/store").rglob("*") if p.is_file()]
    assert sorted(p.name for p in stored) == ["a", "a", "b", "b"]


def _mount(path: pathlib.Path, executor: str, claim: str, folder: str) -> None:
    _platform(path, executor, {"pvcMount": [{"constant": claim, "mountPath": folder}]})


def _platform(path: pathlib.Path, executor: str, config: dict) -> None:
    """Adds an executor to the file's second document."""
    import yaml

    documents = list(yaml.safe_load_all(path.read_text("utf-8")))
    if len(documents) == 1:
        empty: dict = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {}}}}}
        documents.append(empty)
    documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor] = config
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
