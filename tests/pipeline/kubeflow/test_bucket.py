"""Data and the registry in a bucket: Google's client against an emulator, and a folder."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from models.errors import ConfigError, FlywheelError
from models.registry import Registry
from pipeline.kubeflow.bucket import Bucket, fetch_data
from pipeline.kubeflow.bucket_registry import BucketRegistry


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Cloud Storage on this machine."""
    pytest.importorskip("gcp_storage_emulator", reason="no emulator of Cloud Storage is installed")
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


_SERVE = (
    "import sys; from gcp_storage_emulator.server import create_server; "
    "create_server('127.0.0.1', int(sys.argv[1]), in_memory=True, default_bucket='b').run()"
)


@pytest.fixture(params=["gs", "file"])
def address(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty folder of a bucket."""
    if request.param == "file":
        return f"file://{tmp_path}/bucket"
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", request.getfixturevalue("emulator"))
    return f"gs://b/{tmp_path.name}"


def _write(folder: pathlib.Path, **files: str) -> pathlib.Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_files_go_there_and_come_back(address: str, tmp_path: pathlib.Path) -> None:
    here = _write(tmp_path / "here", one="1", deep__two="2")
    bucket = Bucket(address)
    bucket.put(here, ["one", "deep/two"])
    assert bucket.names() == ["deep/two", "one"]
    assert bucket.names("deep") == ["deep/two"]
    bucket.fetch(bucket.names(), tmp_path / "back")
    assert (tmp_path / "back" / "deep" / "two").read_text("utf-8") == "2"


def test_a_table_is_one_file_or_a_folder_of_them(address: str, tmp_path: pathlib.Path) -> None:
    here = _write(tmp_path / "here", **{"a.csv": "x\n1\n", "b.csv": "x\n2\n"})
    Bucket(f"{address}/data").put(here, ["a.csv", "b.csv"])
    into = tmp_path / "into"
    into.mkdir()
    assert pathlib.Path(fetch_data(f"{address}/data/a.csv", into)).read_text("utf-8") == "x\n1\n"
    folder = pathlib.Path(fetch_data(f"{address}/data", into))
    assert sorted(p.name for p in folder.iterdir()) == ["a.csv", "b.csv"]


def test_data_that_is_not_there_is_named(address: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch_data(f"{address}/nothing.csv", tmp_path)
    assert caught.value.reason.code == "NO_SUCH_FILE"
    with pytest.raises(FlywheelError) as failed:
        Bucket(address).fetch(["nothing"], tmp_path)
    assert failed.value.reason.code == "STORE_UNREACHABLE"


def test_an_unknown_store_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Bucket("hdfs://cluster/data")
    assert caught.value.reason.code == "UNKNOWN_STORE"


def _version(registry: Registry, name: str) -> None:
    """A version as `publish` leaves it, with no model in it."""
    folder = _write(registry.folder(name), **{"model.tflite": name, "manifest.json": "{}"})
    assert folder.is_dir()
    registry._point_to(name, "pushed", f"run-{name}")


def test_a_registry_is_fetched_and_put_back(address: str, tmp_path: pathlib.Path) -> None:
    for version in ("first", "second"):
        folder = tmp_path / version
        folder.mkdir()
        copy = BucketRegistry(address, folder)
        copy.fetch()
        before = Registry(folder).current()
        assert before == (None if version == "first" else "first")
        if before:
            assert (Registry(folder).folder(before) / "model.tflite").read_text("utf-8") == before
        _version(Registry(folder), version)
        copy.put()
    last = tmp_path / "last"
    last.mkdir()
    BucketRegistry(address, last).fetch()
    registry = Registry(last)
    assert registry.current() == "second"
    assert [entry["run_id"] for entry in registry.history()] == ["run-first", "run-second"]
    assert os.listdir(last / "versions") == ["second"], "only the deployed version is fetched"
    assert any(name.startswith("versions/first/") for name in Bucket(address).names())


def test_a_version_is_whole_before_the_pointer_names_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bucket = tmp_path / "copy", tmp_path / "bucket"
    folder.mkdir()
    copy = BucketRegistry(f"file://{bucket}", folder)
    copy.fetch()
    _version(Registry(folder), "new")
    (folder / "history.jsonl").unlink()  # the upload breaks off there
    with pytest.raises(FlywheelError):
        copy.put()
    assert (bucket / "versions" / "new" / "manifest.json").exists()
    assert not (bucket / "CURRENT").exists()


def test_the_note_of_a_push_speaks_of_the_bucket(tmp_path: pathlib.Path) -> None:
    folder, pushed = tmp_path / "copy", tmp_path / "pushed"
    folder.mkdir()
    copy = BucketRegistry("file:///bucket/models", folder)
    note = {"version": "v", "path": str(folder / "versions" / "v"), "new": True}
    _write(pushed, **{"push.json": json.dumps(note)})
    copy.correct(pushed)
    corrected = json.loads((pushed / "push.json").read_text("utf-8"))
    assert corrected == {**note, "path": "file:///bucket/models/versions/v"}
