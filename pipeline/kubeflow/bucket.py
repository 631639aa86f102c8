"""Files between a bucket and this machine, for what no launcher carries: data and the registry.

Addresses are `gs://`, `s3://` or `minio://`. Credentials are the environment's: the usual
variables of each store (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS)
or the identity of the machine. AWS_ENDPOINT_URL names another S3 server, and
CLOUD_STORAGE_EMULATOR_ENDPOINT, which Google's library itself reads, another Cloud Storage.
"""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Iterable
from urllib.parse import urlsplit

from pyarrow import fs

from models.errors import ConfigError, FlywheelError

#: Where Kubeflow's own object store answers inside its cluster.
_MINIO = "http://minio-service.kubeflow:9000"
_CHUNK = 1 << 20


class Bucket:
    """A folder of a bucket.

    Args:
      address: `gs://bucket/folder`, `s3://…`, `minio://…`; or `file:///folder`.

    Raises:
      ConfigError: UNKNOWN_STORE.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        parts = urlsplit(self.address)
        self._root = parts.netloc + parts.path
        if parts.scheme in ("s3", "minio"):
            endpoint = os.environ.get("AWS_ENDPOINT_URL", _MINIO if parts.scheme == "minio" else "")
            server = urlsplit(endpoint)
            self._files: fs.FileSystem = fs.S3FileSystem(
                **(
                    {"endpoint_override": server.netloc, "scheme": server.scheme}
                    if endpoint
                    else {}
                )
            )
        elif parts.scheme == "gs":
            emulated = "CLOUD_STORAGE_EMULATOR_ENDPOINT" in os.environ
            self._files = fs.GcsFileSystem(anonymous=emulated)
        elif parts.scheme == "file":
            self._files = fs.LocalFileSystem()
        else:
            raise ConfigError(
                "UNKNOWN_STORE",
                f"`{address}` is in no store that can be read here.",
                next="Use gs://, s3:// or minio://, or a path.",
            )

    def names(self, folder: str = "") -> list[str]:
        """Every file below a folder, relative to the bucket's folder."""
        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        found = self._files.get_file_info(selector)
        return sorted(
            info.path.removeprefix(self._root).lstrip("/") for info in found if info.is_file
        )

    def is_file(self, name: str = "") -> bool:
        """Whether there is such a file."""
        return self._files.get_file_info(self._path(name)).is_file

    def fetch(self, names: Iterable[str], folder: str | os.PathLike[str]) -> None:
        """Copies files here.

        Raises:
          FlywheelError: STORE_UNREACHABLE.
        """
        for name in names:
            target = pathlib.Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._copy(name, target)

    def fetch_file(self, target: str | os.PathLike[str]) -> None:
        """Copies the one file that the address itself names."""
        self._copy("", pathlib.Path(target))

    def put(self, folder: str | os.PathLike[str], names: Iterable[str]) -> None:
        """Copies files there, one after the other in this order; each appears whole.

        Raises:
          FlywheelError: STORE_UNREACHABLE.
        """
        for name in names:
            path = self._path(name)
            try:
                if isinstance(self._files, fs.LocalFileSystem):
                    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
                with open(pathlib.Path(folder) / name, "rb") as source:
                    with self._files.open_output_stream(path) as target:
                        shutil.copyfileobj(source, target, _CHUNK)
            except OSError as error:
                raise self._unreachable(name, error) from None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _copy(self, name: str, target: pathlib.Path) -> None:
        try:
            with self._files.open_input_stream(self._path(name), compression=None) as source:
                with open(target, "wb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
        except OSError as error:
            raise self._unreachable(name, error) from None

    def _unreachable(self, name: str, error: OSError) -> FlywheelError:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return FlywheelError(
            "STORE_UNREACHABLE",
            f"`{self.address}/{name}`".replace("/`", "`") + f" cannot be copied: {first}",
            next="Look at the address, the credentials in the task's environment and the network.",
        )


def fetch_data(address: str, folder: str | os.PathLike[str]) -> str:
    """Copies a table here: a file, or the files directly in a folder.

    Returns:
      Its path here.

    Raises:
      ConfigError: NO_SUCH_FILE.
      FlywheelError: STORE_UNREACHABLE.
    """
    bucket = Bucket(address)
    try:
        single = bucket.is_file()
        names = [] if single else [name for name in bucket.names() if "/" not in name]
    except OSError as error:
        raise bucket._unreachable("", error) from None
    if single:
        target = pathlib.Path(folder) / pathlib.PurePosixPath(bucket.address).name
        bucket.fetch_file(target)
        return str(target)
    if not names:
        raise ConfigError(
            "NO_SUCH_FILE",
            f"There is no file `{address}`, and no file in a folder of that name.",
            next="Start the run with another data_path. Globs are not looked up in buckets.",
        )
    bucket.fetch(names, folder)
    return str(folder)
