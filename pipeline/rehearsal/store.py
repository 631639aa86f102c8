"""The object store of a rehearsal: a folder that stands for `minio://`, `s3://` and `gs://`."""

from __future__ import annotations

import os
import pathlib
import shutil
import uuid

from pipeline.rehearsal.backends import local_path
from pipeline.rehearsal.values import TaskError


class ObjectStore:
    """Objects by URI. It knows no empty folders and keeps no file modes, as no object store does.

    Args:
      folder: Where objects are kept: `<folder>/minio/<bucket>/<key>`.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def path(self, uri: str) -> pathlib.Path:
        """Where the objects of a URI are.

        Raises:
          TaskError: UNKNOWN_SCHEME, UNSAFE_URI.
        """
        local = local_path(uri)
        if local is None:
            raise TaskError(
                "UNKNOWN_SCHEME",
                f"`{uri}` is in no object store that the launcher knows.",
                next="It knows `minio://`, `s3://` and `gs://`.",
            )
        if ".." in pathlib.PurePosixPath(local).parts:
            raise TaskError("UNSAFE_URI", f"`{uri}` leaves its bucket.")
        return self.folder / local.lstrip("/")

    def download(self, uri: str, target: pathlib.Path) -> int:
        """Copies everything under a URI; nothing there is no error, as for the launcher.

        Returns:
          Number of files.
        """
        source = self.path(uri)
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            return 1
        count = 0
        for file in sorted(source.rglob("*")):
            if file.is_file():
                copy = target / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
                count += 1
        return count

    def upload(self, source: pathlib.Path, uri: str) -> int:
        """Copies a file or a folder to a URI; it is visible whole or not at all.

        Returns:
          Number of files; 0 when the task wrote nothing, which the launcher allows.

        Raises:
          TaskError: LINKED_FOLDER for a link to a folder, which the launcher cannot upload.
        """
        if not source.exists():
            return 0
        incoming = self.folder / ".incoming" / uuid.uuid4().hex
        count = 0
        try:
            if source.is_file():
                incoming.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, incoming)
                count = 1
            else:
                count = _copy_objects(source, incoming)
            if count:
                target = self.path(uri)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():  # an earlier attempt's; this one replaces it
                    shutil.rmtree(target)
                os.replace(incoming, target)
        finally:
            if incoming.is_dir():
                shutil.rmtree(incoming, ignore_errors=True)
            else:
                incoming.unlink(missing_ok=True)
        return count


def _copy_objects(source: pathlib.Path, target: pathlib.Path) -> int:
    count = 0
    for folder, folders, files in os.walk(source):
        for name in folders:
            path = pathlib.Path(folder, name)
            if path.is_symlink():
                raise TaskError(
                    "LINKED_FOLDER",
                    f"The output holds `{path.relative_to(source)}`, a link to a folder: the "
                    "launcher cannot upload it.",
                    next="Copy the folder into the output instead of linking to it.",
                )
        for name in files:
            path = pathlib.Path(folder, name)
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            count += 1
    return count
