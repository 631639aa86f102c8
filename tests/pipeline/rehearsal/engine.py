"""A Docker engine for tests, and an image made of this machine's shell: no registry is needed."""

from __future__ import annotations

import io
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator

import pytest

IMAGE = "rehearsal-shell:1"
_PROGRAMS = ("sh", "cat", "mkdir", "ls", "id", "sleep", "sed")
_LIMITS = ("--default-ulimit", "nofile=1024:1024", "--default-ulimit", "nproc=4096:4096")
#: Containers have this machine's network or none, so that nothing of its own is changed.
_NO_BRIDGE = ("--bridge", "none", "--iptables=false", "--ip6tables=false")


def _start_engine(folder: pathlib.Path) -> tuple[subprocess.Popen[bytes] | None, str]:
    """An engine of our own, or why there is none."""
    if os.getuid() != 0 or not shutil.which("dockerd"):
        return None, "a Docker engine can only be started by root, where there is `dockerd`"
    socket = folder / "s"
    log = open(folder / "log", "wb")  # noqa: SIM115 (the engine's, as long as it runs)
    process = subprocess.Popen(
        [
            *("dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
            *("--pidfile", str(folder / "pid"), "-H", f"unix://{socket}", *_LIMITS, *_NO_BRIDGE),
        ],
        stdout=log,
        stderr=log,
    )
    for _ in range(60):
        done = subprocess.run(
            ["docker", "-H", f"unix://{socket}", "info"], capture_output=True, check=False
        )
        if done.returncode == 0:
            return process, f"unix://{socket}"
        if process.poll() is not None:
            break
        time.sleep(0.5)
    process.kill()
    last = (folder / "log").read_text("utf-8").splitlines()[-1:]
    return None, f"no Docker engine can be started here: {last}"


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """An engine, in DOCKER_HOST, with the image."""
    before = os.environ.get("DOCKER_HOST")
    with tempfile.TemporaryDirectory(prefix="engine-", dir="/tmp") as folder:
        process = None
        running = (
            shutil.which("docker")
            and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
        )
        if not running:
            process, where = _start_engine(pathlib.Path(folder))
            if process is None:
                pytest.skip(where)
            os.environ["DOCKER_HOST"] = where
        try:
            subprocess.run(
                ["docker", "import", "-", IMAGE], input=_root(), check=True, capture_output=True
            )
            yield
            subprocess.run(["docker", "image", "rm", IMAGE], capture_output=True, check=False)
        finally:
            if before is None:
                os.environ.pop("DOCKER_HOST", None)
            else:
                os.environ["DOCKER_HOST"] = before
            if process is not None:
                process.terminate()
                process.wait(60)
                _unmount(folder)


def _unmount(folder: str) -> None:
    """What an engine leaves mounted: the network of containers that had this machine's."""
    mounts = pathlib.Path("/proc/self/mounts").read_text("utf-8").splitlines()
    for mounted in (line.split()[1] for line in reversed(mounts)):
        if mounted.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", mounted], check=False)


def _root() -> bytes:
    """A root file system with a shell."""
    files = {}
    for name in _PROGRAMS:
        path = shutil.which(name)
        assert path
        files[f"/bin/{name}"] = path
        libraries = subprocess.run(["ldd", path], capture_output=True, text=True, check=True)
        for library in re.findall(r"(/\S+) \(0x", libraries.stdout):
            files[library] = library
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for target, source in files.items():
            tar.add(os.path.realpath(source), target)
    return data.getvalue()
