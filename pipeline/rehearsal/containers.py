"""Tasks in their images, with a Docker engine and without network."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from typing import IO

from models.errors import ConfigError, FlywheelError
from pipeline.rehearsal.isolation import PRIVATE

_ENGINE_SECONDS = 60


def require() -> None:
    """Refuses a machine without an engine.

    Raises:
      ConfigError: NO_ENGINE.
    """
    if not shutil.which("docker"):
        raise ConfigError(
            "NO_ENGINE",
            "`--containers` needs a Docker engine, and there is no `docker` command.",
            next="Install Docker, or rehearse without `--containers`.",
        )
    done = _docker("info", "--format", "{{.ServerVersion}}")
    if done.returncode:
        raise ConfigError(
            "NO_ENGINE",
            f"No Docker engine answers: {_last_line(done.stderr)}",
            next="Start one, name it in DOCKER_HOST, or rehearse without `--containers`.",
        )


def digest(image: str) -> str:
    """The id of an image of this engine, pulled if it is not there.

    Raises:
      FlywheelError: NO_IMAGE.
    """
    for attempt in ("inspect", "pull"):
        if attempt == "pull":
            pulled = _docker("pull", "--quiet", image, timeout=None)
            if pulled.returncode:
                raise FlywheelError(
                    "NO_IMAGE",
                    f"The engine has no image `{image}` and cannot pull it: "
                    f"{_last_line(pulled.stderr)}",
                    next="Build it (`make image` builds Flywheel's), or name another with "
                    "`--image`.",
                )
        found = _docker("image", "inspect", "--format", "{{.Id}}", image)
        if found.returncode == 0:
            return found.stdout.strip()
    raise FlywheelError("NO_IMAGE", f"The engine pulled `{image}` and does not find it.")


class Container:
    """One task in its image.

    Args:
      words: Command line; the image's own entry point is not used, as on the cluster.
      image: Its image.
      network: Docker's network; `none` by default everywhere above.
      private: Folder with the task's own folders (`minio`, `s3`, `gcs`, `tmp`).
      volumes: Folder in the task to folder here.
      scratch: Folders that are empty at the start.
      environment: Besides the image's own.
      log: Gets what it prints.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        image: str,
        network: str,
        private: pathlib.Path,
        volumes: Mapping[str, pathlib.Path],
        scratch: Sequence[str],
        environment: Mapping[str, str],
        log: IO[bytes],
    ):
        self.name = f"rehearsal-{uuid.uuid4().hex[:12]}"
        options = ["--rm", "--init", "--name", self.name, "--network", network]
        for folder in PRIVATE:
            here = private / folder.lstrip("/")
            here.mkdir(parents=True, exist_ok=True)
            _open_to_all(here)
            options += ["--volume", f"{here}:{folder}"]
        for folder, claim in volumes.items():
            claim.mkdir(parents=True, exist_ok=True)
            claim.chmod(0o777)
            options += ["--volume", f"{claim}:{folder}"]
        for folder in scratch:
            options += ["--tmpfs", folder]
        for name, value in environment.items():
            options += ["--env", f"{name}={value}"]
        self.process = subprocess.Popen(
            ["docker", "run", *options, "--entrypoint", words[0], image, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop(self) -> None:
        """Ends it at once; no container is left."""
        _docker("kill", self.name)
        self.process.kill()
        self.process.wait()


def remove(folder: pathlib.Path, image: str) -> None:
    """Removes a task's folder, whose files may belong to the image's user."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        _docker(
            *("run", "--rm", "--user", "0", "--network", "none", "--entrypoint", "rm"),
            *("--volume", f"{folder.parent}:/folder", image, "-rf", f"/folder/{folder.name}"),
        )


def _open_to_all(folder: pathlib.Path) -> None:
    """The image's user, whoever it is, writes here: on the cluster these are `emptyDir`s."""
    for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        path.chmod(0o777)


def _docker(
    *words: str, timeout: float | None = _ENGINE_SECONDS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=timeout, check=False
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]
