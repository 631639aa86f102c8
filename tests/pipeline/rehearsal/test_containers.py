"""Tasks in their images, by a Docker engine that the tests start and end."""

import pathlib
import subprocess

import pytest
from kfp import dsl

from models.errors import ConfigError, FlywheelError
from pipeline.rehearsal import compiled, containers
from pipeline.rehearsal.launcher import Options
from pipeline.rehearsal.rehearse import rehearse
from tests.pipeline.rehearsal.conftest import ROOT, Backend, states
from tests.pipeline.rehearsal.engine import IMAGE


@dsl.container_component
def write(out: dsl.Output[dsl.Artifact]):
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["sh", "-c", 'mkdir -p "$0" && echo hello > "$0/file"'],
        args=[out.path],
    )


@dsl.container_component
def read(what: dsl.Input[dsl.Artifact]):
    # In one stream, so in order: Docker hands two over as they come.
    script = 'exec 2>&1; cat "$0/file"; ls / /sys/class/net; id; cat /etc/debian_version'
    return dsl.ContainerSpec(
        image=IMAGE, command=["sh", "-c", f"{script} || exit 0"], args=[what.path]
    )


@dsl.container_component
def hang():
    return dsl.ContainerSpec(image=IMAGE, command=["sh", "-c", "sleep 600"])


@pytest.mark.slow
def test_tasks_run_in_their_image_without_network(engine: None, tmp_path: pathlib.Path) -> None:
    @dsl.pipeline(name="images", pipeline_root=ROOT)
    def pipeline():
        read(what=write().outputs["out"])

    backend = Backend(tmp_path)
    result = rehearse(
        compiled.load(backend.compile(pipeline)), tmp_path / "r", Options(containers=True)
    )
    assert result["state"] == "succeeded", result["reasons"]
    assert states(result) == {"write": "succeeded", "read": "succeeded"}
    log = backend.log(result, "read")
    assert log.startswith("hello\n")
    assert "home" not in log  # the image's root, not this machine's
    assert "eth0" not in log and "lo" in log
    assert "debian_version" in log  # is not in the image


@pytest.mark.slow
def test_a_deadline_leaves_no_container(engine: None, tmp_path: pathlib.Path) -> None:
    @dsl.pipeline(name="hangs", pipeline_root=ROOT)
    def pipeline():
        hang()

    path = Backend(tmp_path).compile(pipeline)
    with open(path, "a", encoding="utf-8") as file:
        file.write(
            "---\nplatforms: {kubernetes: {deploymentSpec: {executors: {exec-hang: "
            "{activeDeadlineSeconds: '3'}}}}}\n"
        )
    result = rehearse(compiled.load(path), tmp_path / "r", Options(containers=True))
    assert [reason["code"] for reason in result["reasons"]] == ["TASK_TIMEOUT"]
    left = subprocess.run(
        ["docker", "ps", "--quiet"], capture_output=True, text=True, check=True
    ).stdout
    assert left == ""


@pytest.mark.slow
def test_an_image_that_cannot_be_had_is_said_before_the_first_task(
    engine: None, tmp_path: pathlib.Path
) -> None:
    @dsl.container_component
    def absent():
        return dsl.ContainerSpec(image="localhost:1/no/such-image:1", command=["true"])

    @dsl.pipeline(name="absent", pipeline_root=ROOT)
    def pipeline():
        absent()

    path = Backend(tmp_path).compile(pipeline)
    with pytest.raises(FlywheelError) as error:
        rehearse(compiled.load(path), tmp_path / "r", Options(containers=True))
    assert error.value.reason.code == "NO_IMAGE"
    assert "localhost:1/no/such-image:1" in str(error.value)


def test_without_an_engine_containers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(ConfigError) as error:
        containers.require()
    assert error.value.reason.code == "NO_ENGINE"
