"""The registry of deployed models in a bucket: fetched before a task, put back after it.

A registry is a folder of files that are renamed and locked; a bucket knows neither. So a task works
on a copy that holds what it needs, and afterwards a new version goes up before the pointer: whoever
reads the bucket sees the old version or the whole new one. Two runs that push at the same moment
are not kept apart: both versions are stored whole, and the later pointer stands.
"""

from __future__ import annotations

import json
import pathlib

from models.registry import MANIFEST, POINTER, Registry
from pipeline.kubeflow.bucket import Bucket

_HISTORY = "history.jsonl"


class BucketRegistry:
    """A registry under an address, and its copy here.

    Args:
      address: `gs://…`, `s3://…`, `minio://…`.
      folder: An empty folder for the copy.
    """

    def __init__(self, address: str, folder: pathlib.Path):
        self._bucket = Bucket(address)
        self.folder = folder
        self._registry = Registry(folder)
        self._before: str | None = None

    def fetch(self) -> None:
        """Copies the pointer, the history and the deployed version here."""
        names = set(self._bucket.names())
        self._bucket.fetch(sorted({POINTER, _HISTORY} & names), self.folder)
        self._before = self._registry.current()
        version = f"versions/{self._before}/"
        self._bucket.fetch(sorted(n for n in names if n.startswith(version)), self.folder)

    def put(self) -> None:
        """Copies what the task has deployed there, the pointer last."""
        version = self._registry.current()
        if version is None:
            return
        root = self._registry.folder(version)
        files = sorted(
            path.relative_to(self.folder).as_posix() for path in root.rglob("*") if path.is_file()
        )
        manifest = f"versions/{version}/{MANIFEST}"
        if version != self._before:
            self._bucket.put(self.folder, [*(f for f in files if f != manifest), manifest])
        self._bucket.put(self.folder, [_HISTORY, POINTER])

    def correct(self, pushed: pathlib.Path) -> None:
        """Makes the note in a pushed artifact speak of the bucket instead of the copy."""
        from custom_components.pusher.executor import PUSH_FILE  # imports TFX

        note = pushed / PUSH_FILE
        if not note.is_file():
            return
        content = json.loads(note.read_text("utf-8"))
        place = pathlib.PurePath(content["path"]).relative_to(self.folder).as_posix()
        content["path"] = f"{self._bucket.address}/{place}"
        note.write_text(json.dumps(content), encoding="utf-8")
