"""The Debian 13 that a legacy machine tests the modern stack in leaves nothing behind."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import time

import pytest

from tests.conftest import ROOT

SCRIPT = ["sh", str(ROOT / "scripts/debian13.sh")]
MADE = pathlib.Path(
    os.environ.get("FLYWHEEL_DEBIAN13")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    / "flywheel/debian13"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.getuid() != 0 or not (MADE / "made").exists(),
        reason="there is no Debian 13 here yet: sh scripts/debian13.sh make run",
    ),
]


def enter(*command: str, folder: pathlib.Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SCRIPT, *command], cwd=folder, capture_output=True, text=True, check=False
    )


def mounts() -> list[str]:
    return [
        line for line in pathlib.Path("/proc/mounts").read_text().splitlines() if str(MADE) in line
    ]


def test_it_is_debian_13_with_this_checkout():
    done = enter("sh", "-c", "cat /etc/debian_version; ls; getconf GNU_LIBC_VERSION")
    assert done.returncode == 0, done.stderr
    first, *files, libc = done.stdout.splitlines()
    assert first.startswith("13") and libc >= "glibc 2.39"
    assert {"Makefile", "models", "pipeline", "tests"} <= set(files)


@pytest.mark.parametrize("code", [0, 3, 75])
def test_the_exit_code_is_the_commands_and_nothing_stays_mounted(code):
    assert enter("sh", "-c", f"exit {code}").returncode == code
    assert not mounts()


def test_here_is_the_same_folder_at_the_same_path(tmp_path):
    (tmp_path / "question").write_text("asked")
    done = enter("--here", "sh", "-c", "pwd; cat question; echo told > answer", folder=tmp_path)
    assert done.stdout.splitlines() == [str(tmp_path), "asked"]
    assert (tmp_path / "answer").read_text() == "told\n"


def test_killed_in_the_middle_it_leaves_no_process_and_no_mount(tmp_path):
    process = subprocess.Popen(
        [*SCRIPT, "--here", "sh", "-c", "echo $$ > started; exec sleep 4242"], cwd=tmp_path
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    assert not [
        path
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
        if path.read_bytes() == b"sleep\x004242\x00"
    ]
    assert not mounts()


def test_without_a_command_it_says_what_it_does():
    done = enter()
    assert done.returncode == 2 and "--here" in done.stderr
