"""What a rehearsal keeps on disk, so that one that was killed goes on where it was.

    <folder>/
      store/minio/<bucket>/…          the object store
      volumes/<claim>/                persistent volume claims
      cache/<fingerprint>.json        executions that later ones may reuse
      runs/<run id>/
        run.json                      pipeline, backend, parameters
        result.json                   how it ended; missing: it can be gone on with
        tasks/<task>/
          execution.json              of a task that succeeded: its outputs
          attempt-<n>/log.txt         what it said
          attempt-<n>/executor_input.json, command.json

A task counts as done when its `execution.json` appears, which is by rename and after its outputs
are in the store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

from models.errors import FlywheelError
from pipeline.rehearsal.executions import CACHED, Execution

_FIELDS = [field.name for field in dataclasses.fields(Execution)]


@dataclasses.dataclass(frozen=True)
class Ledger:
    """The folder of all rehearsals.

    Attributes:
      folder: May not exist yet.
    """

    folder: pathlib.Path

    @property
    def store(self) -> pathlib.Path:
        return self.folder / "store"

    def volume(self, claim: str) -> pathlib.Path:
        """A persistent volume claim; it outlives every run."""
        return self.folder / "volumes" / claim

    def unfinished(self, key: str) -> Run | None:
        """The newest run of a pipeline if it was stopped before its end."""
        runs = sorted((self.folder / "runs").glob("*/run.json"), reverse=True)
        for file in runs:
            with contextlib.suppress(OSError, ValueError):
                if json.loads(file.read_text("utf-8")).get("key") == key:
                    run = Run(file.parent)
                    return None if run.result.exists() else run
        return None

    def new_run(self, description: str) -> Run:
        """A fresh run, named by the time."""
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H%M%S")
        run = Run(self.folder / "runs" / f"{stamp}-{secrets.token_hex(2)}")
        run.folder.mkdir(parents=True)
        publish(run.folder / "run.json", description)
        return run

    def cached(self, fingerprint: str) -> Execution | None:
        """What an earlier execution with the same fingerprint left."""
        found = _read(self.folder / "cache" / f"{fingerprint}.json")
        if found is None:
            return None
        return dataclasses.replace(found, state=CACHED, attempts=0, seconds=0.0)

    def keep(self, fingerprint: str, execution: Execution) -> None:
        """Lets later executions with this fingerprint reuse this one."""
        publish(self.folder / "cache" / f"{fingerprint}.json", _dump(execution))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One rehearsal at a time.

        Raises:
          FlywheelError: ALREADY_RUNNING.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FlywheelError(
                    "ALREADY_RUNNING",
                    f"Another rehearsal is using `{self.folder}` now.",
                    next="Wait for it to end, or use another `--folder`.",
                ) from None
            yield


@dataclasses.dataclass(frozen=True)
class Run:
    """The folder of one run."""

    folder: pathlib.Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def result(self) -> pathlib.Path:
        return self.folder / "result.json"

    @property
    def created(self) -> str:
        """When it began, RFC 3339."""
        stamp = datetime.datetime.strptime(self.id[:15], "%Y%m%d-%H%M%S")
        return stamp.strftime("%Y-%m-%dT%H:%M:%SZ")

    def task(self, path: str) -> TaskFolder:
        """The folder of a task; `path` is its name with those of the DAGs around it."""
        return TaskFolder(self.folder / "tasks" / path)


@dataclasses.dataclass(frozen=True)
class TaskFolder:
    """The files of one task of one run."""

    folder: pathlib.Path

    def done(self) -> Execution | None:
        """The task's execution if it has succeeded."""
        return _read(self.folder / "execution.json")

    def succeed(self, execution: Execution) -> None:
        """From now on the task counts as done."""
        publish(self.folder / "execution.json", _dump(execution))

    @property
    def attempts(self) -> int:
        """How often it was started in this run."""
        return len(list(self.folder.glob("attempt-*")))

    def new_attempt(self) -> pathlib.Path:
        """A folder for the next try, also after the rehearsal was killed."""
        attempt = self.folder / f"attempt-{self.attempts + 1}"
        attempt.mkdir(parents=True)
        return attempt


def publish(path: pathlib.Path, text: str) -> None:
    """Writes a file that is there whole or not at all, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _dump(execution: Execution) -> str:
    return json.dumps({name: getattr(execution, name) for name in _FIELDS}, indent=1)


def _read(path: pathlib.Path) -> Execution | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Execution(**data)
