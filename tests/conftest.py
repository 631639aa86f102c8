"""Shared by all tests: the environment, and expensive runs made once per session."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import hypothesis
import pytest

from models import stack

stack.prepare_environment()

# No test depends on how busy the machine is.
hypothesis.settings.register_profile("flywheel", deadline=None)
hypothesis.settings.load_profile("flywheel")

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Flywheel:
    """The command, as a user types it, in a folder.

    Args:
      folder: Working folder.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def __call__(
        self, *arguments: str, check: int | None = 0, timeout: float = 600, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs it; `check` is the exit code it must end with (None: any)."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "500", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check is not None:
            assert done.returncode == check, (
                f"flywheel {' '.join(arguments)} ended with {done.returncode}\n"
                f"{done.stdout}\n{done.stderr}"
            )
        return done

    def json(
        self, *arguments: str, check: int | None = 0, timeout: float = 600, **environment: str
    ) -> dict:
        """The object it ends with under `--json`."""
        done = self(*arguments, "--json", check=check, timeout=timeout, **environment)
        return json.loads(done.stdout.splitlines()[-1])


def children(process: int) -> list[int]:
    """The processes that this one started."""
    return [
        int(child)
        for task in pathlib.Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text("ascii").split()
    ]


@pytest.fixture
def flywheel(tmp_path: pathlib.Path) -> Flywheel:
    """The command in an empty folder."""
    return Flywheel(tmp_path)


@pytest.fixture(scope="session")
def browser():
    """Chromium; one for all, since a process can hold one of Playwright's loops."""
    from tests.control_center.browsing import CHROMIUM, chromium

    if not CHROMIUM:
        pytest.skip("no chromium on the PATH: pages are not looked at in a browser")
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def taxi(tmp_path_factory: pytest.TempPathFactory) -> tuple[Flywheel, dict]:
    """A first run on the taxi demo: the command in its folder, and the run's result.

    Warnings go into the run's log, where a test looks for those that are ours.
    """
    command = Flywheel(tmp_path_factory.mktemp("taxi"))
    command("init", "demo:chicago-taxi")
    return command, command.json("run", PYTHONWARNINGS="default")
