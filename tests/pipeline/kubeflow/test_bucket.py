"""Data and the registry in a bucket, over each store's own protocol, and in a folder."""

from __future__ import annotations

import json
import os
import pathlib
import socket

import pytest

from models.errors import ConfigError, FlywheelError
from models.registry import Registry
from pipeline.kubeflow.bucket import Bucket, fetch_data
from pipeline.kubeflow.bucket_registry import BucketRegistry

everywhere = pytest.mark.parametrize("in_store", ["file", "gs", "s3", "minio"], indirect=True)


def _write(folder: pathlib.Path, **files: str) -> pathlib.Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


@everywhere
def test_files_go_there_and_come_back(in_store: str, tmp_path: pathlib.Path) -> None:
    here = _write(tmp_path / "here", one="1", deep__two="2")
    bucket = Bucket(in_store)
    bucket.put(here, ["one", "deep/two"])
    assert bucket.names() == ["deep/two", "one"]
    assert bucket.names("deep") == ["deep/two"]
    bucket.fetch(bucket.names(), tmp_path / "back")
    assert (tmp_path / "back" / "deep" / "two").read_text("utf-8") == "2"


@everywhere
def test_a_table_is_one_file_or_a_folder_of_them(in_store: str, tmp_path: pathlib.Path) -> None:
    here = _write(tmp_path / "here", **{"a.csv": "x\n1\n", "b.csv": "x\n2\n"})
    Bucket(f"{in_store}/data").put(here, ["a.csv", "b.csv"])
    into = tmp_path / "into"
    into.mkdir()
    assert pathlib.Path(fetch_data(f"{in_store}/data/a.csv", into)).read_text("utf-8") == "x\n1\n"
    folder = pathlib.Path(fetch_data(f"{in_store}/data", into))
    assert sorted(p.name for p in folder.iterdir()) == ["a.csv", "b.csv"]


@everywhere
def test_data_that_is_not_there_is_named(in_store: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch_data(f"{in_store}/nothing.csv", tmp_path)
    assert caught.value.reason.code == "NO_SUCH_FILE"
    with pytest.raises(FlywheelError) as failed:
        Bucket(in_store).fetch(["nothing"], tmp_path)
    assert failed.value.reason.code == "STORE_UNREACHABLE"


@pytest.mark.parametrize("in_store", ["s3"], indirect=True)
def test_a_table_larger_than_a_part_of_an_upload(in_store: str, tmp_path: pathlib.Path) -> None:
    """S3 takes large files in parts, of 10 MB as Arrow sends them."""
    content = os.urandom(1 << 20) * 24
    (tmp_path / "large").write_bytes(content)
    Bucket(in_store).put(tmp_path, ["large"])
    back = tmp_path / "back"
    back.mkdir()
    assert pathlib.Path(fetch_data(f"{in_store}/large", back)).read_bytes() == content


def test_a_server_that_is_not_there_is_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-no-one")
        with pytest.raises(FlywheelError) as failed:
            fetch_data("s3://tables/a.csv", tmp_path)
    assert failed.value.reason.code == "STORE_UNREACHABLE"
    assert "s3://tables/a.csv" in failed.value.reason.message
    assert "of-no-one" not in str(failed.value)


def test_an_unknown_store_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Bucket("hdfs://cluster/data")
    assert caught.value.reason.code == "UNKNOWN_STORE"


def _version(registry: Registry, name: str) -> None:
    """A version as `publish` leaves it, with no model in it."""
    folder = _write(registry.folder(name), **{"model.tflite": name, "manifest.json": "{}"})
    assert folder.is_dir()
    registry._point_to(name, "pushed", f"run-{name}")


@everywhere
def test_a_registry_is_fetched_and_put_back(in_store: str, tmp_path: pathlib.Path) -> None:
    for version in ("first", "second"):
        folder = tmp_path / version
        folder.mkdir()
        copy = BucketRegistry(in_store, folder)
        copy.fetch()
        before = Registry(folder).current()
        assert before == (None if version == "first" else "first")
        if before:
            assert (Registry(folder).folder(before) / "model.tflite").read_text("utf-8") == before
        _version(Registry(folder), version)
        copy.put()
    last = tmp_path / "last"
    last.mkdir()
    BucketRegistry(in_store, last).fetch()
    registry = Registry(last)
    assert registry.current() == "second"
    assert [entry["run_id"] for entry in registry.history()] == ["run-first", "run-second"]
    assert os.listdir(last / "versions") == ["second"], "only the deployed version is fetched"
    assert any(name.startswith("versions/first/") for name in Bucket(in_store).names())


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
