"""The ways to give a task a file system of its own, each with the real kernel."""

import pathlib
import subprocess

import pytest
from kfp import dsl

from models.errors import ConfigError
from pipeline.rehearsal import isolation
from tests.pipeline.rehearsal.conftest import ROOT, Backend

_USER = (
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
    *("--user", "--map-root-user"),
)
_LOOK = """
import json, os, sys
out = sys.argv[1]
os.makedirs(out)
open(out + "/file", "w").write("x")
print(json.dumps({"root": sorted(os.listdir("/")), "tmp": sorted(os.listdir("/tmp")),
                  "python": sys.executable, "pid": os.getpid(),
                  "code": os.listdir(os.getcwd()),
                  "hidden": os.listdir(os.path.join(os.getcwd(), "rehearsal"))}))
"""


@dsl.container_component
def look(out: dsl.Output[dsl.Artifact]):
    return dsl.ContainerSpec(image="any", command=["python3", "-c", _LOOK], args=[out.path])


@dsl.pipeline(name="look", pipeline_root=ROOT)
def looking():
    look().set_caching_options(False)


@pytest.mark.parametrize("user", [False, True], ids=["as it is", "user namespace"])
@pytest.mark.parametrize("overlay", [True, False], ids=["overlay", "binds"])
def test_every_way_shows_a_task_the_same(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, user: bool, overlay: bool
) -> None:
    if user:
        probe = [*_USER, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode:
            pytest.skip("no user namespaces here")
        monkeypatch.setattr(isolation, "namespaces", lambda: _USER)
    able = isolation.has_overlay.__wrapped__()
    if overlay and not able:
        pytest.skip("no overlay file system here")
    monkeypatch.setattr(isolation, "has_overlay", lambda: overlay)
    result = backend.run(looking)
    assert result["state"] == "succeeded", (result["reasons"], backend.log(result, "look"))
    seen = backend.said(result, "look")
    assert {"minio", "s3", "gcs", "tmp", "proc", "dev", "usr"} <= set(seen["root"])
    # What is mounted below /tmp stays: this folder, and the code if it lies there.
    code = pathlib.Path(__file__).resolve()
    below = {p.parts[2] for p in (backend.folder, code) if p.parts[1] == "tmp"}
    assert set(seen["tmp"]) <= {".rehearsal", *below}
    assert "pipeline.yaml" in seen["code"] and not seen["hidden"]
    assert seen["pid"] < 100  # a process namespace of its own
    stored = [p for p in (backend.folder / "rehearsal/store").rglob("*") if p.is_file()]
    assert [p.name for p in stored] == ["file"]
    stayed = "what tasks wrote outside of their outputs and /tmp stayed on this machine"
    assert (stayed in result["notes"]) is not overlay
    assert not pathlib.Path("/minio").exists()


def test_a_machine_that_cannot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    isolation.namespaces.cache_clear()
    try:
        with pytest.raises(ConfigError) as error:
            isolation.require()
    finally:
        monkeypatch.undo()
        isolation.namespaces.cache_clear()
    assert error.value.reason.code == "NO_NAMESPACES"
    assert "--containers" in str(error.value)
