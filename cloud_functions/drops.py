"""Is it all there? A drop of data: one object, or a folder of them."""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import hashlib
import json
import pathlib
import posixpath
from collections.abc import Iterator
from typing import Protocol

from cloud_functions.endpoint import Later, Permanent
from cloud_functions.options import DropOptions

LOCAL = "local"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One object in a bucket."""

    name: str
    size: int
    generation: str
    updated: datetime.datetime


class Bucket(Protocol):
    """Where objects are."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Objects whose name begins so."""

    def read(self, name: str) -> bytes:
        """The content of an object."""

    def address(self, name: str) -> str:
        """How a run is told of it."""


class Folder:
    """A folder as a bucket.

    Args:
      root: The folder; names of objects are paths below it.
    """

    def __init__(self, root: str | pathlib.Path):
        self._root = pathlib.Path(root).resolve()

    def entries(self, prefix: str) -> Iterator[Entry]:
        for path in sorted(self._root.rglob("*")):
            name = path.relative_to(self._root).as_posix()
            if not name.startswith(prefix) or not path.is_file() or path.name.startswith("."):
                continue
            found = path.stat()
            updated = datetime.datetime.fromtimestamp(found.st_mtime, datetime.timezone.utc)
            yield Entry(name, found.st_size, str(found.st_mtime_ns), updated)

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def address(self, name: str) -> str:
        return str(self._root / name)


class CloudStorage:
    """A bucket of Google Cloud Storage, or of its emulator (`STORAGE_EMULATOR_HOST`).

    Args:
      name: Of the bucket.
    """

    def __init__(self, name: str):
        import os

        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        self._name = name
        if os.environ.get("STORAGE_EMULATOR_HOST"):
            client = storage.Client(project="local", credentials=AnonymousCredentials())
        else:
            client = storage.Client()
        self._bucket = client.bucket(name)

    def entries(self, prefix: str) -> Iterator[Entry]:
        for blob in self._bucket.list_blobs(prefix=prefix):
            yield Entry(blob.name, int(blob.size or 0), str(blob.generation), blob.updated)

    def read(self, name: str) -> bytes:
        return self._bucket.blob(name).download_as_bytes()

    def address(self, name: str) -> str:
        return f"gs://{self._name}/{name}"


def open_bucket(name: str, inbox: str | None) -> Bucket:
    """The bucket of an event; `local` is the folder that is watched.

    Raises:
      Permanent: NO_INBOX.
    """
    if name != LOCAL:
        return CloudStorage(name)
    if inbox is None:
        raise Permanent("NO_INBOX", "The event is of a local folder, and none is configured.")
    return Folder(inbox)


@dataclasses.dataclass(frozen=True)
class Drop:
    """Data that is all there.

    Attributes:
      address: What a run reads: an object or a folder.
      fingerprint: Of names, sizes and generations.
      files: How many.
      bytes: In all.
    """

    address: str
    fingerprint: str
    files: int
    bytes: int


def find(bucket: Bucket, name: str, options: DropOptions, now: datetime.datetime) -> Drop | str:
    """The drop that an object belongs to.

    Returns:
      The drop, or why the object is none.

    Raises:
      Later: it is not complete yet.
      Permanent: TOO_SMALL, WRONG_MANIFEST.
    """
    folder = posixpath.dirname(name)
    prefix = f"{folder}/" if folder else ""
    is_manifest = posixpath.basename(name) == options.manifest
    matches = fnmatch.fnmatchcase(name, options.pattern)
    if options.complete == "manifest":
        if not is_manifest:
            return f"It waits for {prefix}{options.manifest}."
    elif not matches:
        return f"It does not match {options.pattern!r}."
    if options.complete == "at_once":
        entries = [entry for entry in bucket.entries(name) if entry.name == name]
        return _complete(bucket, name, entries, options)
    present = [e for e in bucket.entries(prefix) if "/" not in e.name[len(prefix) :]]
    entries = [
        entry
        for entry in present
        if fnmatch.fnmatchcase(entry.name, options.pattern)
        and posixpath.basename(entry.name) != options.manifest
    ]
    if options.complete == "manifest":
        _compare(bucket.read(name), {e.name[len(prefix) :]: e.size for e in entries})
    elif entries:
        quiet = (now - max(entry.updated for entry in entries)).total_seconds()
        if quiet < options.quiet_seconds:
            left = options.quiet_seconds - quiet
            raise Later(left, f"The last object came {max(quiet, 0.0):.0f} s ago.")
    return _complete(bucket, folder, entries, options)


def _complete(bucket: Bucket, name: str, entries: list[Entry], options: DropOptions) -> Drop | str:
    if not entries:
        return "It is not there any more."
    size = sum(entry.size for entry in entries)
    if size < options.min_bytes:
        message = f"The drop has {size:,} bytes; {options.min_bytes:,} are the least."
        raise Permanent("TOO_SMALL", message)
    content = sorted((entry.name, entry.size, entry.generation) for entry in entries)
    fingerprint = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return Drop(bucket.address(name), fingerprint, len(entries), size)


def _compare(manifest: bytes, present: dict[str, int]) -> None:
    """Whether every file of the manifest is there; one without content names none."""
    if not manifest.strip():
        return
    try:
        wanted = {str(k): int(v) for k, v in json.loads(manifest)["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        message = 'The manifest is neither empty nor JSON of the form {"files": {name: bytes}}.'
        raise Permanent("WRONG_MANIFEST", message) from None
    for name, size in wanted.items():
        if present.get(name) != size:
            have = f"has {present[name]:,}" if name in present else "is not there"
            raise Later(30.0, f"{name} should have {size:,} bytes and {have}.")
