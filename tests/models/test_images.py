"""Images: files to pixels, the contract, the networks, and what is exported of them."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models import bundle, feeds, golden, images, reference
from models.errors import DataError
from models.graph import Preprocessor, Serving
from models.network import build_network
from models.options import StudentOptions, TeacherOptions
from models.predictor import SIGNATURE, Predictor, batch_rows
from models.rows import preprocess
from models.spec import CategoricalFeature, ImageFeature, ModelSpec, NumericFeature
from models.student import answers
from models.training import fit, predict_logits

RNG = np.random.default_rng(0)
SPEC = ModelSpec(
    "multiclass", "label", ("a", "b", "c"), (), (), image=ImageFeature("image", 8, 6, 3)
)
MIXED = ModelSpec(
    "binary",
    "label",
    ("no", "yes"),
    (NumericFeature("age", 40.0, 0.0, 90.0, 40.0, 20.0),),
    (CategoricalFeature("place", "string", ("here", "there")),),
    image=ImageFeature("scan", 8, 8, 1),
)
SHAPE = StudentOptions(filters=(4, 8), hidden=(6,), epochs=12, learning_rate=1e-2)


def picture(height: int = 8, width: int = 6, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels), np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def table(spec: ModelSpec, rows: int) -> pa.Table:
    """Bright pictures are of the later classes."""
    label = RNG.integers(0, len(spec.classes), rows)
    contents = [
        images.encode((picture(*spec.image.shape) // 4 + 60 * int(c)).astype(np.uint8))
        for c in label
    ]
    columns = {
        spec.image.name: pa.array(contents, pa.binary()),
        "label": pa.array([spec.classes[c] for c in label]),
    }
    for feature in spec.numeric:
        columns[feature.name] = pa.array(RNG.uniform(0, 90, rows))
    for feature in spec.categorical:
        columns[feature.name] = pa.array(RNG.choice(feature.vocabulary, rows))
    return pa.table(columns)


@settings(max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_a_png_keeps_every_pixel(height, width, channels, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    content = images.encode(pixels)
    assert images.is_encoded(content)
    assert images.shape(content) == (height, width, channels)
    assert (images.decode(content, height, width, channels) == pixels).all()


def test_raw_bytes_are_pixels_when_there_are_as_many():
    pixels = picture()
    pixels[0, 0, 0] = 0  # begins like no file
    assert (images.decode(pixels.tobytes(), 8, 6, 3) == pixels).all()
    with pytest.raises(images.Undecodable):
        images.decode(pixels.tobytes()[:-1], 8, 6, 3)


def test_other_modes_become_grey_or_colour():
    grey = Image.fromarray(picture(channels=1)[:, :, 0])
    assert images.shape(saved(grey, "PNG"))[2] == 1
    assert images.decode(saved(grey, "PNG"), 8, 6, 3).shape == (8, 6, 3)
    colour = Image.fromarray(picture())
    assert images.decode(saved(colour, "JPEG"), 8, 6, 1).shape == (8, 6, 1)
    assert images.shape(saved(colour.quantize(16), "GIF"))[2] == 3
    deep = Image.fromarray(np.full((2, 2), 0x8000, np.uint16))
    assert images.decode(saved(deep, "PNG"), 2, 2, 1).max() == 0x80
    clear = Image.fromarray(np.zeros((2, 2, 4), np.uint8))
    assert images.decode(saved(clear, "PNG"), 2, 2, 3).min() == 255, "transparent is white"


def test_a_camera_held_on_its_side_is_turned():
    picture_of_a_line = np.zeros((2, 6, 3), np.uint8)
    picture_of_a_line[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    content = saved(Image.fromarray(picture_of_a_line), "PNG", exif=exif)
    assert images.shape(content) == (6, 2, 3)
    upright = images.decode(content, 6, 2, 3)
    assert (upright[:, 1] == 255).all() and (upright[:, 0] == 0).all()


def test_a_smaller_picture_is_the_mean_of_what_was_there():
    checkers = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., np.newaxis]
    small = images.decode(images.encode(checkers), 4, 4, 1)
    assert np.abs(small.astype(int) - 127).max() <= 2


def test_all_pictures_that_cannot_be_read_are_named():
    good = images.encode(picture())
    with pytest.raises(DataError) as caught:
        images.decode_all([good, b"no", None, good[:40]], 8, 6, 3, "image")
    assert caught.value.reason.code == "UNREADABLE_IMAGE"
    assert [case["row"] for case in caught.value.reason.cases] == [1, 3]
    assert not images.decode_all([None, b""], 8, 6, 3, "image").any(), "a missing one is black"


def test_the_contract_of_a_table_is_written_as_it_was():
    plain = ModelSpec("binary", "y", ("0", "1"), MIXED.numeric, ())
    assert "image" not in plain.to_dict()
    for spec in (plain, SPEC, MIXED):
        assert ModelSpec.from_dict(spec.to_dict()) == spec
    assert list(MIXED.tensors) == ["age", "place", "scan"]


def test_blocks_follow_the_size():
    assert TeacherOptions().blocks(8, 8) == (32, 64, 128)
    assert StudentOptions().blocks(28, 28) == (16, 32, 64, 64, 64)
    assert len(StudentOptions().blocks(1, 1)) == 2
    assert len(StudentOptions().blocks(1000, 1000)) == 6
    assert SHAPE.blocks(500, 500) == (4, 8)


def test_convolution_normalisation_and_relu_stand_in_the_order_that_is_folded():
    for options in (TeacherOptions(), StudentOptions()):
        layers = build_network(SPEC, options).layers
        kinds = [type(layer).__name__ for layer in layers]
        places = [i for i, kind in enumerate(kinds) if "Conv2D" in kind]
        assert len(places) == (6 if options.convolution == "full" else 5)
        for i in places:
            assert kinds[i + 1 : i + 3] == ["BatchNormalization", "ReLU"]
            assert not layers[i].use_bias
    student = build_network(SPEC, StudentOptions()).count_params()
    assert student < build_network(SPEC, StudentOptions(convolution="full")).count_params() / 4


def test_the_scale_of_the_pixels_does_not_matter():
    network = build_network(SPEC, SHAPE)
    pixels = picture()[np.newaxis].repeat(4, axis=0).astype(np.float32)
    pixels[1:] += RNG.normal(0, 20, pixels[1:].shape)
    a, b = (network([x], training=True).numpy() for x in (pixels, pixels / 255))
    assert np.abs(a - b).max() < 0.05 * np.abs(a).max() + 0.02


@pytest.fixture(scope="module", params=[SPEC, MIXED], ids=["image", "with columns"])
def trained(request, tmp_path_factory):
    """A small student on bright and dark pictures, saved."""
    spec = request.param
    data = table(spec, 240)
    rows = preprocess(spec, [data], Preprocessor(spec), keep_inputs=True)
    network = build_network(spec, SHAPE)
    fit(network, spec, rows, rows, SHAPE, name="student", usual_epochs=30)
    folder = tmp_path_factory.mktemp("model")
    bundle.save(str(folder), spec, SHAPE, network)
    return spec, data, rows, network, folder


def test_it_learns_and_its_saved_model_says_the_same(trained):
    spec, data, rows, network, folder = trained
    said = answers(spec, predict_logits(network, spec, rows))
    predictor = Predictor.load(folder)
    assert np.abs(predictor.predict(data) - said).max() < 1e-4
    labels = predictor.labels(said)
    assert np.mean(labels == np.array(data["label"].to_pylist())) > 0.7
    again = bundle.load(str(folder))[2]
    assert (
        np.abs(predict_logits(again, spec, rows) - predict_logits(network, spec, rows)).max() == 0
    )


def test_the_graph_that_takes_examples_decodes_the_same_pixels(trained):
    spec, data, rows, network, folder = trained
    records = []
    for row in data.slice(0, 20).to_pylist():
        feature = {
            name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
            if isinstance(value, float)
            else tf.train.Feature(
                bytes_list=tf.train.BytesList(
                    value=[value if isinstance(value, bytes) else value.encode()]
                )
            )
            for name, value in row.items()
        }
        records.append(
            tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        )
    model = tf.saved_model.load(f"{folder}/Format-Serving")
    found = model.signatures[SIGNATURE](tf.constant(records))[spec.output].numpy()
    said = answers(spec, predict_logits(network, spec, rows))[:20]
    assert np.abs(found - said).max() < 1e-4
    empty = tf.train.Example().SerializeToString()
    nothing = model.signatures[SIGNATURE](tf.constant([empty]))[spec.output].numpy()
    assert np.isfinite(nothing).all()


def test_golden_requests_hold_pictures(trained, tmp_path):
    spec, data, _, network, _ = trained
    folder = tmp_path / "version"
    folder.mkdir()
    with_signature = str(tmp_path / "saved")
    serving = Serving(spec, network)
    tf.saved_model.save(serving, with_signature, signatures={SIGNATURE: serving.function()})
    converter = tf.lite.TFLiteConverter.from_saved_model(with_signature, signature_keys=[SIGNATURE])
    (folder / "model.tflite").write_bytes(converter.convert())
    spec.save(folder)
    predictor = Predictor.load(folder)
    inputs = feeds.encode(spec, data.slice(0, 5))
    (folder / golden.GOLDEN_FILE).write_bytes(golden.record(predictor, inputs))
    assert golden.check(folder) == {"requests": 5, "largest_difference": 0.0}


def test_batches_of_large_pictures_are_small():
    large = ModelSpec("binary", "y", ("0", "1"), (), (), image=ImageFeature("x", 224, 224, 3))
    assert batch_rows(large) == 27
    assert batch_rows(SPEC) == 1024


def test_trees_see_pixels_and_say_so():
    wide = ModelSpec("binary", "label", ("no", "yes"), (), (), image=ImageFeature("x", 40, 20, 3))
    rows = preprocess(wide, [table(wide, 300)], Preprocessor(wide))
    trees = reference.fit(wide, rows)
    assert trees.estimator.n_features_in_ == 16 * 16
    said = trees.logits(rows)[:, 0] > 0
    assert np.mean(said == (rows.labels == 1)) > 0.9
    assert "pixels" in trees.report()["kind"]


def test_rows_of_images_append_and_take():
    rows = preprocess(SPEC, [table(SPEC, 10)], Preprocessor(SPEC))
    both = rows.append(rows.take(np.array([3, 1])))
    assert len(both) == 12
    assert (both.image[10] == rows.image[3]).all()
    assert both.network_inputs(SPEC)[0].dtype == np.uint8
