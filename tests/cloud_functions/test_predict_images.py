"""Pictures in requests: `{"b64": …}` as TF Serving's REST API has it, whole and damaged."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib

import httpx
import hypothesis.strategies as st
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from PIL import Image

from cloud_functions.local import Function
from cloud_functions.predict.rows import Decoder
from models import golden
from models.predictor import Predictor, TFLiteRunner
from models.registry import Registry
from models.spec import ImageFeature, ModelSpec, NumericFeature
from monitoring import prediction_log
from tests.cloud_functions.conftest import settings_in

SPEC = ModelSpec(
    "multiclass",
    "kind",
    ("a", "b", "c"),
    (NumericFeature("weight", 1.0, 0.0, 9.0, 1.0, 1.0),),
    (),
    image=ImageFeature("photo", 8, 8, 3),
)
PIXELS = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")


def encoded(kind: str, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).resize((size, size)).save(file, kind)
    return file.getvalue()


def row(content: bytes, **more) -> dict:
    return {"photo": {"b64": base64.b64encode(content).decode()}, **more}


def header_of(width: int, height: int) -> bytes:
    """A PNG of one bit per pixel, of any size, that weighs next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    packer, lines = zlib.compressobj(9), b""
    line = bytes(1 + (width + 7) // 8)
    for _ in range(height):
        lines += packer.compress(line)
    body = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", body)
        + chunk(b"IDAT", lines + packer.flush())
        + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A predict function whose model takes a picture and a number, and the model itself."""
    from custom_components.tflite_quantizer import recipes
    from custom_components.tflite_quantizer.convert import to_tflite
    from models.graph import Serving
    from models.network import build_network
    from models.options import StudentOptions

    folder = tmp_path_factory.mktemp("photos")
    options = StudentOptions(filters=(4,), hidden=(4,))
    content = to_tflite(Serving(SPEC, build_network(SPEC, options, 0)), recipes.get("float32"))
    predictor = Predictor(SPEC, TFLiteRunner(content))
    inputs = {"weight": np.array([[1.0]], np.float32), "photo": PIXELS[None]}
    files = {
        "model.tflite": content,
        "model.json": json.dumps(SPEC.to_dict()).encode(),
        "golden.json": golden.record(predictor, inputs),
    }
    made = settings_in(folder)
    Registry(made.deployed).publish(files, {"run_id": "r", "data_fingerprint": "d", "metrics": {}})
    (folder / "settings.json").write_text(made.model_dump_json())
    function = Function("predict", folder / "settings.json", folder / "log.txt")
    function.start()
    function.wait()
    yield function, predictor, made
    function.stop()


def ask(function: Function, rows: list) -> httpx.Response:
    return httpx.post(f"{function.url}/predict", json={"instances": rows}, timeout=60)


def test_pictures_of_every_format_are_answered_as_the_model_answers_them(photos):
    function, predictor, _ = photos
    whole = [encoded(kind) for kind in FORMATS] + [encoded("PNG", 31), PIXELS.tobytes()]
    answer = ask(function, [row(content, weight=2.0) for content in whole]).json()
    assert "errors" not in answer
    inputs = Decoder(SPEC).decode([row(content, weight=2.0) for content in whole]).inputs
    np.testing.assert_array_equal(inputs["photo"][0], PIXELS)  # PNG loses nothing
    np.testing.assert_array_equal(inputs["photo"][-1], PIXELS)
    found = np.asarray([p["probabilities"] for p in answer["predictions"]], np.float32)
    np.testing.assert_array_equal(found, predictor.predict_inputs(inputs))
    assert len({tuple(scores) for scores in found.tolist()}) > 1


def test_damaged_pictures_are_errors_of_their_rows(photos):
    function, _, made = photos
    png = encoded("PNG", 64)
    bad = {
        "cut off": (row(png[: len(png) // 2]), "UNREADABLE_IMAGE"),
        "header only": (row(png[:20]), "UNREADABLE_IMAGE"),
        "bomb": (row(header_of(40_000, 40_000)), "UNREADABLE_IMAGE"),
        "smaller bomb": (row(header_of(10_000, 9_000)), "IMAGE_TOO_LARGE"),
        "text": (row(b"no picture at all"), "UNREADABLE_IMAGE"),
        "empty": (row(b""), "UNREADABLE_IMAGE"),
        "no Base64": ({"photo": {"b64": "!!!"}}, "WRONG_TYPE"),
        "another key": ({"photo": {"b64": "", "x": 1}}, "WRONG_TYPE"),
        "a name": ({"photo": "cat.png"}, "WRONG_TYPE"),
        "a list": ({"photo": PIXELS.tolist()}, "WRONG_TYPE"),
    }
    before = largest(function)
    rows = [content for content, _ in bad.values()]
    answer = ask(function, [row(png), *rows, {"weight": 1.0}])
    assert answer.status_code == 200
    content = answer.json()
    assert [(e["row"], e["code"]) for e in content["errors"]] == [
        (place, code) for place, (_, code) in enumerate(bad.values(), 1)
    ]
    for error in content["errors"]:
        assert error["feature"] == "photo" and error["message"].endswith(".")
        assert len(error["message"]) < 400
    assert [p is None for p in content["predictions"]] == [False] + [True] * len(bad) + [False]
    assert largest(function) - before < 150 << 20  # 1.6 billion pixels were never made
    assert ask(function, [rows[0]]).status_code == 400
    function.stop()
    logged = [r for t in prediction_log.read(made.log) for r in t.to_pylist()]
    assert [r["outcome"] for r in logged].count("IMAGE_TOO_LARGE") == 1
    assert not any(name.startswith("feature.photo") for r in logged for name in r)


def largest(function: Function) -> int:
    """Most memory that the function's worker has had, in bytes."""
    [worker] = psutil.Process(function.process.pid).children()
    with open(f"/proc/{worker.pid}/status", encoding="ascii") as file:
        [line] = [line for line in file if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


DECODER = Decoder(SPEC)


@settings(max_examples=400)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6)), max_size=4),
    st.integers(0, 2000),
)
def test_whatever_the_bytes_are_a_row_is_read_or_has_an_error(kind, changes, end):
    content = bytearray(encoded(kind, 16))
    for place, written in changes:
        place %= len(content)
        content[place : place + len(written)] = written
    decoded = DECODER.decode([row(bytes(content[: end or None]))])
    if decoded.good:
        assert decoded.inputs["photo"].shape == (1, 8, 8, 3)
    else:
        [error] = decoded.errors
        assert error.code in ("UNREADABLE_IMAGE", "IMAGE_TOO_LARGE")
