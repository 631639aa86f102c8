"""CSV files as blocks of text columns, and what is wrong with those that are none.

Every cell stays text here; `column_types` decides over all rows what a column is. Reading text and
casting it is as fast as Arrow's own typed reading, and it needs no guess from the first rows.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from custom_components.example_gen.files import DataFile
from models.errors import DataError

#: Cells that mean "missing", quoted or not (the list of pandas 2).
NULL_TOKENS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip

_BLOCK_BYTES = 4 << 20
_DELIMITERS = ",\t;|"
_MAX_CASES = 20
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclasses.dataclass(frozen=True)
class Header:
    """The first row of a CSV.

    Attributes:
      names: Column names, stripped; a column without a name is `column_<position>`.
      lines: Physical lines up to the end of the header.
      delimiter: The first of `, tab ; |` that the header contains.
    """

    names: tuple[str, ...]
    lines: int
    delimiter: str


def read_header(file: DataFile) -> Header:
    """Reads and checks the header.

    Raises:
      DataError: EMPTY_FILE, NOT_UTF8, DUPLICATE_COLUMNS, UNREADABLE_FILE.
    """
    try:
        with file.open() as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            blank = 0
            line = text.readline()
            while line and not line.strip():
                blank += 1
                line = text.readline()
            if not line:
                raise DataError(
                    "EMPTY_FILE",
                    f"{file.path} is empty.",
                    next="Name a file with a header and rows.",
                )
            delimiter = next((d for d in _DELIMITERS if d in line), ",")
            reader = csv.reader(itertools.chain([line], text), delimiter=delimiter)
            cells = [cell.strip() for cell in next(reader)]
            lines = blank + reader.line_num
    except UnicodeDecodeError as error:
        raise _not_utf8(file) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise _unreadable(file, error) from error
    names = tuple(cell or f"column_{i}" for i, cell in enumerate(cells, 1))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(
            "DUPLICATE_COLUMNS",
            f"The header of {file.path} names {', '.join(f'`{n}`' for n in repeated)} more than "
            "once, so it is not clear which column is meant.",
            next="Rename or remove the repeated columns.",
            cases=[
                {
                    "file": file.path,
                    "column": name,
                    "positions": ", ".join(str(i) for i, n in enumerate(names, 1) if n == name),
                }
                for name in repeated
            ],
        )
    return Header(names, lines, delimiter)


def read_blocks(
    file: DataFile, header: Header, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV in order, as string columns, a few megabytes at a time.

    Args:
      file: The file.
      header: What `read_header` said.
      columns: Only these.

    Raises:
      DataError: RAGGED_ROWS, NOT_UTF8, UNREADABLE_FILE.
    """
    last_cell = ""
    try:
        with _arrow_stream(file) as stream:
            try:
                reader = pa_csv.open_csv(
                    stream,
                    pa_csv.ReadOptions(
                        column_names=header.names,
                        skip_rows=header.lines,
                        block_size=_BLOCK_BYTES,
                    ),
                    pa_csv.ParseOptions(delimiter=header.delimiter, newlines_in_values=True),
                    pa_csv.ConvertOptions(
                        column_types={name: pa.string() for name in header.names},
                        include_columns=list(columns) if columns is not None else None,
                        null_values=NULL_TOKENS,
                        strings_can_be_null=True,
                    ),
                )
            except pa.ArrowInvalid as error:
                if "Could not skip" in str(error) or "Empty CSV" in str(error):
                    return  # a header without a line end, and nothing after it
                raise
            for block in reader:
                yield block
                if header.names[-1] in block.schema.names and block.num_rows:
                    last_cell = block.column(header.names[-1])[-1].as_py() or ""
    except pa.ArrowInvalid as error:
        raise _diagnose(file, header, error) from error
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from error
    if "\n" in last_cell:
        _check_last_quote(file, last_cell)


def _check_last_quote(file: DataFile, last_cell: str) -> None:
    """An opening quote that is never closed swallows the rest of the file without an error."""
    quotes = lines = 0
    with file.open() as stream:
        while chunk := stream.read(_BLOCK_BYTES):
            quotes += chunk.count(b'"')
            lines += chunk.count(b"\n")
    if quotes % 2:
        line = lines - last_cell.count("\n") + 1
        raise DataError(
            "UNREADABLE_FILE",
            f"A double quote that opens near line {line} of {file.path} is never closed, so all "
            "rows after it would be one cell.",
            next="Close the quote, or remove it.",
            cases=[{"file": file.path, "line": line}],
        )


def _arrow_stream(file: DataFile) -> pa.NativeFile:
    if file.compression == "zip":
        return pa.PythonFile(file.open(), mode="r")
    return pa.input_stream(file.path, compression=file.compression)


def _diagnose(file: DataFile, header: Header, error: Exception) -> DataError:
    """Reads the file once more, slowly, to say where it is broken."""
    if "UTF8" in str(error):
        return _not_utf8(file)
    cases = []
    try:
        with file.open() as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            lines = itertools.islice(text, header.lines, None)
            reader = csv.reader(lines, delimiter=header.delimiter)
            for row in reader:
                if row and len(row) != len(header.names):
                    cases.append(
                        {
                            "file": file.path,
                            "line": header.lines + reader.line_num,
                            "expected": len(header.names),
                            "got": len(row),
                        }
                    )
                    if len(cases) == _MAX_CASES:
                        break
    except UnicodeDecodeError:
        return _not_utf8(file)
    except csv.Error:
        pass
    if not cases:
        return _unreadable(file, error)
    first = cases[0]
    more = f" {len(cases)}{' or more' if len(cases) == _MAX_CASES else ''} rows are like that."
    return DataError(
        "RAGGED_ROWS",
        f"Line {first['line']} of {file.path} has {first['got']} cells where the header has "
        f"{first['expected']} columns.{more if len(cases) > 1 else ''}",
        next=f"Mend the rows; a cell that contains `{header.delimiter}` or a line break must be "
        "in double quotes.",
        cases=cases,
    )


def _not_utf8(file: DataFile) -> DataError:
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            if number == 1 and line.startswith(_UTF16):
                return DataError(
                    "NOT_UTF8",
                    f"{file.path} is UTF-16, not UTF-8.",
                    next=f"Convert it: `iconv -f UTF-16 -t UTF-8 {file.name} > utf8.csv`.",
                    cases=[{"file": file.path, "line": 1, "byte": line[:1].hex()}],
                )
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start : error.start + 1].hex()
                return DataError(
                    "NOT_UTF8",
                    f"{file.path} is not UTF-8: line {number}, byte {error.start + 1} is 0x{byte}.",
                    next="Convert it; if it comes from Windows or Excel: "
                    f"`iconv -f WINDOWS-1252 -t UTF-8 {file.name} > utf8.csv`.",
                    cases=[{"file": file.path, "line": number, "byte": byte}],
                )
    return _unreadable(file, ValueError("its text cannot be decoded"))


def _unreadable(file: DataFile, error: Exception) -> DataError:
    detail = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        detail = f"it is a damaged or cut-off {file.compression or 'file'} ({detail})"
    return DataError(
        "UNREADABLE_FILE",
        f"{file.path} cannot be read as CSV: {detail.rstrip('.')}.",
        next="Check that the file is complete and that every opening double quote is closed.",
    )
