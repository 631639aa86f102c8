"""Images as models see them: decoded, upright, in one size. Imports no TensorFlow.

Everything that reads an image comes through `decode`: ExampleGen, training, evaluation, batch
prediction. Where the size differs from the model's, Pillow's bilinear filter resizes, which
averages over all pixels when it makes an image smaller; the aspect is not kept.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageOps

from models.errors import DataError

#: First bytes of the formats that are read: PNG, JPEG, GIF, BMP, WebP, TIFF (both byte orders).
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\x00", b"MM\x00*")
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
#: What is measured of every image beside its pixels: `<column>_<name>`.
SUMMARIES = ("brightness", "contrast", "width", "height")
_MODES = {1: "L", 3: "RGB"}
_SHOWN = 10


class Undecodable(ValueError):
    """Bytes that are no image; the message says why."""


def summary_columns(image: str) -> dict[str, str]:
    """Summary to the name of its column, for an image column."""
    return {name: f"{image}_{name}" for name in SUMMARIES}


def is_encoded(content: bytes) -> bool:
    """Whether bytes begin like an image file."""
    return content.startswith(_MAGIC)


def shape(content: bytes) -> tuple[int, int, int]:
    """Height, width and channels (1 grey, 3 colour) from the file's header, upright.

    Raises:
      Undecodable: not an image.
    """
    with _open(content) as image:
        width, height = image.size
        # 5 to 8: a camera held on its side (EXIF 2.32, tag 274).
        if image.getexif().get(0x0112, 1) >= 5:
            width, height = height, width
        grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
        return height, width, 1 if grey else 3


def decode(content: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """Pixels of an encoded or raw image.

    Args:
      content: A file's bytes, or `height × width × channels` raw 8-bit values, row by row.
      height, width, channels: As the model takes them; 1 channel is grey, 3 are red, green, blue.

    Returns:
      uint8 `[height, width, channels]`; transparent pixels are white.

    Raises:
      Undecodable: neither of both.
    """
    if not is_encoded(content) and len(content) == height * width * channels:
        return np.frombuffer(content, np.uint8).reshape(height, width, channels)
    with _open(content) as image:
        pixels = _upright(image, channels)
    if pixels.size != (width, height):
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(pixels, np.uint8).reshape(height, width, channels)


def encode(pixels: np.ndarray) -> bytes:
    """uint8 `[height, width, channels]` as a PNG: nothing is lost."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def black(shape: tuple[int, int, int]) -> np.ndarray:
    """What stands for a missing image."""
    return np.zeros(shape, np.uint8)


def decode_all(
    contents: Iterable[bytes | None], height: int, width: int, channels: int, column: str
) -> np.ndarray:
    """Pixels of many images, uint8 `[n, height, width, channels]`; a missing one is black.

    Raises:
      DataError: UNREADABLE_IMAGE, with the first rows that hold none.
    """
    contents = list(contents)
    pixels = np.zeros((len(contents), height, width, channels), np.uint8)
    cases = []
    for row, content in enumerate(contents):
        if not content:
            continue
        try:
            pixels[row] = decode(content, height, width, channels)
        except Undecodable as error:
            cases.append({"row": row, "column": column, "problem": str(error)})
    if cases:
        raise unreadable(cases, len(contents))
    return pixels


def unreadable(cases: list[dict], total: int) -> DataError:
    """The error for images that cannot be read."""
    first = cases[0]
    where = first.get("file") or f"row {first['row']} of column `{first['column']}`"
    return DataError(
        "UNREADABLE_IMAGE",
        f"{len(cases):,} of {total:,} images cannot be read, e.g. {where}: {first['problem']}.",
        next="Mend or remove them. Raw pixels need `data: {image: {height, width, channels}}` in "
        "flywheel.yaml, and as many bytes as that makes.",
        cases=cases[:_SHOWN],
    )


def summarize(pixels: np.ndarray) -> tuple[float, float]:
    """Brightness and contrast: mean and standard deviation of all values, 0 to 1."""
    values = pixels.astype(np.float32) / 255.0
    return float(values.mean()), float(values.std())


def _open(content: bytes) -> Image.Image:
    if not is_encoded(content):
        raise Undecodable(f"{len(content):,} bytes that begin like no image")
    try:
        return Image.open(io.BytesIO(content))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(_why(error)) from error


def _upright(image: Image.Image, channels: int) -> Image.Image:
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: the upper eight
            values = np.clip(np.asarray(image, np.int64) >> 8, 0, 255)
            image = Image.fromarray(values.astype(np.uint8))
        if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
            image = image.convert("RGBA")
            ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(ground, image)
        return image.convert(_MODES[channels])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(_why(error)) from error


def _why(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
