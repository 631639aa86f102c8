"""Deployed versions: complete before they are visible, named by what they contain.

    <root>/
      CURRENT                       the deployed version's name
      history.jsonl                 every move of the pointer: when, what, why
      versions/<version>/
        model.tflite                what serves
        model.json                  the contract, vocabularies included
        schema.pbtxt                of the training data
        statistics/Split-train/FeatureStats.pb   the reference for drift
        golden.json                 requests with the recorded answers
        manifest.json               SHA-256 of every file, run, data fingerprint

A version's name is a hash of its files, so the same content is the same version.
Imports no TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from models import golden
from models.errors import ConfigError, FlywheelError
from models.text import did_you_mean

POINTER = "CURRENT"
MANIFEST = "manifest.json"
MODEL_FILE = "model.tflite"
_VERSION_LENGTH = 12


@dataclasses.dataclass(frozen=True)
class Version:
    """One deployed version.

    Attributes:
      name: Hash of its content.
      created: ISO 8601, UTC.
      run_id: The run that pushed it first.
      data_fingerprint: Of the data it was trained on.
      bytes: Size of the TFLite file.
      metrics: On the test split, of the file itself.
      current: Whether the pointer names it.
    """

    name: str
    created: str
    run_id: str
    data_fingerprint: str
    bytes: int
    metrics: dict[str, float]
    current: bool


class Registry:
    """The deployed versions under one folder.

    Args:
      root: May not exist yet.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = pathlib.Path(root)

    def folder(self, version: str) -> pathlib.Path:
        """Where a version's files are."""
        return self.root / "versions" / version

    def current(self) -> str | None:
        """The deployed version's name, None when nothing was pushed yet."""
        try:
            return (self.root / POINTER).read_text("utf-8").strip() or None
        except FileNotFoundError:
            return None

    def manifest(self, version: str) -> dict[str, Any]:
        """What is known about a version."""
        return json.loads((self.folder(version) / MANIFEST).read_text("utf-8"))

    def versions(self) -> list[Version]:
        """All versions, newest first."""
        current = self.current()
        found = []
        for path in (self.root / "versions").glob(f"*/{MANIFEST}"):
            manifest = self.manifest(path.parent.name)
            found.append(
                Version(
                    path.parent.name,
                    manifest["created"],
                    manifest["run_id"],
                    manifest["data_fingerprint"],
                    manifest["files"][MODEL_FILE]["bytes"],
                    manifest.get("metrics", {}),
                    path.parent.name == current,
                )
            )
        return sorted(found, key=lambda v: v.created, reverse=True)

    def resolve(self, name: str | None = None) -> str:
        """The full name of a version from its beginning; the deployed one by default.

        Raises:
          ConfigError: NOTHING_DEPLOYED, UNKNOWN_VERSION.
        """
        if name is None:
            name = self.current()
            if name is None:
                raise ConfigError(
                    "NOTHING_DEPLOYED",
                    f"No model has been deployed to `{self.root}` yet.",
                    next="Train and push one with `flywheel run`.",
                )
            return name
        names = [v.name for v in self.versions()]
        matches = [n for n in names if n.startswith(name)]
        if len(matches) != 1:
            problem = "is not a deployed version" if not matches else "fits several versions"
            raise ConfigError(
                "UNKNOWN_VERSION",
                f"`{name}` {problem} in `{self.root}`.{did_you_mean(name, names)}",
                next="List them with `flywheel models list`.",
            )
        return matches[0]

    def publish(
        self, files: Mapping[str, str | os.PathLike[str] | bytes], details: Mapping[str, Any]
    ) -> tuple[str, bool]:
        """Stores a version and moves the pointer to it.

        The files are written to a place of their own, synced, checked in another
        process, and renamed into place; only then the pointer moves.

        Args:
          files: Name within the version to a path or the content.
          details: Goes into the manifest (`run_id`, `data_fingerprint`, `metrics` …).

        Returns:
          The version's name, and whether it is new.

        Raises:
          FlywheelError: GOLDEN_MISMATCH when the stored file does not answer as
            recorded; nothing is visible then.
        """
        with self._locked():
            staging = pathlib.Path(tempfile.mkdtemp(prefix=".staging-", dir=self.root))
            try:
                for name, source in files.items():
                    target = staging / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    if isinstance(source, bytes):
                        target.write_bytes(source)
                    else:
                        shutil.copyfile(source, target)
                sums = _checksums(staging)
                version = _version_name(sums)
                if self.folder(version).exists() and not _damage(self.folder(version)):
                    self._point_to(version, "pushed again", details.get("run_id", ""))
                    return version, False
                manifest = {
                    "format": 1,
                    "version": version,
                    "created": _now(),
                    **details,
                    "files": sums,
                }
                (staging / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
                golden.check_in_process(staging)
                _sync(staging)
                target = self.folder(version)
                target.parent.mkdir(exist_ok=True)
                if target.exists():  # damaged: the complete copy replaces it
                    os.replace(target, staging.with_name(staging.name + ".damaged"))
                    shutil.rmtree(staging.with_name(staging.name + ".damaged"))
                os.chmod(staging, 0o755)
                os.replace(staging, target)
                _sync_folder(target.parent)
                self._point_to(version, "pushed", details.get("run_id", ""))
                return version, True
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def rollback(self, version: str) -> str:
        """Moves the pointer to an earlier version, after checking it.

        Returns:
          The version that was deployed before.
        """
        name = self.resolve(version)
        self.verify(name)
        before = self.current() or ""
        with self._locked():
            self._point_to(name, f"rolled back from {before}", "")
        return before

    def verify(self, version: str | None = None) -> dict[str, Any]:
        """Checks every file's SHA-256 and that golden requests get the recorded answers.

        Raises:
          FlywheelError: VERSION_DAMAGED, GOLDEN_MISMATCH.
        """
        name = self.resolve(version)
        damage = _damage(self.folder(name))
        if damage:
            raise FlywheelError(
                "VERSION_DAMAGED",
                f"Version {name} in `{self.root}` is not what was pushed: "
                + "; ".join(f"{c['file']} {c['problem']}" for c in damage)
                + ".",
                next="Deploy another version with `flywheel models rollback VERSION`, or push "
                "again with `flywheel run`.",
                cases=damage,
            )
        checked = golden.check_in_process(self.folder(name))
        return {"version": name, "files": len(self.manifest(name)["files"]), **checked}

    def history(self) -> list[dict[str, Any]]:
        """Every move of the pointer, oldest first."""
        try:
            lines = (self.root / "history.jsonl").read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line]

    def _point_to(self, version: str, why: str, run_id: str) -> None:
        before = self.current()
        handle, temporary = tempfile.mkstemp(prefix=".pointer-", dir=self.root)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(version + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, self.root / POINTER)
        _sync_folder(self.root)
        entry = {"time": _now(), "from": before, "to": version, "why": why, "run_id": run_id}
        with open(self.root / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, across processes."""
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _checksums(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def _version_name(sums: Mapping[str, Mapping[str, Any]]) -> str:
    content = json.dumps({name: entry["sha256"] for name, entry in sums.items()}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:_VERSION_LENGTH]


def _damage(folder: pathlib.Path) -> list[dict[str, str]]:
    """What differs from the manifest, one case per file."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return [{"file": MANIFEST, "problem": "is missing or unreadable"}]
    found = _checksums(folder)
    cases = []
    for name, entry in manifest["files"].items():
        if name not in found:
            cases.append({"file": name, "problem": "is missing"})
        elif found[name]["sha256"] != entry["sha256"]:
            cases.append({"file": name, "problem": "has changed (SHA-256 differs)"})
    return cases


def _sync(folder: pathlib.Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        else:
            _sync_folder(path)
    _sync_folder(folder)


def _sync_folder(folder: pathlib.Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
