"""KFP's own local runner on the same file: both must say the same."""

import importlib.util
import json
import pathlib
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
import json, sys
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


@pytest.mark.slow
def test_kfp_local_comes_to_the_same(engine: None, tmp_path: pathlib.Path) -> None:
    if importlib.util.find_spec("kfp.local.pipeline_orchestrator") is None:
        pytest.skip("this kfp runs no pipelines locally: 2.6 and newer do")
    if importlib.util.find_spec("docker") is None:
        pytest.skip("kfp.local needs the package `docker`")
    path = Backend(tmp_path).compile(second)
    done = subprocess.run(
        [sys.executable, "-c", _LOCAL, str(path), str(tmp_path / "local")],
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
