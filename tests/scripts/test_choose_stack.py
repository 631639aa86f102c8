"""Which stack a machine takes, and what it is told when it can take neither."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

from models import stack
from tests.conftest import ROOT


@pytest.fixture
def machine(tmp_path: pathlib.Path):
    """A machine that tells what the test wants of its C library, its processor and its Pythons."""

    def choose(
        glibc: str | None = "2.41",
        pythons: tuple[str, ...] = (),
        uname: str = "Linux x86_64",
        wanted: str = "",
    ) -> subprocess.CompletedProcess[str]:
        tools = tmp_path / "bin"
        tools.mkdir()
        for name in ("sh", "sort", "printf", "head"):
            (tools / name).symlink_to(f"/usr/bin/{name}")
        programs = {
            "uname": f"echo {uname}",
            "getconf": f"echo glibc {glibc}" if glibc else "exit 1",
            # A Python answers whether it is the version asked for, and then which it is.
            **{f"python{v}": f'[ "$3" = {v} ] || [ -z "$3" ] && echo {v}.7' for v in pythons},
        }
        for name, line in programs.items():
            (tools / name).write_text(f"#!/bin/sh\n{line}\n")
            (tools / name).chmod(0o755)
        return subprocess.run(
            ["/bin/sh", str(ROOT / "scripts/choose_stack.sh")],
            env={"PATH": str(tools), "HOME": str(tmp_path), "STACK": wanted},
            capture_output=True,
            text=True,
            check=False,
        )

    return choose


@pytest.mark.parametrize(
    "facts, chosen, python, why",
    [
        ({"pythons": ("3.10", "3.12", "3.13")}, "modern", "python3.12", "glibc 2.41"),
        ({"pythons": ("3.10", "3.11", "3.13")}, "modern", "python3.11", "needs 2.39"),
        ({"pythons": ("3.10", "3.13"), "glibc": "2.39"}, "modern", "python3.13", "glibc 2.39"),
        ({"pythons": ("3.10",)}, "legacy", "python3.10", "no Python 3.11, 3.12 or 3.13"),
        ({"pythons": ("3.10", "3.12"), "glibc": "2.36"}, "legacy", "python3.10", "glibc 2.36"),
        ({"pythons": ("3.10", "3.12"), "glibc": "2.9"}, "legacy", "python3.10", "glibc 2.9,"),
        ({"pythons": ("3.10", "3.12"), "wanted": "legacy"}, "legacy", "python3.10", "STACK=legacy"),
        ({"pythons": ("3.10", "3.12"), "wanted": "modern"}, "modern", "python3.12", "glibc 2.41"),
    ],
)
def test_the_newest_that_installs(machine, facts, chosen, python, why):
    done = machine(**facts)
    assert done.returncode == 0, done.stderr
    name, path, said = done.stdout.splitlines()
    assert (name, os.path.basename(path)) == (chosen, python)
    version = python.removeprefix("python")
    assert said.startswith(f"{chosen} stack (tfx {getattr(stack, chosen.upper()).tfx}), Python")
    assert f"Python {version}.7" in said and why in said


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"uname": "Linux aarch64", "pythons": ("3.12",)}, ("aarch64", "x86_64")),
        ({"uname": "Darwin arm64", "pythons": ("3.12",)}, ("Darwin arm64", "container")),
        ({"glibc": None, "pythons": ("3.12",)}, ("GNU C library", "Debian")),
        ({"glibc": "2.36", "pythons": ("3.12",)}, ("Python 3.10", "glibc 2.36", "pyenv install")),
        ({"pythons": ("3.9", "3.14")}, ("Python 3.10", "no Python 3.11")),
        (
            {"glibc": "2.36", "pythons": ("3.10", "3.12"), "wanted": "modern"},
            ("STACK=modern", "glibc 2.36", "debian13.sh"),
        ),
        ({"pythons": ("3.10",), "wanted": "modern"}, ("STACK=modern", "3.12, 3.11 or 3.13")),
        ({"pythons": ("3.10",), "wanted": "newest"}, ("STACK=newest", "STACK=modern")),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(machine, facts, words):
    done = machine(**facts)
    assert done.returncode == 2 and not done.stdout
    for word in words:
        assert word in done.stderr


def test_this_environment_is_of_the_stack_that_the_lock_names():
    lock = (ROOT / "requirements" / f"{stack.current().name}-run.txt").read_text("utf-8")
    for package, version in stack.decisive_versions().items():
        assert f"\n{package}=={version} " in lock


@pytest.mark.parametrize("known", [stack.MODERN, stack.LEGACY], ids=lambda s: s.name)
def test_script_requirements_and_code_agree(known):
    script = (ROOT / "scripts/choose_stack.sh").read_text("utf-8")
    order = " ".join(f"{major}.{minor}" for major, minor in known.pythons)
    assert f"find_python {order} " in script
    assert f"tfx {known.tfx}" in script
    assert f"tfx{'==' if known is stack.LEGACY else '>='}{known.tfx}" in (
        ROOT / "requirements" / f"{known.name}.in"
    ).read_text("utf-8")
    if known is stack.MODERN:
        assert f"needs {'.'.join(map(str, known.glibc))}" in script
