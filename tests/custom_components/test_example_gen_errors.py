"""Every way in which a table can be unusable, as a tiny real file: code, place and remedy."""

from __future__ import annotations

import gzip
import zipfile

import pytest

from custom_components.example_gen import csv_file, reader
from models.errors import ConfigError, DataError, FlywheelError


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def error_of(call, *args, **kwargs) -> FlywheelError:
    with pytest.raises(FlywheelError) as caught:
        call(*args, **kwargs)
    error = caught.value
    assert error.reason.message and error.reason.next, "what is wrong, and what to do"
    assert "\n" not in str(error), "one paragraph"
    return error


def test_no_such_file(tmp_path):
    write(tmp_path / "trips.csv", "a\n1\n")
    error = error_of(reader.read_table, str(tmp_path / "trip.csv"))
    assert isinstance(error, ConfigError) and error.exit_code == 2
    assert error.reason.code == "NO_SUCH_FILE" and "trips.csv" in error.reason.next
    for path in (tmp_path / "*.parquet", tmp_path / "no" / "such" / "folder.csv"):
        assert error_of(reader.read_table, str(path)).reason.code == "NO_SUCH_FILE"
    (tmp_path / "empty").mkdir()
    assert error_of(reader.read_table, str(tmp_path / "empty")).reason.code == "NO_SUCH_FILE"
    assert error_of(reader.read_table, "gs://bucket/t.csv").reason.code == "NO_SUCH_FILE"


@pytest.mark.parametrize("content", ["", "\n \n", gzip.compress(b"", mtime=0)])
def test_empty_file(tmp_path, content):
    error = error_of(reader.read_table, write(tmp_path / "t.csv", content))
    assert isinstance(error, DataError) and error.reason.code == "EMPTY_FILE"


@pytest.mark.parametrize("content", ["a,b", "a,b\n", "a,b\r\n\r\n"])
def test_header_only(tmp_path, content):
    error = error_of(reader.read_table, write(tmp_path / "t.csv", content))
    assert isinstance(error, DataError) and error.reason.code == "HEADER_ONLY"


def test_ragged_rows(tmp_path):
    path = write(tmp_path / "t.csv", 'a,b\n1,"x\ny"\n\n3\n4,5,6\n7,8\n')
    error = error_of(reader.read_table, path)
    assert isinstance(error, DataError) and error.reason.code == "RAGGED_ROWS"
    assert error.reason.cases == (
        {"file": path, "line": 5, "expected": 2, "got": 1},
        {"file": path, "line": 6, "expected": 2, "got": 3},
    )


def test_duplicate_columns(tmp_path):
    error = error_of(reader.read_table, write(tmp_path / "t.csv", "a,b,a\n1,2,3\n"))
    assert error.reason.code == "DUPLICATE_COLUMNS"
    assert error.reason.cases[0]["positions"] == "1, 3"


@pytest.mark.parametrize(
    "content, line",
    [
        ("a,b\n1,x\n2,é\n".encode("latin-1"), 3),
        ("é\n1\n".encode("latin-1"), 1),
        ("a,b\n1,x\n".encode("utf-16"), 1),
        (b"a,b\n" + b"1,x\n" * 9000 + b"1,\xff\n", 9002),
    ],
)
def test_not_utf8(tmp_path, content, line):
    error = error_of(reader.read_table, write(tmp_path / "t.csv", content))
    assert isinstance(error, DataError) and error.reason.code == "NOT_UTF8"
    assert error.reason.cases[0]["line"] == line and "iconv" in error.reason.next


def test_label_and_features_missing_are_gathered(tmp_path):
    path = write(tmp_path / "t.csv", "fare,tips\n1,2\nx,2\n")
    error = error_of(
        reader.open_dataset,
        path,
        kinds={"tip": "label", "fares": "numeric", "fare": "numeric", "gone": "ignore"},
    )
    assert [r.code for r in error.reasons] == ["LABEL_MISSING", "COLUMN_MISSING", "TYPE_CHANGED"]
    assert error.reasons[0].cases[0]["closest"] == "tips"
    assert error.reasons[1].cases[0]["closest"] == "fare"


def test_type_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "_BLOCK_BYTES", 256)
    cells = ["1", "2.5", ""] * 100 + ["about 7", " 8 ", "1,5"] + ["3"] * 100 + ["n.a."]
    path = write(tmp_path / "t.csv", "x;y\n" + "".join(f"{cell};0\n" for cell in cells))
    error = error_of(reader.open_dataset, path, kinds={"x": "numeric"})
    assert isinstance(error, DataError) and error.reason.code == "TYPE_CHANGED"
    assert [(c["row"], c["value"]) for c in error.reason.cases] == [
        (301, "about 7"),
        (303, "1,5"),
        (404, "n.a."),
    ]
    assert "3 of 404" in error.reason.message


def test_column_mismatch(tmp_path):
    write(tmp_path / "airlines.csv", "carrier,name\nAA,American\n")
    write(tmp_path / "planes.csv", "tailnum,year\nN1,1999\n")
    error = error_of(reader.read_table, str(tmp_path))
    assert isinstance(error, DataError) and error.reason.code == "COLUMN_MISMATCH"
    assert len(error.reason.cases) == 2


def test_unreadable(tmp_path):
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    cut = write(tmp_path / "cut.csv.gz", packed[: len(packed) // 2])
    torn = write(tmp_path / "torn.parquet", b"PAR1 and then nothing")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    for path in (cut, torn, str(tmp_path / "two.zip")):
        error = error_of(reader.read_table, path)
        assert isinstance(error, DataError) and error.reason.code == "UNREADABLE_FILE", path


@pytest.mark.parametrize("ending", ["", "\n"])
def test_unclosed_quote(tmp_path, ending):
    path = write(tmp_path / "t.csv", 'a,b\n1,"fine\n"\n2,"open\n3,x\n4,y' + ending)
    error = error_of(reader.read_table, path)
    assert isinstance(error, DataError) and error.reason.code == "UNREADABLE_FILE"
    assert error.reason.cases[0]["line"] == 4
    path = write(tmp_path / "t.csv", 'a,b\n1,"closed\n"' + ending)
    assert reader.read_table(path)["b"].to_pylist() == ["closed\n"]


def test_file_that_changes_while_it_is_read(tmp_path):
    path = write(tmp_path / "t.csv", "a\n1\n2\n")
    dataset = reader.open_dataset(path)
    for content in ("a\nx\ny\n", "a\n1\n"):
        write(tmp_path / "t.csv", content)
        assert error_of(dataset.table).reason.code == "DATA_CHANGED"
