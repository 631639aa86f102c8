"""Splits: every row once, the same way each time, and nothing crosses that must not."""

from __future__ import annotations

import collections
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from custom_components.example_gen import csv_file, reader, split, timestamps
from custom_components.example_gen.options import SplitOptions
from models.errors import ConfigError, DataError

quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path, names, rows):
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return str(path)


def assign(path, **options) -> dict[str, list[dict]]:
    """The rows of each split."""
    dataset = reader.open_dataset(str(path))
    splitter = split.plan(dataset, SplitOptions(**options))
    rows = {name: [] for name in split.SPLITS}
    for batch in dataset.batches():
        for row, index in zip(batch.to_pylist(), splitter.assign(batch), strict=True):
            rows[split.SPLITS[index]].append(row)
    assert sum(map(len, rows.values())) == dataset.rows
    return rows


def as_sets(rows):
    return {
        name: collections.Counter(tuple(sorted(row.items())) for row in mine)
        for name, mine in rows.items()
    }


numbers = st.one_of(st.none(), st.integers(-(10**6), 10**6))
tables = st.lists(
    st.tuples(numbers, st.sampled_from(["red", "green", "blue", None])), min_size=3, max_size=200
)


@quick
@given(tables, st.randoms(use_true_random=False))
def test_row_hash_ignores_order_files_and_blocks(tmp_path, monkeypatch, rows, random_):
    rows.append((0.5, "blue"))  # so that the column is real, whatever the order
    assume(len(set(rows)) >= 3)
    for old in tmp_path.glob("**/*.csv"):
        old.unlink()
    whole = write(tmp_path / "whole.csv", "ab", rows)
    before = as_sets(assign(whole))

    random_.shuffle(rows)
    (tmp_path / "parts").mkdir(exist_ok=True)
    cut = len(rows) // 3
    write(tmp_path / "parts" / "1.csv", "ba", [row[::-1] for row in rows[cut:]])
    write(tmp_path / "parts" / "2.csv", "ab", rows[:cut] or rows[:0])
    with monkeypatch.context() as patch:
        patch.setattr(csv_file, "_BLOCK_BYTES", 64)
        after = as_sets(assign(tmp_path / "parts"))
    assert before == after
    assert all(before.values()), "no split is empty"
    for row in set(rows):
        key = (("a", None if row[0] is None else float(row[0])), ("b", row[1]))
        assert sum(key in mine for mine in before.values()) == 1, "equal rows are together"


def test_row_hash_is_the_same_on_every_machine():
    batch = pa.record_batch(
        [pa.array([1, None, 2**60]), pa.array([0.5, -0.0, 1e300]), pa.array(["a", "", "日本"])],
        ["x", "y", "z"],
    )
    expected = [859365430172224592, 11270870693549135061, 10040148119945956779]
    assert split.hash_rows(batch, ("x", "y", "z")).tolist() == expected
    assert split.hash_rows(batch, ("z", "x", "y")).tolist() == expected


def test_row_stays_when_the_table_grows_or_a_type_widens(tmp_path):
    rows = [(i, i % 7) for i in range(3000)]
    before = as_sets(assign(write(tmp_path / "t.csv", "ab", rows)))
    after = as_sets(
        assign(write(tmp_path / "t.csv", "ab", [*rows, *[(i + 0.5, 1) for i in range(2000)]]))
    )
    for name, mine in before.items():
        assert not mine - after[name]


def test_new_empty_column_moves_no_row(tmp_path):
    rows = [(i, i % 7) for i in range(500)]
    before = assign(write(tmp_path / "t.csv", "ab", rows))
    after = assign(write(tmp_path / "t.csv", "abc", [(*row, None) for row in rows]))
    assert [r["a"] for r in before["test"]] == [r["a"] for r in after["test"]]


@pytest.mark.parametrize("rows", [150, 1000, 30_000])
def test_shares(tmp_path, rows):
    parts = assign(write(tmp_path / "t.csv", "ab", [(i, 3 * i) for i in range(rows)]))
    counts = np.array([len(parts[name]) for name in split.SPLITS])
    expected = rows * np.array([0.70, 0.15, 0.15])
    # Four standard deviations of a multinomial.
    assert np.all(np.abs(counts - expected) < 4 * np.sqrt(expected * (1 - expected / rows)))


@pytest.mark.parametrize("rows", range(3, 40))
def test_few_rows_fill_every_split(tmp_path, rows):
    parts = assign(write(tmp_path / "t.csv", "a", [(i,) for i in range(rows)]))
    assert all(parts.values())
    assert len(parts["train"]) >= rows / 3


@quick
@given(st.lists(st.sampled_from([*"abcdefghij", None]), min_size=3, max_size=300))
def test_groups_never_cross(tmp_path, keys):
    assume(len(set(keys) - {None}) >= 3)
    path = write(tmp_path / "t.csv", ["key", "n"], [(k, i) for i, k in enumerate(keys)])
    parts = assign(path, by="key", column="key")
    assert all(parts.values())
    for key in set(keys) - {None}:
        assert sum(any(row["key"] == key for row in mine) for mine in parts.values()) == 1
    assert sum(row["key"] is None for row in parts["train"]) == keys.count(None)


def test_numeric_keys_hash_like_their_reals(tmp_path):
    groups = [(i // 4, i) for i in range(4000)]
    before = assign(write(tmp_path / "t.csv", "kn", groups), by="key", column="k")
    assert {len(v) for v in before.values()} != {0}
    after = assign(write(tmp_path / "t.csv", "kn", [*groups, (7.5, 0)]), by="key", column="k")
    assert {r["n"] for r in before["test"]} <= {r["n"] for r in after["test"]}


@quick
@given(st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=3, max_size=200))
def test_time_order(tmp_path, times):
    present = [t for t in times if t is not None]
    assume(len(set(present)) >= 3)
    path = write(tmp_path / "t.csv", ["t", "n"], [(t, i) for i, t in enumerate(times)])
    parts = assign(path, by="time", column="t")
    train, later, last = (
        [row["t"] for row in parts[name] if row["t"] is not None] for name in split.SPLITS
    )
    assert train and later and last
    assert max(train) < min(later) and max(later) < min(last)
    assert len(train) + times.count(None) == len(parts["train"]), "rows without a time train"
    # As close to 70 % as whole times allow.
    counts = np.bincount(present)
    reachable = np.cumsum(counts[counts > 0])[:-2]
    assert abs(len(train) - 0.7 * len(present)) == min(abs(reachable - 0.7 * len(present)))


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d",
        "%Y-%m-%d %H:%M",
        "%m/%d/%Y %I:%M:%S %p",
        "%d/%m/%Y",
        "%d.%m.%Y %H:%M",
        "%b %d, %Y",
        "%A %d %B %Y",
    ],
)
def test_times_as_text(tmp_path, monkeypatch, form):
    import datetime

    monkeypatch.setattr(csv_file, "_BLOCK_BYTES", 256)
    start = datetime.datetime(2023, 11, 3)
    days = [(start + datetime.timedelta(days=i)).strftime(form) for i in range(200)]
    rows = list(enumerate(days))
    random.Random(1).shuffle(rows)
    path = tmp_path / "t.csv"
    path.write_text("n,t\n" + "".join(f'{n},"{t}"\n' for n, t in rows))
    parts = assign(path, by="time", column="t")
    assert sorted(r["n"] for r in parts["train"]) == list(range(140))
    assert sorted(r["n"] for r in parts["eval"]) == list(range(140, 170))


def test_ambiguous_days_are_read_month_first():
    fits = timestamps.fitting(pa.array(["03/04/2020", "05/04/2020"]), timestamps.FORMATS)
    assert list(fits) == ["%m/%d/%Y", "%d/%m/%Y"]


def test_offsets_count():
    text = pa.array(["2024-01-01T00:30:00+02:00", "2023-12-31T23:00:00Z", "2023-12-31 22:45"])
    assert np.argsort(timestamps.parse_times(text, "iso")).tolist() == [0, 2, 1]


def test_errors(tmp_path):
    path = write(tmp_path / "t.csv", ["when", "x"], [("2024-01-01", 1), ("soon", 2), ("late", 3)])
    with pytest.raises(DataError) as caught:
        assign(path, by="time", column="when")
    assert caught.value.reason.code == "TIME_UNREADABLE"
    assert caught.value.reason.cases[0]["value"] == "soon"
    with pytest.raises(ConfigError) as caught:
        assign(path, by="key", column="wen")
    assert caught.value.reason.code == "COLUMN_MISSING" and "`when`" in str(caught.value)
    path = write(tmp_path / "t.csv", "kx", [("a", i) for i in range(9)])
    for options in ({"by": "key", "column": "k"}, {"by": "time", "column": "k"}):
        with pytest.raises(DataError):
            assign(path, **options)
    with pytest.raises(DataError) as caught:
        assign(write(tmp_path / "t.csv", "a", [(1,), (1,), (2,)]))
    assert caught.value.reason.code == "SPLIT_EMPTY"
