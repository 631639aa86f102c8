"""The image, built here on a base of the test's own: no registry is needed."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.pipeline.rehearsal.engine import engine  # noqa: F401 (a fixture)

#: `build`, or the name of an image that the running engine has.
CHOICE = os.environ.get("FLYWHEEL_IMAGE", "")
_NAME = "flywheel-tested:modern"
_BASE = "flywheel-tested-base:1"
#: Two copies of three gigabytes in layers, what is downloaded, and room to run in.
_FREE_BYTES = 16e9


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the image; skipped without FLYWHEEL_IMAGE, an engine, debootstrap or room."""
    if not CHOICE:
        pytest.skip("takes ten minutes: asked for by FLYWHEEL_IMAGE=build (make test-image)")
    if CHOICE == "build":
        if not shutil.which("debootstrap"):
            pytest.skip("the base of the image is made with debootstrap, which is not here")
        if shutil.disk_usage("/tmp").free < _FREE_BYTES:
            pytest.skip(f"building the image takes {_FREE_BYTES / 1e9:.0f} GB below /tmp")
    request.getfixturevalue("engine")
    if CHOICE != "build":
        yield CHOICE
        return
    folder = request.getfixturevalue("tmp_path_factory").mktemp("base")
    _import_base(folder)
    # Without a bridge of its own the engine's containers have this machine's network or none.
    docker(
        *("build", "--network", "host", "--file", str(ROOT / "deploy/Dockerfile")),
        *("--tag", _NAME, "--build-arg", f"BASE={_BASE}", str(ROOT)),
        timeout=1500,
    )
    yield _NAME
    docker("image", "rm", "--force", _NAME, _BASE)


def docker(*words: str, timeout: float = 600) -> str:
    """What a command of Docker says; it must end well."""
    done = subprocess.run(
        ["docker", *words],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"docker {' '.join(words)}\n{done.stdout[-5000:]}\n{done.stderr}"
    return done.stdout


def _import_base(folder: pathlib.Path) -> None:
    """A Debian 13 as small as debootstrap makes it, with the user that Ubuntu's images bring."""
    mirror = os.environ.get("DEBIAN_MIRROR", "")
    subprocess.run(
        [
            *("debootstrap", "--variant=minbase", "--include=ca-certificates", "trixie"),
            *(str(folder / "root"), *filter(None, [mirror])),
        ],
        check=True,
        capture_output=True,
        timeout=600,
    )
    own = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copyfile(own, folder / "root/etc/ssl/certs/ca-certificates.crt")
    subprocess.run(["chroot", str(folder / "root"), "useradd", "--uid=1000", "ubuntu"], check=True)
    for left in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(folder / "root" / left)
    (folder / "root/var/lib/apt/lists/partial").mkdir(parents=True)
    (folder / "root/var/cache/apt/archives/partial").mkdir(parents=True)
    packed = subprocess.Popen(
        ["tar", "-C", str(folder / "root"), "-c", "."], stdout=subprocess.PIPE
    )
    subprocess.run(
        ["docker", "import", "-", _BASE], stdin=packed.stdout, check=True, capture_output=True
    )
    assert packed.wait() == 0
    shutil.rmtree(folder / "root")
