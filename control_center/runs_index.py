"""All runs of a workspace as rows, fast: a run that ended is read once.

A thousand runs are a thousand small files; what was read stays in memory until
its file changes.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import pathlib
import re
import threading
import time
from typing import Any

import psutil
import yaml

from pipeline.runs import RunStore, end_state, summarize
from pipeline.workspace import RunFolder, Workspace

_STAMP = re.compile(r"(\d{8})-(\d{6})-[0-9a-f]{4}$")
_SCAN_SECONDS = 0.5
#: By whom and why a run was started, in the run's folder.
ORIGIN_FILE = "started.json"
QUALITY = ("auc", "r2", "accuracy", "pr_auc", "log_loss", "rmse")


@dataclasses.dataclass(frozen=True)
class Row:
    """One run, as lists show it.

    Attributes:
      id: Of the run.
      state: `pushed`, `not_blessed`, `blocked_by_data`, `failed`, `running`, or `lost`: no
        process and no result, so it was killed.
      started: Seconds since the epoch.
      result: The run's `result.json`, or what is known without one.
      name, data: Of the pipeline, from the config as it was.
      origin: `user`, `resumes`; empty when started from the command line.
    """

    id: str
    state: str
    started: float
    result: dict[str, Any]
    name: str
    data: str
    origin: dict[str, Any]

    @property
    def seconds(self) -> float | None:
        return (self.result.get("seconds") or {}).get("total")

    @property
    def rows(self) -> int:
        return sum((self.result.get("rows") or {}).values())

    @property
    def version(self) -> str | None:
        return (self.result.get("pushed") or {}).get("version")

    @property
    def quality(self) -> tuple[str, float] | None:
        """The first known metric of what shipped."""
        metrics = (self.result.get("metrics") or {}).get("shipped") or {}
        return next(((name, metrics[name]) for name in QUALITY if name in metrics), None)

    @property
    def codes(self) -> list[str]:
        reasons = self.result.get("reasons") or []
        return list(dict.fromkeys(r["code"] for r in reasons if r.get("severity") != "info"))

    def to_dict(self) -> dict[str, Any]:
        quality = self.quality
        return {
            "id": self.id,
            "state": self.state,
            "started": self.started,
            "seconds": self.seconds,
            "rows": self.rows,
            "name": self.name,
            "data": self.data,
            "version": self.version,
            "quality": {"metric": quality[0], "value": quality[1]} if quality else None,
            "reasons": self.codes,
            "user": self.origin.get("user"),
            "resumes": self.origin.get("resumes"),
        }


class RunsIndex:
    """The runs of a workspace.

    Args:
      workspace: Where to look.
    """

    def __init__(self, workspace: Workspace):
        self.workspace = workspace
        self._rows: dict[str, tuple[float, Row]] = {}
        self._resumes: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._workers: tuple[float, dict[str, int]] = (0.0, {})

    def ids(self) -> list[str]:
        """Newest first; as `Workspace.run_ids`, without a question to the disk for every run."""
        try:
            with os.scandir(self.workspace.root / "runs") as entries:
                return sorted((e.name for e in entries if e.is_dir()), reverse=True)
        except OSError:
            return []

    def rows(self) -> list[Row]:
        """Newest first."""
        return [self.row(run_id) for run_id in self.ids()]

    def row(self, run_id: str) -> Row:
        folder = self.workspace.run(run_id)
        try:
            changed = folder.result.stat().st_mtime
        except OSError:
            return self._unfinished(folder)
        with self._lock:
            known = self._rows.get(run_id)
        if known and known[0] == changed:
            return known[1]
        try:
            result = folder.read_result() or {}
        except ValueError:
            result = {"state": "failed"}
        row = _row(folder, str(result.get("state", "failed")), result)
        with self._lock:
            self._rows[run_id] = (changed, row)
        return row

    def _unfinished(self, folder: RunFolder) -> Row:
        if folder.id in self.workers():
            return _row(folder, "running", {})
        if folder.result.exists():  # it ended while we looked for its process
            return self.row(folder.id)
        run = RunStore(self.workspace).load(folder.id)
        try:
            state = end_state(run)
            found = summarize(run)
        except (OSError, ValueError, KeyError):
            state, found = "failed", {}
        return _row(folder, "lost" if state in ("running", "failed") else state, found)

    def running(self) -> list[Row]:
        """Runs whose process lives."""
        return [self.row(run_id) for run_id in sorted(self.workers(), reverse=True)]

    def workers(self, *, fresh: bool = False) -> dict[str, int]:
        """Run id to process id, of every living worker of this workspace, whoever started it.

        A worker works on the run whose log it writes, so this needs no record that could be out
        of date, and finds it again after a restart.
        """
        when, found = self._workers
        if not fresh and time.monotonic() - when < _SCAN_SECONDS:
            return found
        runs = (self.workspace.root / "runs").resolve()
        found = {}
        for process in psutil.process_iter(["cmdline", "status"]):
            command = process.info["cmdline"] or []
            if "pipeline.worker" not in command[:-1] or process.info["status"] == "zombie":
                continue
            try:
                written = [pathlib.Path(file.path) for file in process.open_files()]
            except psutil.Error:  # it has ended, or is somebody else's
                continue
            for log in written:
                if log.name == RunFolder(log.parent).log.name and log.parent.parent == runs:
                    found[log.parent.name] = process.pid
        self._workers = (time.monotonic(), found)
        return found

    def attempts(self, run_id: str) -> list[Row]:
        """Runs that are tries of the same thing: each resumed the one before."""
        ids = self.ids()
        if run_id not in ids:
            return []
        resumed = {i: found for i in ids if (found := self._resumed(i))}
        chain, current = [run_id], run_id
        while (current := resumed.get(current, "")) in ids and current not in chain:
            chain.insert(0, current)
        later = [i for i in reversed(ids) if resumed.get(i) == run_id and i not in chain]
        return [self.row(i) for i in (*chain, *later)]

    def _resumed(self, run_id: str) -> str | None:
        """Which run it goes on from: read once, since that does not change."""
        if run_id in self._resumes:
            return self._resumes[run_id]
        folder = self.workspace.run(run_id)
        found = origin(folder).get("resumes")
        if (folder.path / ORIGIN_FILE).exists() or folder.result.exists():
            self._resumes[run_id] = found
        return found


def started_at(run_id: str) -> float:
    """When a run began, as its id says; 0 when it does not."""
    stamp = _STAMP.match(run_id)
    if not stamp:
        return 0.0
    try:
        when = datetime.datetime.strptime("".join(stamp.groups()), "%Y%m%d%H%M%S")
    except ValueError:
        return 0.0
    return when.replace(tzinfo=datetime.timezone.utc).timestamp()


def _row(folder: RunFolder, state: str, result: dict[str, Any]) -> Row:
    name, data = _config_head(folder.config)
    started = started_at(folder.id) or folder.path.stat().st_mtime
    return Row(folder.id, state, started, result, name, data, origin(folder))


def origin(folder: RunFolder) -> dict[str, Any]:
    """By whom and why it was started; empty when that is not known."""
    return read_json(folder.path / ORIGIN_FILE)


def memory(folder: RunFolder) -> dict[str, int]:
    """Component to the most bytes its processes held; empty where nobody measured."""
    return read_json(folder.memory)


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object; empty when there is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _config_head(path: pathlib.Path) -> tuple[str, str]:
    """Name and data path; without reading all of the YAML, which takes milliseconds a run."""
    try:
        with open(path, encoding="utf-8") as file:
            head = file.read(4000)
    except (OSError, ValueError):
        return "", ""
    name = re.search(r"^name: (.+)$", head, re.MULTILINE)
    data = re.search(r"^data:\n(?:  .*\n)*?  path: (.+)$", head, re.MULTILINE)
    return tuple(_scalar(m.group(1)) if m else "" for m in (name, data))  # type: ignore


def _scalar(text: str) -> str:
    if text[:1] not in "\"'":
        return text
    try:
        return str(yaml.safe_load(text))
    except yaml.YAMLError:
        return text
