"""Object stores on this machine, as processes that speak their protocols."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

#: The bucket that is there.
BUCKET = "tables"
_GCS = (
    "import sys; from gcp_storage_emulator.server import create_server; "
    f"create_server('127.0.0.1', int(sys.argv[1]), in_memory=True, default_bucket='{BUCKET}').run()"
)
_S3 = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"


@pytest.fixture(scope="session")
def cloud_storage() -> Iterator[str]:
    """Google's Cloud Storage: its address."""
    pytest.importorskip("gcp_storage_emulator", reason="no emulator of Cloud Storage is installed")
    yield from _served(_GCS)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """A server of Amazon's S3 protocol: its address."""
    pytest.importorskip("moto", reason="no server of the S3 protocol is installed (moto)")
    for address in _served(_S3):
        request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request).close()
        yield address


@pytest.fixture
def in_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder for this test in the store of a scheme, the test's parameter."""
    scheme, folder = request.param, request.getfixturevalue("tmp_path")
    if scheme == "file":
        return f"file://{folder}/bucket"
    if scheme == "gs":
        address = request.getfixturevalue("cloud_storage")
        monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", address)
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-no-one")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return f"{scheme}://{BUCKET}/{folder.name}-{scheme}"


def _served(source: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", source, str(port)],
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "the server of the store ended"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
