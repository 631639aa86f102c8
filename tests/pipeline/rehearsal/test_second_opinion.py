"""KFP's own local runner on the same file: both must say the same."""

import importlib.util
import json
import os
import pathlib
import shlex
import subprocess
import sys

import pytest
from kfp import dsl

from pipeline.rehearsal import compiled
from pipeline.rehearsal.launcher import Options
from pipeline.rehearsal.rehearse import rehearse
from tests.pipeline.rehearsal.conftest import ROOT, Backend
from tests.pipeline.rehearsal.engine import IMAGE

#: `kfp.local` takes outputs from the executor output only, so the task writes one.
_WRITE = """
mkdir -p "$0" && echo hello > "$0/file" && echo 5 > "$1"
file=$(echo "$3" | sed 's/.*"outputFile": *"\\([^"]*\\)".*/\\1/')
echo '{"artifacts": {"out": {"artifacts": [{"name": "out", "uri": "'$2'",
"type": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}]}}}' > "$file"
"""
_LOCAL = """
import json, os, sys
os.environ["DOCKER_HOST"] = sys.argv[3]
from kfp import components, local
local.init(local.DockerRunner(network_mode="none"), pipeline_root=sys.argv[2])
task = components.load_component_from_file(sys.argv[1])()
print(json.dumps({name: task.outputs[name] for name in ("Output",)}))
"""


@dsl.container_component
def write(out: dsl.Output[dsl.Artifact], number: dsl.OutputPath(int)):
    return dsl.ContainerSpec(
        image=IMAGE, command=["sh", "-ec", _WRITE], args=[out.path, number, out.uri, "{{$}}"]
    )


@dsl.container_component
def read(what: dsl.Input[dsl.Artifact], number: int, text: dsl.OutputPath(str)):
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["sh", "-ec", 'mkdir -p "${2%/*}"; echo "$(cat "$0/file") $1" > "$2"'],
        args=[what.path, number, text],
    )


@dsl.pipeline(name="second", pipeline_root=ROOT)
def second() -> str:
    written = write()
    return read(what=written.outputs["out"], number=written.outputs["number"]).outputs["text"]


def _kfp_local() -> list[str]:
    """A Python whose kfp runs pipelines locally: this one, or that of the other stack."""
    here = importlib.util.find_spec("kfp.local.pipeline_orchestrator") is not None
    if here and importlib.util.find_spec("docker") is not None:
        return [sys.executable]
    other = shlex.split(os.environ.get("FLYWHEEL_OTHER_PYTHON", ""))
    if not other:
        pytest.skip(
            "kfp.local needs the package `docker` here"
            if here
            else "this kfp runs no pipelines locally (2.6 does): FLYWHEEL_OTHER_PYTHON names none"
        )
    return other


@pytest.mark.slow
def test_kfp_local_comes_to_the_same(engine: None, tmp_path: pathlib.Path) -> None:
    python = _kfp_local()
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    if python != [sys.executable]:
        # The other stack may live in a root of its own, which sees this folder only.
        link = tmp_path / "docker"
        try:
            os.link(socket, link)
        except OSError as error:
            pytest.skip(f"the engine's socket cannot be shown to the other stack: {error}")
        socket = str(link)
    path = Backend(tmp_path).compile(second)
    done = subprocess.run(
        [*python, "-c", _LOCAL, str(path), str(tmp_path / "local"), f"unix://{socket}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])["Output"]
    result = rehearse(compiled.load(path), tmp_path / "r", Options(containers=True))
    assert result["state"] == "succeeded", result["reasons"]
    execution = pathlib.Path(result["folder"]) / "tasks" / "read" / "execution.json"
    ours = json.loads(execution.read_text("utf-8"))["parameters"]["text"]
    assert ours.strip() == theirs.strip() == "hello 5"
