"""Images as a table: a row each, with what is measured of it beside its pixels.

A folder has one sub-folder per class: `cats/1.png`, `dogs/old/2.jpg` are of the classes `cats` and
`dogs`; a file directly in the folder has none. In a TFRecord or Parquet file a column of bytes that
begin like an image file is one, and so is any that is configured as `image`.

Every image is written as a PNG of one size, so that nobody behind ExampleGen has to know formats,
and so that the graph that takes tf.Examples decodes exactly what training saw.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from custom_components.example_gen.options import ImageOptions
from models import images
from models.errors import ConfigError, DataError

IMAGE, LABEL, FILE = "image", "label", "file"
#: Columns of a folder of images.
NAMES = (IMAGE, LABEL, FILE)
_SUMMARY_TYPES = (pa.float64(), pa.float64(), pa.int64(), pa.int64())
_BLOCK_BYTES = 16 << 20
_BLOCK_ROWS = 2048
_LONGEST_SIDE = 96


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image file: where it is, and its path and class within the folder."""

    path: str
    file: str
    label: str | None


def is_picture(name: str) -> bool:
    """Whether a file is an image by its name."""
    return name.lower().endswith(images.SUFFIXES) and not name.startswith((".", "_"))


def holds_pictures(folder: str) -> bool:
    """Whether there is an image in a folder or below."""
    return any(True for _ in _walk(folder))


def list_pictures(path: str) -> tuple[Picture, ...]:
    """The images of a folder sorted by path, or the one file."""
    if os.path.isfile(path):
        return (Picture(path, os.path.basename(path), None),)
    found = []
    for inside in _walk(path):
        parts = inside.split(os.sep)
        found.append(
            Picture(
                os.path.join(path, inside), "/".join(parts), parts[0] if len(parts) > 1 else None
            )
        )
    return tuple(sorted(found, key=lambda picture: picture.file))


def _walk(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            if is_picture(name):
                yield os.path.relpath(os.path.join(place, name), folder)


def read_blocks(path: str, columns: list[str], most: int | None = None) -> Iterator[pa.RecordBatch]:
    """The images of a folder in order, about 16 MB at a time; their bytes only when asked for.

    Args:
      path: The folder, or one image.
      columns: Of `NAMES`.
      most: Only so many, evenly spaced.

    Raises:
      DataError: UNREADABLE_FILE.
    """
    block: list[Picture] = []
    contents: list[bytes | None] = []
    size = 0
    found = list_pictures(path)
    step = 1 if most is None else max(1, -(-len(found) // most))
    for picture in found[::step]:
        content = None
        if IMAGE in columns:
            try:
                with open(picture.path, "rb") as stream:
                    content = stream.read()
            except OSError as error:
                raise DataError(
                    "UNREADABLE_FILE",
                    f"{picture.path} cannot be opened: {error.strerror}.",
                    next="Check that it exists and its permissions, then run again.",
                ) from error
        block.append(picture)
        contents.append(content)
        size += len(content or b"")
        if size >= _BLOCK_BYTES or len(block) >= _BLOCK_ROWS:
            yield _block(block, contents)
            block, contents, size = [], [], 0
    if block:
        yield _block(block, contents)


def _block(block: list[Picture], contents: list[bytes | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(contents, pa.binary()),
            pa.array([picture.label for picture in block], pa.string()),
            pa.array([picture.file for picture in block], pa.string()),
        ],
        list(NAMES),
    )


def is_image_column(kind: str | None, values: pa.Array, name: str) -> bool:
    """Whether a column holds images: it is said so, or its first value begins like one.

    Raises:
      ConfigError: NOT_AN_IMAGE, it is said so and its values are no bytes.
    """
    binary = pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)
    if kind == "image":
        if not binary and not pa.types.is_null(values.type):
            raise ConfigError(
                "NOT_AN_IMAGE",
                f"Column `{name}` is configured as an image and holds values of type "
                f"{values.type}.",
                next="Images are a folder with a sub-folder per class, or a column of bytes in a "
                "TFRecord or Parquet file.",
            )
        return True
    if kind is not None or not binary:
        return False
    present = values.drop_null()
    return len(present) > 0 and images.is_encoded(present[0].as_py())


def summary_fields(image: str) -> list[pa.Field]:
    """The columns that `convert` adds for an image column."""
    names = images.summary_columns(image).values()
    return [pa.field(name, kind) for name, kind in zip(names, _SUMMARY_TYPES, strict=True)]


def convert(
    values: pa.Array, size: tuple[int, int, int] | None, column: str, files: list[str] | None
) -> tuple[pa.Array, list[pa.Array]]:
    """One block of images in one size, and their summaries.

    Args:
      values: Encoded or raw images.
      size: Height, width, channels; None leaves them as they are (raw ones have no summary then).
      column: For errors.
      files: Where each is from, if from files of their own.

    Raises:
      DataError: UNREADABLE_IMAGE.
    """
    contents, summaries, cases = [], [], []
    for row, content in enumerate(values.to_pylist()):
        if not content:
            contents.append(None)
            summaries.append((None,) * len(images.SUMMARIES))
            continue
        try:
            written, summary = _one(content, size)
        except images.Undecodable as error:
            where = {"file": files[row]} if files else {"row": row}
            cases.append({**where, "column": column, "problem": str(error)})
            written, summary = None, (None,) * len(images.SUMMARIES)
        contents.append(written)
        summaries.append(summary)
    if cases:
        raise images.unreadable(cases, len(contents))
    columns = zip(*summaries, strict=True) if summaries else ((),) * len(images.SUMMARIES)
    return pa.array(contents, pa.binary()), [
        pa.array(column, kind) for column, kind in zip(columns, _SUMMARY_TYPES, strict=True)
    ]


def _one(content: bytes, size: tuple[int, int, int] | None) -> tuple[bytes, tuple]:
    """An image as it is written, and its summary; the size is that of the original."""
    encoded = images.is_encoded(content)
    if size is None and not encoded:
        return content, (None,) * len(images.SUMMARIES)
    original = images.shape(content) if encoded else size
    pixels = images.decode(content, *(size or original))
    height, width, _ = original
    summary = (*images.summarize(pixels), width, height)
    return content if size is None else images.encode(pixels), summary


def pixels(values: pa.Array) -> np.ndarray:
    """Each image's pixels with its shape as bytes, object `[n]`: what tells images apart."""
    found = np.empty(len(values), object)
    for row, content in enumerate(values.to_pylist()):
        if images.is_encoded(content):
            shape = images.shape(content)
            content = repr(shape).encode() + images.decode(content, *shape).tobytes()
        found[row] = content
    return found


def usual_size(
    options: ImageOptions, blocks: Iterator[pa.Array], column: str
) -> tuple[int, int, int]:
    """Height, width and channels that all images are brought to: what is not set, by the data.

    The size of most images, else the median; at most 96 pixels on the longer side. Colour if any
    image has it.

    Raises:
      ConfigError: IMAGE_SIZE_UNKNOWN, raw pixels and no size.
    """
    if options.height and options.width and options.channels:
        return options.height, options.width, options.channels
    shapes: collections.Counter[tuple[int, int, int]] = collections.Counter()
    for values in blocks:
        for content in values.to_pylist():
            if not content:
                continue
            try:
                shapes[images.shape(content)] += 1
            except images.Undecodable:
                continue  # said with all others when it is decoded
    if not shapes:
        raise ConfigError(
            "IMAGE_SIZE_UNKNOWN",
            f"Column `{column}` holds raw pixels or nothing that can be read: its size cannot be "
            "told.",
            next="Set `data: {image: {height, width, channels}}` in flywheel.yaml.",
        )
    height, width = _usual(shapes)
    channels = max(shape[2] for shape in shapes)
    return options.height or height, options.width or width, options.channels or channels


def _usual(shapes: collections.Counter[tuple[int, int, int]]) -> tuple[int, int]:
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    for (height, width, _), count in shapes.items():
        sizes[height, width] += count
    (height, width), most = sizes.most_common(1)[0]
    if 2 * most < sizes.total():
        pairs = np.repeat(np.array(list(sizes)), list(sizes.values()), axis=0)
        height, width = (int(side) for side in np.median(pairs, axis=0))
    shrink = min(1.0, _LONGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))
