"""A private file system for one task, without containers.

The task sees this machine's files as its image: what it writes there is gone when it ends
(overlay), `/tmp` is its own, the folders of the object store hold its inputs only, and the
rehearsal's own folder is empty to it. All of it lives in a mount namespace and a process
namespace that end with the task, whatever ends it; nothing is mounted outside.
"""

from __future__ import annotations

import functools
import os
import pathlib
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from models.errors import ConfigError
from pipeline.rehearsal.backends import LOCAL_ROOTS

#: Folders of a task that are its own, and where they are under its private folder.
PRIVATE = (*(root.rstrip("/") for root in LOCAL_ROOTS.values()), "/tmp")
#: Not files: shown to the task as they are, or made anew.
_KERNEL = ("/proc", "/sys", "/dev")


@functools.cache
def namespaces() -> tuple[str, ...] | None:
    """The `unshare` command that this user may run here; None when there is none."""
    if not shutil.which("unshare"):
        return None
    base = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
    for extra in ((), ("--user", "--map-root-user")):
        command = (*base, *extra)
        probe = [*command, "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return command
    return None


@functools.cache
def has_overlay() -> bool:
    """Whether what a task writes outside of its own folders can be thrown away."""
    command = namespaces()
    if command is None:
        return False
    script = (
        "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/n && "
        "mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w overlay /mnt/n"
    )
    probe = [*command, "sh", "-c", script]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def require() -> None:
    """Refuses a machine on which tasks cannot be kept apart.

    Raises:
      ConfigError: NO_NAMESPACES.
    """
    if namespaces() is None:
        raise ConfigError(
            "NO_NAMESPACES",
            "This machine does not let a task have a file system of its own (no `unshare`, or "
            "neither root nor user namespaces), so a rehearsal would prove little.",
            next="Rehearse as root, allow user namespaces, or use `--containers`.",
        )


def start(
    words: Sequence[str],
    *,
    private: pathlib.Path,
    hidden: pathlib.Path,
    visible: Sequence[pathlib.Path],
    volumes: Mapping[str, pathlib.Path],
    scratch: Sequence[str],
    workdir: pathlib.Path,
    environment: Mapping[str, str],
    log: IO[bytes],
) -> subprocess.Popen[bytes]:
    """Starts a task.

    Args:
      words: Its command line.
      private: Folder with the task's own folders (`minio`, `s3`, `gcs`, `tmp`), made where missing.
      hidden: Folder that the task must not see: the rehearsal's.
      visible: Folders that the task needs even if they are under `/tmp`: its code, its Python.
      volumes: Folder in the task to folder here.
      scratch: Folders that are empty at the start and gone at the end.
      workdir: Where it starts.
      environment: All of it.
      log: Gets what it prints.
    """
    command = namespaces()
    assert command is not None
    for folder in PRIVATE:
        (private / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    mounts = _script(private, hidden, visible, volumes, scratch)
    run = f"chroot $new sh -c {shlex.quote(_IN_WORKDIR)} {shlex.quote(str(workdir))} "
    script = f"{mounts}\n{run}{shlex.join(words)}\nexit $?\n"
    # A command line may be longer than one argument can be.
    file = private / "start.sh"
    file.write_text(script, encoding="utf-8")
    return subprocess.Popen(
        [*_ends_with_parent(), *command, "sh", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,
    )


_IN_WORKDIR = 'cd "$0" && exec "$@"'


def _ends_with_parent() -> tuple[str, ...]:
    """Begins a command that the kernel ends when this process dies, however that happens."""
    return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


def _script(
    private: pathlib.Path,
    hidden: pathlib.Path,
    visible: Sequence[pathlib.Path],
    volumes: Mapping[str, pathlib.Path],
    scratch: Sequence[str],
) -> str:
    """Shell commands that put the task's root together at `$new`."""
    quote = shlex.quote
    base = private / "root"
    base.mkdir(exist_ok=True)
    lines = ["set -eu", f"base={quote(str(base))}", "new=$base/new"]
    lines += ["mount -t tmpfs tmpfs $base", "mkdir $new $base/upper $base/work"]
    if has_overlay():
        lines += [_overlay("/", 0)]
        lines += [_overlay(point, n) for n, point in enumerate(_mount_points(), start=1)]
    else:
        lines += ["mount -t tmpfs tmpfs $new"]
        lines += [_bound(entry) for entry in sorted(pathlib.Path("/").iterdir())]
    lines += ["mkdir -p $new/proc $new/sys $new/dev", "mount -t proc proc $new/proc"]
    lines += ["mount --rbind /sys $new/sys", "mount --rbind /dev $new/dev"]
    for folder in PRIVATE:
        lines += [_bind(private / folder.lstrip("/"), folder)]
    for number, path in enumerate(_outermost(visible)):
        if path.is_relative_to("/tmp"):  # which is the task's own
            lines += [_overlay(str(path), f"tmp{number}")]
    target = quote(str(hidden))
    lines += [f"mkdir -p $new{target} && mount -t tmpfs -o size=1m tmpfs $new{target}"]
    for folder, claim in volumes.items():
        claim.mkdir(parents=True, exist_ok=True)
        lines += [_bind(claim, folder)]
    for folder in scratch:
        lines += [f"mkdir -p $new{quote(folder)} && mount -t tmpfs tmpfs $new{quote(folder)}"]
    return "\n".join(lines)


def _overlay(point: str, number: int | str) -> str:
    """A layer over one file system of this machine; a plain view where that is not possible."""
    at = "$new" + ("" if point == "/" else shlex.quote(point))
    make_folders = f"$base/upper/{number} $base/work/{number}"
    options = f"upperdir=$base/upper/{number},workdir=$base/work/{number}"
    layer = f"mount -t overlay -o lowerdir={shlex.quote(point)},{options} overlay {at}"
    if point == "/":
        return f"mkdir -p {make_folders}\n{layer}"
    plain = f"mount --rbind {shlex.quote(point)} {at}"
    return f"mkdir -p {at} {make_folders}; {layer} 2>/dev/null || {plain} || true"


def _outermost(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Without those that are inside of others."""
    found: list[pathlib.Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def _bind(source: pathlib.Path, folder: str) -> str:
    at, here = shlex.quote(folder), shlex.quote(str(source))
    return f"mkdir -p $new{at} && mount --rbind {here} $new{at}"


def _bound(entry: pathlib.Path) -> str:
    """A plain view of one entry of the root folder."""
    at = f"$new{shlex.quote(str(entry))}"
    if entry.is_symlink():
        return f"ln -s {shlex.quote(os.readlink(entry))} {at}"
    if str(entry) in (*_KERNEL, *PRIVATE):
        return f"mkdir -p {at}"
    make = f"mkdir {at}" if entry.is_dir() else f": > {at}"
    return f"{make} && mount --rbind {shlex.quote(str(entry))} {at} || true"


def _mount_points() -> list[str]:
    """Other file systems of this machine that hold files, outermost first."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        inside = any(
            point == folder or point.startswith(folder + "/") for folder in (*_KERNEL, *PRIVATE)
        )
        if point != "/" and not inside and os.path.isdir(point):
            found.append(point)
    return sorted(set(found), key=lambda point: (point.count("/"), point))
