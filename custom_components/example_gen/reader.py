"""A table, wherever it lies, as typed Arrow batches in input order.

    dataset = open_dataset("trips/*.csv.gz", kinds={"fare": "numeric"})
    for batch in dataset.batches(): ...          # memory stays flat
    table = read_table("trips.parquet")          # all at once

Opening reads everything once, so that each column has the most general type over all rows and
files (`column_types`); every call of `batches` reads again. Files of one table may differ in
their columns: they are united by name, and what a file lacks is missing in its rows. Neither
TensorFlow nor TFX is imported, unless the source is a TFRecord.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import logging
from collections.abc import Collection, Iterator, Mapping

import pyarrow as pa

from custom_components.example_gen import columnar, csv_file, derive, pictures
from custom_components.example_gen.column_types import Column, canonical
from custom_components.example_gen.files import DataFile, find_files
from custom_components.example_gen.options import ImageOptions
from models import progress
from models.errors import ConfigError, DataError, Reason

_LOG = logging.getLogger(__name__)

#: Files that share less than this with the first file are another table.
_MIN_SHARED = 0.5
#: Images of each file that decide about the size of all.
_SAMPLE = 2000


@dataclasses.dataclass(frozen=True)
class Part:
    """One file of a table.

    Attributes:
      file: The file.
      names: Its columns.
      header: CSV only.
      rows: Rows used.
    """

    file: DataFile
    names: tuple[str, ...]
    header: csv_file.Header | None
    rows: int

    def blocks(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Its rows as the file has them; may hold more than `columns`."""
        if self.header:
            yield from csv_file.read_blocks(self.file, self.header, columns)
        elif self.file.format == "parquet":
            yield from columnar.read_parquet_blocks(self.file, columns)
        elif self.file.format == "images":
            yield from pictures.read_blocks(self.file.path, columns)
        else:
            yield from columnar.read_example_blocks(self.file)

    def sample(self, column: str) -> Iterator[pa.Array]:
        """Some values of a column: a few thousand at most, of a folder of images evenly spaced."""
        if self.file.format == "images":
            sampled = pictures.read_blocks(self.file.path, [column], _SAMPLE)
        else:
            sampled = self.blocks([column])
        seen = 0
        for block in sampled:
            if column not in block.schema.names or seen >= _SAMPLE:
                return
            yield block.column(block.schema.names.index(column)).slice(0, _SAMPLE - seen)
            seen += block.num_rows


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A typed table that can be read any number of times.

    Attributes:
      parts: Its files, in order.
      columns: Columns of the files, in the order in which they first appear.
      derived: Columns computed from them.
      rows: Rows in all files together (at most `max_rows`).
      image: The column of images, if there is one that is not ignored.
      size: Height, width and channels that they are brought to; None leaves them as they are.
    """

    parts: tuple[Part, ...]
    columns: tuple[Column, ...]
    derived: tuple[derive.Derived, ...]
    rows: int
    image: str | None = None
    size: tuple[int, int, int] | None = None

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """Names and types: null (all missing), int64, double or string; binary for images."""
        derived = [pa.field(d.name, d.type) for d in self.derived]
        return pa.schema([*_plain_fields(self.columns, self.image), *derived])

    @property
    def source_names(self) -> tuple[str, ...]:
        """The columns that are not derived."""
        return tuple(c.name for c in self.columns)

    @property
    def telling_names(self) -> tuple[str, ...]:
        """The columns by which rows are told apart: of images their pixels alone."""
        return (self.image,) if self.image else self.source_names

    def batches(self, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in input order.

        Args:
          columns: Only these, in the order of `schema`.

        Raises:
          DataError: DATA_CHANGED, the files are no longer what they were when opened.
        """
        wanted = set(self.schema.names if columns is None else columns)
        needed = set(wanted)
        derived = [d for d in reversed(self.derived) if d.name in self._needs(wanted)][::-1]
        for d in derived:
            needed.update(d.operands.values())
        pictured = bool(self.image) and (needed & set(self.picture_names) != set())
        if pictured:
            needed.update((self.image, pictures.FILE))
        sources = [c for c in self.columns if c.name in needed]
        schema = pa.schema([field for field in self.schema if field.name in wanted])
        read = 0
        for part in self.parts:
            left = part.rows
            for block in _blocks(part, [c.name for c in sources]) if left else ():
                batch = _convert(part, block.slice(0, left), sources)
                if pictured:
                    batch = self._with_pictures(batch, part)
                for d in derived:
                    batch = pa.RecordBatch.from_arrays(
                        [*batch.columns, d.compute(batch)], [*batch.schema.names, d.name]
                    )
                yield pa.RecordBatch.from_arrays(
                    [batch.column(name) for name in schema.names], schema=schema
                )
                left -= batch.num_rows
                read += batch.num_rows
                progress.step("rows", read, self.rows)
                if left <= 0:
                    break
            if left > 0:
                raise _changed(part.file)

    @property
    def picture_names(self) -> tuple[str, ...]:
        """The column of images and those that come from it."""
        return (self.image, *(f.name for f in pictures.summary_fields(self.image)))

    def _with_pictures(self, batch: pa.RecordBatch, part: Part) -> pa.RecordBatch:
        """The images in one size, their summaries beside them."""
        files = None
        if part.file.format == "images" and pictures.FILE in batch.schema.names:
            files = batch.column(pictures.FILE).to_pylist()
        images, summaries = pictures.convert(batch.column(self.image), self.size, self.image, files)
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns |= dict(zip(self.picture_names, (images, *summaries), strict=True))
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    def _needs(self, wanted: set[str]) -> set[str]:
        needs = set(wanted)
        for d in reversed(self.derived):
            if d.name in needs:
                needs.update(d.operands.values())
        return needs

    def table(self, columns: Collection[str] | None = None) -> pa.Table:
        """All rows at once; only some columns, in the order of `schema`, when they are named."""
        names = [n for n in self.schema.names if columns is None or n in set(columns)]
        schema = pa.schema([self.schema.field(name) for name in names])
        return pa.Table.from_batches(self.batches(columns), schema)


def open_dataset(
    path: str,
    *,
    kinds: Mapping[str, str] | None = None,
    derived: Mapping[str, str] | None = None,
    max_rows: int | None = None,
    image: ImageOptions | None = None,
) -> Dataset:
    """Finds the files of a table and decides the type of each column.

    Args:
      path: CSV, Parquet or TFRecord of tf.Example: file, folder, glob; a folder of images; or
        `demo:NAME`.
      kinds: What columns are configured as: `numeric`, `categorical`, `image`, `ignore` or
        `label`; or `text`, to read it as written. All but the ignored ones must be there, and
        numeric ones must hold numbers.
      derived: New columns as expressions (`derive`).
      max_rows: Only the first so many rows are looked at and read.
      image: Brings images into one size; by default they stay as they are.

    Raises:
      ConfigError: NO_SUCH_FILE, COLUMN_MISSING (in an expression), DERIVE_FAILED,
        SEVERAL_IMAGES, NOT_AN_IMAGE, IMAGE_SIZE_UNKNOWN ...
      DataError: EMPTY_FILE, HEADER_ONLY, RAGGED_ROWS, DUPLICATE_COLUMNS, NOT_UTF8,
        COLUMN_MISMATCH, COLUMN_UNSUPPORTED, UNREADABLE_FILE; LABEL_MISSING, COLUMN_MISSING and
        TYPE_CHANGED, gathered in one error.
    """
    kinds = dict(kinds or {})
    columns: dict[str, Column] = {}
    parts: list[Part] = []
    rows = 0
    unusable: dict[str, str] = {}
    for file in find_files(path):
        left = None if max_rows is None else max_rows - rows
        part = _scan(file, columns, kinds, unusable, left)
        _check_same_table(parts, part)
        parts.append(part)
        rows += part.rows
        if max_rows is not None and rows >= max_rows:
            break
    if not rows:
        raise DataError(
            "HEADER_ONLY",
            f"{parts[0].file.path} has a header with {len(parts[0].names)} columns but no rows.",
            next="Name data with rows.",
        )
    for name, why in unusable.items():
        if kinds.get(name, "ignore") != "ignore":
            raise DataError(
                "COLUMN_UNSUPPORTED",
                f"Column {why}, which Flywheel cannot use: it reads numbers, text, truth values, "
                "dates and times.",
                next=f"Convert it, or set `{name}: ignore` under `features`.",
            )
        _LOG.warning("column %s and is left out", why)
        columns.pop(name)
    usable = tuple(columns.values())
    pictured = _image_column(usable)
    plain = pa.schema(_plain_fields(usable, pictured))
    dataset = Dataset(tuple(parts), usable, derive.plan(derived or {}, plain), rows, pictured)
    _check_kinds(dataset, kinds)
    if image and pictured:
        blocks = (part.sample(pictured) for part in parts)
        size = pictures.usual_size(image, itertools.chain.from_iterable(blocks), pictured)
        dataset = dataclasses.replace(dataset, size=size)
    return dataset


def _plain_fields(columns: Collection[Column], image: str | None) -> list[pa.Field]:
    """The columns of the files and the summaries of their images."""
    fields = [pa.field(c.name, c.target) for c in columns]
    return fields + (pictures.summary_fields(image) if image else [])


def _image_column(columns: Collection[Column]) -> str | None:
    found = [column.name for column in columns if column.kind == "image"]
    if len(found) > 1:
        raise ConfigError(
            "SEVERAL_IMAGES",
            f"{' and '.join(f'`{name}`' for name in found)} hold images; a model takes one.",
            next="Set the others to `ignore` under `features` in flywheel.yaml.",
        )
    return found[0] if found else None


def read_table(
    path: str,
    *,
    kinds: Mapping[str, str] | None = None,
    derived: Mapping[str, str] | None = None,
    max_rows: int | None = None,
) -> pa.Table:
    """A whole table in memory, in input order; arguments and errors as `open_dataset`."""
    return open_dataset(path, kinds=kinds, derived=derived, max_rows=max_rows).table()


def _scan(
    file: DataFile,
    columns: dict[str, Column],
    kinds: Mapping[str, str],
    unusable: dict[str, str],
    max_rows: int | None,
) -> Part:
    """Reads one file and widens the columns' types by what it holds."""
    progress.doing(f"looking through {file.name}")

    def column(name: str) -> Column:
        return columns.setdefault(name, Column(name, kinds.get(name)))

    header, total = None, None
    names: dict[str, None] = {}
    look: list[str] | None = None
    if file.format == "csv":
        header = csv_file.read_header(file)
        look = list(header.names)
        names = dict.fromkeys(look)
    elif file.format == "parquet":
        schema, total = columnar.read_parquet_schema(file)
        names = dict.fromkeys(schema.names)
        look = []
        for field in schema:
            if kinds.get(field.name) == "image":
                pictures.is_image_column("image", pa.array([], field.type), field.name)
                continue
            try:
                if column(field.name).declare(field.type):
                    look.append(field.name)
            except TypeError as error:
                unusable[field.name] = str(error)
    elif file.format == "images":
        names, total = dict.fromkeys(pictures.NAMES), len(pictures.list_pictures(file.path))
        column(pictures.IMAGE).kind = kinds.get(pictures.IMAGE, "image")
        if kinds.get(pictures.IMAGE) == "ignore":
            unusable[pictures.IMAGE] = f"`{pictures.IMAGE}` holds images"
        column(pictures.LABEL).type = column(pictures.FILE).type = pa.string()
    for name in names:
        column(name)
    part = Part(file, tuple(names), header, 0)
    rows = 0
    # The footer of a Parquet file tells the rest.
    for block in () if total is not None and not look else part.blocks(look or []):
        if max_rows is not None:
            block = block.slice(0, max_rows - rows)
        for name, values in zip(block.schema.names, block.columns, strict=True):
            names[name] = None
            if pictures.is_image_column(column(name).kind, values, name):
                column(name).kind = "image"
                continue
            try:
                column(name).observe(
                    values if header else canonical(values, name), bool(header), file.path, rows
                )
            except TypeError as error:
                unusable[name] = str(error)
        rows += block.num_rows
        if max_rows is not None and rows >= max_rows:
            break
    if total is not None:
        rows = total if max_rows is None else min(total, max_rows)
    return dataclasses.replace(part, names=tuple(names), rows=rows)


def _blocks(part: Part, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    """The blocks of a part with at least those wanted columns that it has."""
    have = [name for name in wanted if name in set(part.names)]
    if not have and part.file.format != "tfrecord":
        have = list(part.names[:1])  # none of them, but its rows count
    yield from part.blocks(have)


def _convert(part: Part, block: pa.RecordBatch, columns: list[Column]) -> pa.RecordBatch:
    index = {name: i for i, name in enumerate(block.schema.names)}
    arrays = []
    for column in columns:
        if column.name not in index:
            arrays.append(pa.nulls(block.num_rows, column.target))
            continue
        values = block.column(index[column.name])
        try:
            as_read = part.header or column.kind == "image"
            arrays.append(column.convert(values if as_read else canonical(values, column.name)))
        except (TypeError, ValueError) as error:
            raise _changed(part.file) from error
    if not arrays:
        return pa.RecordBatch.from_pydict({"": pa.nulls(block.num_rows)})
    return pa.RecordBatch.from_arrays(arrays, [c.name for c in columns])


def _changed(file: DataFile) -> DataError:
    return DataError(
        "DATA_CHANGED",
        f"{file.path} changed while it was being read.",
        next="Run again when whatever writes it has finished.",
    )


def _check_same_table(parts: list[Part], part: Part) -> None:
    if not parts:
        return
    first, other = set(parts[0].names), set(part.names)
    if len(first & other) >= _MIN_SHARED * max(len(first), len(other)):
        return
    raise DataError(
        "COLUMN_MISMATCH",
        f"{part.file.path} has {len(first & other)} columns in common with {parts[0].file.path}, "
        f"of {len(other)} and {len(first)}: they do not look like parts of one table.",
        next="Name the files of one table only, for example with a glob.",
        cases=[
            {
                "file": p.file.path,
                "columns": ", ".join(p.names[:20]) + (" …" if len(p.names) > 20 else ""),
            }
            for p in (parts[0], part)
        ],
    )


def _check_kinds(dataset: Dataset, kinds: Mapping[str, str]) -> None:
    names = dataset.schema.names
    reasons = []
    for name, kind in kinds.items():
        if name in names or kind == "ignore":
            continue
        close = difflib.get_close_matches(name, names, 1, cutoff=0.5)
        hint = f"Did you mean `{close[0]}`?" if close else f"It has: {', '.join(names[:30])}."
        what, code = (
            ("label", "LABEL_MISSING") if kind == "label" else (f"{kind} feature", "COLUMN_MISSING")
        )
        reasons.append(
            Reason(
                code,
                f"The data has no column `{name}`, which is needed as {what}.",
                ({"column": name, "closest": close[0] if close else ""},),
                hint,
                "block",
            )
        )
    for column in dataset.columns:
        if column.kind == "numeric" and column.target == pa.string():
            example = f", for example `{column.cases[0]['value']}`" if column.cases else ""
            where = f" in row {column.cases[0]['row']}" if column.cases else ""
            reasons.append(
                Reason(
                    "TYPE_CHANGED",
                    f"Column `{column.name}` is configured as numeric but {column.unfit:,} of "
                    f"{dataset.rows:,} cells hold text{example}{where}.",
                    tuple({"column": column.name, **case} for case in column.cases),
                    f"Mend the cells (a missing one is left empty), or set `{column.name}: "
                    "categorical` under `features`.",
                    "block",
                )
            )
    if reasons:
        first = reasons[0]
        message = first.message
        if len(reasons) > 1:
            message += f" ({len(reasons) - 1} more problems like this one are listed.)"
        raise DataError(
            first.code, message, next=first.next, cases=first.cases, reasons=tuple(reasons)
        )
