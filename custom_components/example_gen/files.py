"""From the path in the config to the files behind it: what they are and how to open them."""

from __future__ import annotations

import dataclasses
import difflib
import glob
import gzip
import os
import re
import zipfile
from typing import BinaryIO, Literal

from custom_components.example_gen import demo, pictures
from models import images
from models.errors import ConfigError, DataError

Format = Literal["csv", "parquet", "tfrecord", "images"]

_NAMES: dict[Format, re.Pattern[str]] = {
    "csv": re.compile(r"\.(csv|tsv)(\.gz|\.zip)?$", re.IGNORECASE),
    "parquet": re.compile(r"\.(parquet|pq)$", re.IGNORECASE),
    # The second form is what TFX itself writes: data_tfrecord-00000-of-00001.gz.
    "tfrecord": re.compile(r"(\.tfrecords?|tfrecord-\d{5}-of-\d{5})(\.gz)?$", re.IGNORECASE),
}
_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"
_PARQUET_MAGIC = b"PAR1"


@dataclasses.dataclass(frozen=True)
class DataFile:
    """One file of a table.

    Attributes:
      path: Where it is; the folder of images.
      format: What it holds.
      compression: How the whole file is packed; a zip holds exactly one file.
    """

    path: str
    format: Format
    compression: Literal["gzip", "zip"] | None

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def open(self) -> BinaryIO:
        """A stream of the unpacked bytes.

        Raises:
          DataError: UNREADABLE_FILE, a zip that does not hold exactly one file.
        """
        if self.compression == "gzip":
            return gzip.open(self.path, "rb")
        if self.compression == "zip":
            archive = zipfile.ZipFile(self.path)
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) != 1:
                raise DataError(
                    "UNREADABLE_FILE",
                    f"{self.path} is a zip of {len(members)} files; only a zip of one CSV is read.",
                    next="Unpack it and name the file or the folder.",
                )
            return archive.open(members[0])
        return open(self.path, "rb")


def find_files(path: str) -> tuple[DataFile, ...]:
    """The files behind a path, sorted by path.

    A folder means the CSV, Parquet and TFRecord files directly in it, known by their names, or
    else the images in it and below, which are one table (`pictures`); files whose names start
    with `.` or `_` are skipped. A file that is named, or matched by a
    glob (`**` looks into subfolders), may have any name: what it holds is then told from its
    first bytes.

    Args:
      path: A file, a folder, a glob, or `demo:NAME`.

    Raises:
      ConfigError: NO_SUCH_FILE, NO_SUCH_DEMO, DEMO_NOT_INSTALLED.
    """
    if path.startswith(demo.PREFIX):
        path = demo.find_demo(path)
    if "://" in path:
        raise ConfigError(
            "NO_SUCH_FILE",
            f"`{path}` is a remote address; data is read from paths of this machine.",
            next="Copy it here, or mount the bucket and name the mounted path.",
        )
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        found = [
            os.path.join(path, name)
            for name in os.listdir(path)
            if not name.startswith((".", "_")) and _format_of_name(name)
        ]
        if not found and pictures.holds_pictures(path):
            return (DataFile(path, "images", None),)
        problem = f"The folder {path} holds no CSV, Parquet or TFRecord file, and no image."
    elif os.path.exists(path):
        found = [path]
        problem = ""
    else:
        is_glob = glob.has_magic(path)
        found = glob.glob(path, recursive=True) if is_glob else []
        problem = f"No file matches {path}." if is_glob else f"There is no file {path}."
    found = sorted(name for name in found if os.path.isfile(name))
    if not found:
        raise ConfigError("NO_SUCH_FILE", problem, next=_suggest(path))
    return tuple(_data_file(name) for name in found)


def _format_of_name(name: str) -> Format | None:
    return next((f for f, pattern in _NAMES.items() if pattern.search(name)), None)


def _data_file(path: str) -> DataFile:
    try:
        with open(path, "rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise ConfigError(
            "NO_SUCH_FILE",
            f"{path} cannot be opened: {error.strerror}.",
            next="Check its permissions.",
        ) from error
    compression = None
    if magic.startswith(_GZIP_MAGIC):
        compression = "gzip"
    elif magic == _ZIP_MAGIC:
        compression = "zip"
    if images.is_encoded(magic) and pictures.is_picture(os.path.basename(path)):
        return DataFile(path, "images", None)
    if magic == _PARQUET_MAGIC:
        return DataFile(path, "parquet", None)
    return DataFile(path, _format_of_name(os.path.basename(path)) or "csv", compression)


def _suggest(path: str) -> str:
    """What the user may have meant: the closest name beside the missing one."""
    folder = path if os.path.isdir(path) else os.path.dirname(path) or "."
    while not os.path.isdir(folder):
        parent = os.path.dirname(folder) or "."
        if parent == folder:
            break
        path, folder = folder, parent
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    close = difflib.get_close_matches(os.path.basename(path), names, 1, cutoff=0.5)
    if close:
        return f"Did you mean {os.path.join(folder, close[0])}?"
    data = [name for name in names if _format_of_name(name)]
    if data:
        return f"{folder} holds {', '.join(data[:5])}{' …' if len(data) > 5 else ''}."
    return "Check the path of the data; relative paths start at the current folder."
