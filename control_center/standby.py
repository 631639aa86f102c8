"""The supervisor of the next run, at hand before anyone asks for one.

A run begins with some seconds of imports. Whoever opens the page that starts runs will
probably start one, so a supervisor is started then, and its worker imports while the
config is being read. It holds some 600 MB until it is used, or is let go after a while.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import threading

from models import child

_IDLE_SECONDS = 600


class Standby:
    """At most one waiting supervisor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: tuple[pathlib.Path, subprocess.Popen[bytes]] | None = None
        self._timer: threading.Timer | None = None

    def prepare(self, root: pathlib.Path, engine: str) -> None:
        """Sees to it that one waits for a run of this workspace, for the next ten minutes."""
        with self._lock:
            known = self._living(root)
            self._forget(kill=known is None)
            self._waiting = (root, known or supervisor(root, engine))
            self._timer = threading.Timer(_IDLE_SECONDS, self.close)
            self._timer.daemon = True
            self._timer.start()

    def take(self, root: pathlib.Path, engine: str) -> subprocess.Popen[bytes]:
        """The one that waits, or else a new one; it is the caller's then."""
        with self._lock:
            known = self._living(root)
            self._forget(kill=known is None)
        return known or supervisor(root, engine)

    def close(self) -> None:
        """Lets the waiting one go; without a request it ends by itself."""
        with self._lock:
            self._forget(kill=True)

    def _living(self, root: pathlib.Path) -> subprocess.Popen[bytes] | None:
        fits = self._waiting and self._waiting[0] == root and self._waiting[1].poll() is None
        return self._waiting[1] if self._waiting and fits else None

    def _forget(self, *, kill: bool) -> None:
        if self._timer:
            self._timer.cancel()
        if kill and self._waiting:
            for pipe in (self._waiting[1].stdin, self._waiting[1].stdout):
                assert pipe
                pipe.close()
        self._waiting = self._timer = None


def supervisor(root: pathlib.Path, engine: str) -> subprocess.Popen[bytes]:
    """A process that waits for its request, in a session of its own."""
    folder = root / "control_center"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "supervisor.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "control_center.supervisor", engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=child.environment(),
            start_new_session=True,
        )
    # It is our child until it ends: someone must take note when it does.
    threading.Thread(target=process.wait, daemon=True).start()
    return process
