"""The image: what is in it, the pipeline in it, and a compiled pipeline in it, task by task."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from typing import Any

import pytest
import yaml

from tests.conftest import Flywheel
from tests.deploy.conftest import CHOICE, docker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
#: 3.08 GB when it was built last; a new package of some weight should be a decision.
_MOST_BYTES = 3.2e9
_LOCAL = """
import sys
from kfp import components, local
_, spec, root, deployed = sys.argv
local.init(
    local.DockerRunner(
        network_mode="none",
        entrypoint="",  # the commands of tasks are whole ones
        mounts=[{"Type": "bind", "Source": deployed, "Target": "/deployed"}],
    ),
    pipeline_root=root,
)
components.load_component_from_file(spec)()
"""


@pytest.fixture(scope="module")
def flywheel(image: str, tmp_path_factory: pytest.TempPathFactory) -> Flywheel:
    """The command of this checkout, in a folder whose config names the image."""
    command = Flywheel(tmp_path_factory.mktemp("image"))
    command("init", "demo:chicago-taxi")
    with open(command.folder / "flywheel.yaml", "a", encoding="utf-8") as config:
        config.write(f"kubeflow: {{image: '{image}', data: 'demo:chicago-taxi'}}\n")
    for folder in (command.folder, *command.folder.parents[:2]):
        folder.chmod(0o777)  # the image's user is someone else
    return command


def _in_image(image: str, folder: pathlib.Path, *words: str) -> str:
    where = ("--volume", f"{folder}:/work", "--network", "none")
    return docker("run", "--rm", *where, image, *words, timeout=900)


@pytest.fixture(scope="module")
def local(image: str, flywheel: Flywheel) -> dict[str, Any]:
    """The result of `flywheel run` in the image."""
    return json.loads(_in_image(image, flywheel.folder, "run", "--json").splitlines()[-1])


@pytest.fixture(scope="module")
def rehearsed(image: str, flywheel: Flywheel) -> dict[str, Any]:
    """The result of the compiled pipeline, each task in a container of the image."""
    flywheel("compile", "--output", "pipeline.yaml")
    return flywheel.json("rehearse", "pipeline.yaml", "--containers", check=None, timeout=1500)


def test_it_holds_what_it_needs_and_no_more(image: str) -> None:
    [about] = json.loads(docker("image", "inspect", image))
    assert CHOICE != "build" or about["Size"] < _MOST_BYTES
    assert about["Config"]["User"] == "1000"
    labels = about["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "Flywheel"
    found = docker(
        *("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-c"),
        "import importlib.metadata as m, json;"
        "print(json.dumps(sorted({d.name.lower() for d in m.distributions()})))",
    )
    packages = set(json.loads(found))
    assert {"tensorflow", "tfx"} <= packages
    assert not packages & {"pytest", "ruff", "hypothesis", "jupyter", "notebook", "jupyterlab"}


def test_the_pipeline_runs_in_it_without_network(local: dict[str, Any]) -> None:
    assert local["state"] == "pushed", local["reasons"]


def test_a_compiled_pipeline_runs_in_it_task_by_task(
    rehearsed: dict[str, Any], local: dict[str, Any]
) -> None:
    assert rehearsed["state"] == "pushed", rehearsed["reasons"]
    assert {task["state"] for task in rehearsed["tasks"]} == {"succeeded"}
    assert rehearsed["notes"] == []
    assert rehearsed["pushed"]["version"] == local["pushed"]["version"]
    assert rehearsed["metrics"] == local["metrics"]


def test_kfps_own_local_runner_comes_to_the_same_model(
    image: str, flywheel: Flywheel, rehearsed: dict[str, Any]
) -> None:
    """`kfp.local` of the kfp in the image, on the same pipeline: it knows no exit handlers."""
    config = yaml.safe_load((flywheel.folder / "flywheel.yaml").read_text("utf-8"))
    config["kubeflow"]["report_end"] = False
    (flywheel.folder / "local.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    flywheel("compile", "--config", "local.yaml", "--output", "second.yaml")
    folder = flywheel.folder / "second"
    for name in ("root", "deployed"):
        (folder / name).mkdir(parents=True)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777)
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    docker(
        *("run", "--rm", "--user", "0", "--network", "none", "--entrypoint", "python"),
        *("--volume", f"{socket}:/var/run/docker.sock"),
        *("--volume", f"{flywheel.folder}:{flywheel.folder}", image, "-c", _LOCAL),
        *(str(flywheel.folder / "second.yaml"), str(folder / "root"), str(folder / "deployed")),
        timeout=1500,
    )
    assert (folder / "deployed/CURRENT").read_text("utf-8").strip() == rehearsed["pushed"][
        "version"
    ]
    shutil.rmtree(folder)
