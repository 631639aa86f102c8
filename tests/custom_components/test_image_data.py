"""Images as a table: folders and TFRecords, split by pixels, measured, written as examples."""

from __future__ import annotations

import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from custom_components.example_gen import executor, split
from custom_components.example_gen.fingerprint import fingerprint
from custom_components.example_gen.options import DataOptions, ImageOptions, SplitOptions
from custom_components.example_gen.reader import open_dataset, read_table
from custom_components.schema_validator.drift_checks import judged_columns
from custom_components.statistics_gen import statistics
from custom_components.statistics_gen.options import StatisticsOptions
from models import examples, feeds, images
from models.errors import ConfigError, DataError

RNG = np.random.default_rng(1)
SUMMARIES = ["image_brightness", "image_contrast", "image_width", "image_height"]


def write(path: pathlib.Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(height: int = 10, width: int = 12) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """40 colour pictures of two classes, one of them in another size and deeper."""
    root = tmp_path / "photos"
    for number in range(40):
        name = f"{'cat' if number % 2 else 'dog'}/{number:02d}.png"
        write(root / name, picture())
    write(root / "cat" / "old" / "x.jpg", picture(30, 20))
    (root / "cat" / "notes.txt").write_text("not a picture")
    write(root / ".hidden" / "y.png", picture())
    return root


def test_a_folder_is_a_table_with_a_class_per_sub_folder(folder):
    dataset = open_dataset(str(folder), image=ImageOptions())
    table = dataset.table()
    assert dataset.size == (10, 12, 3) and dataset.rows == 41
    assert table.schema.names == ["image", "label", "file", *SUMMARIES]
    assert set(table["label"].to_pylist()) == {"cat", "dog"}
    deep = table.filter(pa.compute.equal(table["file"], "cat/old/x.jpg")).to_pylist()[0]
    assert (deep["label"], deep["image_width"], deep["image_height"]) == ("cat", 20, 30)
    assert {images.shape(content) for content in table["image"].to_pylist()} == {(10, 12, 3)}
    first = np.asarray(Image.open(folder / table["file"][0].as_py()))
    assert (images.decode(table["image"][0].as_py(), 10, 12, 3) == first).all()
    assert table["image_brightness"][0].as_py() == pytest.approx(first.mean() / 255, abs=1e-6)
    assert table["image_contrast"][0].as_py() == pytest.approx(first.std() / 255, abs=1e-6)


def test_the_size_can_be_set_and_else_stays(folder):
    options = ImageOptions(height=5, width=6, channels=1)
    small = open_dataset(str(folder), image=options).table()
    assert {images.shape(content) for content in small["image"].to_pylist()} == {(5, 6, 1)}
    plain = read_table(str(folder))
    deep = plain["file"].to_pylist().index("cat/old/x.jpg")
    assert plain["image"][deep].as_py() == (folder / "cat" / "old" / "x.jpg").read_bytes()


def test_columns_without_pictures_need_no_decoding(folder):
    (folder / "dog" / "broken.png").write_bytes(b"\x89PNG and then nothing")
    dataset = open_dataset(str(folder), image=ImageOptions())
    assert len(dataset.table(["label"])) == 42
    with pytest.raises(DataError) as caught:
        dataset.table()
    reason = caught.value.reason
    assert reason.code == "UNREADABLE_IMAGE"
    assert [case["file"] for case in reason.cases] == ["dog/broken.png"]


def test_one_picture_and_a_folder_without_classes_have_no_label(folder, tmp_path):
    one = read_table(str(folder / "dog" / "00.png"))
    assert one["label"].to_pylist() == [None] and len(one) == 1
    flat = tmp_path / "flat"
    write(flat / "a.png", picture())
    assert read_table(str(flat))["label"].to_pylist() == [None]


def test_a_folder_of_nothing_says_what_is_read(tmp_path):
    with pytest.raises(ConfigError, match="no image"):
        open_dataset(str(tmp_path))


def test_equal_pictures_are_in_one_split_whatever_they_are_called(folder):
    for number in range(20):  # the same pixels in another file format and class
        with Image.open(folder / "dog" / f"{2 * number:02d}.png") as image:
            image.save(folder / "cat" / f"copy-{number}.bmp")
    dataset = open_dataset(str(folder), image=ImageOptions())
    splitter = split.plan(dataset, SplitOptions())
    place = {}
    for batch in dataset.batches():
        for file, part in zip(
            batch.column("file").to_pylist(), splitter.assign(batch), strict=True
        ):
            place[file] = part
    assert set(place.values()) == {0, 1, 2}
    for number in range(20):
        assert place[f"cat/copy-{number}.bmp"] == place[f"dog/{2 * number:02d}.png"]


def test_a_fingerprint_knows_classes_but_no_names(folder, tmp_path):
    before = fingerprint(str(folder))
    (folder / "dog" / "00.png").rename(folder / "dog" / "renamed.png")
    assert fingerprint(str(folder)) == before
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(str(tmp_path / "copy")) == before
    (folder / "dog" / "renamed.png").rename(folder / "cat" / "renamed.png")
    assert fingerprint(str(folder)) != before


def test_the_demo_is_written_once_and_is_the_real_data(monkeypatch, tmp_path):
    from sklearn.datasets import load_digits

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table = read_table("demo:digits")
    assert len(table) == 1797
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
    assert len(written) == 1797
    read_table("demo:digits", max_rows=1)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")} == written
    data = load_digits()
    files = table["file"].to_pylist()
    for number in (0, 777, 1796):
        row = files.index(f"{data.target[number]}/{number:04d}.png")
        pixels = images.decode(table["image"][row].as_py(), 8, 8, 1)[:, :, 0]
        assert (np.round(pixels * (16 / 255)) == data.images[number]).all()


def record(**columns) -> bytes:
    features = {}
    for name, value in columns.items():
        if isinstance(value, bytes):
            value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        else:
            value = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        features[name] = value
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def test_a_tfrecord_of_encoded_pictures(tmp_path):
    path = str(tmp_path / "a.tfrecord")
    pixels = [picture() for _ in range(6)]
    with tf.io.TFRecordWriter(path) as writer:
        for number, one in enumerate(pixels):
            writer.write(record(**{"image/encoded": images.encode(one), "image/class": number % 2}))
    dataset = open_dataset(path, image=ImageOptions())
    table = dataset.table()
    assert dataset.image == "image/encoded" and dataset.size == (10, 12, 3)
    for row, one in enumerate(pixels):
        assert (images.decode(table["image/encoded"][row].as_py(), 10, 12, 3) == one).all()
    assert table["image/encoded_width"].to_pylist() == [12] * 6


def test_a_tfrecord_of_raw_pixels_needs_a_size(tmp_path):
    path = str(tmp_path / "a.tfrecord")
    pixels = [np.full((4, 5, 1), 10 * n, np.uint8) for n in range(6)]
    with tf.io.TFRecordWriter(path) as writer:
        for number, one in enumerate(pixels):
            writer.write(record(pixels=one.tobytes(), y=number % 2))
    kinds = {"pixels": "image", "y": "label"}
    with pytest.raises(ConfigError) as caught:
        open_dataset(path, kinds=kinds, image=ImageOptions())
    assert caught.value.reason.code == "IMAGE_SIZE_UNKNOWN"
    size = ImageOptions(height=4, width=5, channels=1)
    table = open_dataset(path, kinds=kinds, image=size).table()
    assert (images.decode(table["pixels"][3].as_py(), 4, 5, 1) == pixels[3]).all()
    assert table["pixels_brightness"][3].as_py() == pytest.approx(30 / 255)


def test_what_is_no_picture_is_refused(tmp_path):
    path = str(tmp_path / "a.parquet")
    pa.parquet.write_table(pa.table({"x": ["text", "more"], "y": [0, 1]}), path)
    with pytest.raises(ConfigError) as caught:
        read_table(path, kinds={"x": "image"})
    assert caught.value.reason.code == "NOT_AN_IMAGE"
    one = images.encode(picture())
    pa.parquet.write_table(pa.table({"a": [one], "b": [one]}), path)
    with pytest.raises(ConfigError) as caught:
        read_table(path)
    assert caught.value.reason.code == "SEVERAL_IMAGES"


def test_examples_and_statistics(folder, tmp_path):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path / "examples")
    pathlib.Path(artifact.uri).mkdir()
    executor.Executor().Do(
        {},
        {"examples": [artifact]},
        {
            "options": DataOptions(path=str(folder)).model_dump_json(),
            "kinds": json.dumps({"image": "image", "label": "label"}),
        },
    )
    uri = artifact_utils.get_split_uri([artifact], "train")
    found = {}
    for batch in examples.read_split(uri):
        files = feeds.flat_column(batch, "file").cast(pa.string()).to_pylist()
        found.update(zip(files, feeds.flat_column(batch, "image").to_pylist(), strict=True))
    assert 20 < len(found) < 41
    for file, content in list(found.items())[:5]:
        if file.endswith(".png"):
            pixels = np.asarray(Image.open(folder / file))
            assert (images.decode(content, 10, 12, 3) == pixels).all()
    counted = statistics.compute(
        examples.read_split(uri), StatisticsOptions(images=("image",))
    ).datasets[0]
    columns = {f.path.step[0]: f for f in counted.features}
    assert columns["image"].WhichOneof("stats") == "bytes_stats"
    assert columns["image"].type == statistics_pb2.FeatureNameStatistics.BYTES
    assert 0.4 < columns["image_brightness"].num_stats.mean < 0.6


def test_drift_is_judged_by_what_was_measured():
    columns = dict.fromkeys(["image", "label", "file", *SUMMARIES])
    kinds = {"image": "image", "file": "ignore", "image_width": "ignore"}
    assert judged_columns(columns, kinds, "label") == ["label", *SUMMARIES]
