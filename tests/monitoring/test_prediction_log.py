"""The prediction log: what goes in comes out, whole, in its partition, and nobody waits for it."""

from __future__ import annotations

import datetime
import os
import pathlib
import stat
import string
import time

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from monitoring import log_rows, prediction_log

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
SPEC = ModelSpec(
    "binary",
    "tips",
    ("no", "yes"),
    (NumericFeature("fare", 1.0, 0.0, 9.0, 1.0, 1.0),),
    (
        CategoricalFeature("area", "integer", ("1", "2"), "integer"),
        CategoricalFeature("company", "string", ("a", "b")),
    ),
)
ROWS = [
    {"fare": 1.5, "area": 1, "company": "a", "unknown": 7},
    {"fare": "2.5", "area": 2.0, "company": None},
    {"fare": "cheap", "area": "x", "company": ""},
]


def test_rows_come_back_as_they_went_in(tmp_path: pathlib.Path) -> None:
    with prediction_log.LogWriter(tmp_path, SPEC, "v1") as log:
        ids = log.append(
            ROWS,
            np.array([[0.9], [0.2], [np.nan]]),
            times=NOON,
            latency_us=[5, 6, 7],
            outcomes=["ok", "ok", "TYPE_CHANGED"],
        )
    (file,) = prediction_log.files(tmp_path)
    assert file.version == "v1" and file.hour == NOON.replace(minute=0)
    assert file.name.startswith("version=v1/hour=2026-03-01T12/")
    (table,) = prediction_log.read(tmp_path)
    assert table.schema.equals(log_rows.schema(SPEC))
    assert table.to_pydict() == {
        "request_id": ids,
        "time": [NOON] * 3,
        "version": ["v1"] * 3,
        "score": [[np.float32(0.9).item()], [np.float32(0.2).item()], None],
        "prediction": ["yes", "no", None],
        "latency_us": [5, 6, 7],
        "outcome": ["ok", "ok", "TYPE_CHANGED"],
        "unreadable": [[], [], ["fare", "area"]],
        "feature.fare": [1.5, 2.5, None],
        "feature.area": [1, 2, None],
        "feature.company": ["a", None, None],
    }
    # Other tools read the folder as one dataset.
    assert (
        pyarrow.dataset.dataset(
            [str(tmp_path / f.name) for f in prediction_log.files(tmp_path)]
        ).count_rows()
        == 3
    )


def test_a_file_per_hour_and_reading_between_times(tmp_path: pathlib.Path) -> None:
    times = np.datetime64("2026-03-01T10:00") + np.arange(240).astype("timedelta64[m]")
    with prediction_log.LogWriter(tmp_path, SPEC, "v1") as log:
        log.append({"fare": np.arange(240.0)}, np.full((240, 1), 0.5), times=times)
    assert [f.hour.hour for f in prediction_log.files(tmp_path)] == [10, 11, 12, 13]
    start = datetime.datetime(2026, 3, 1, 10, 59)
    end = datetime.datetime(2026, 3, 1, 12, 1)
    tables = list(prediction_log.read(tmp_path, start, end, columns=["feature.fare"], batch_rows=7))
    assert all(t.column_names == ["feature.fare"] and t.num_rows <= 7 for t in tables)
    assert pa.concat_tables(tables).column(0).to_pylist() == list(range(59, 121))
    assert not list(prediction_log.read(tmp_path, version="v2"))


def test_append_does_not_wait_and_drops_what_does_not_fit(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "version=v1")  # no folder can be made here: the disk refuses
    log = prediction_log.LogWriter(tmp_path, SPEC, "v1", max_bytes=1000)
    assert len(log.append({"fare": [1.0]})) == 1
    assert len(log.append({"fare": np.zeros(1000)})) == 1000  # larger than what may wait
    log.close()
    assert (log.written, log.dropped) == (0, 1001)
    log.append({"fare": [1.0]})
    assert log.dropped == 1002
    assert stat.S_ISFIFO(os.stat(tmp_path / "version=v1").st_mode)


def test_what_does_not_fit_the_log_takes_nothing_else_with_it(tmp_path: pathlib.Path) -> None:
    with prediction_log.LogWriter(tmp_path, SPEC, "v1") as log:
        log.append({"fare": [1.0, 2.0]}, np.zeros((3, 1)))  # three answers to two rows
        log.append({"fare": [3.0]}, np.zeros((1, 1)))
    assert (log.written, log.dropped) == (1, 2)


def test_a_file_is_written_when_rows_or_seconds_are_enough(tmp_path: pathlib.Path) -> None:
    log = prediction_log.LogWriter(tmp_path, SPEC, "v1", rows_per_file=10, seconds_per_file=0.05)
    log.append({"fare": [1.0]}, times=NOON)
    while not prediction_log.files(tmp_path):  # by itself; the test's own limit ends a failure
        time.sleep(0.005)
    log.append({"fare": np.zeros(10)}, times=NOON)
    while sum(t.num_rows for t in prediction_log.read(tmp_path)) < 11:
        time.sleep(0.005)
    log.close()
    assert len(prediction_log.files(tmp_path)) == 2


def test_flush_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    log = prediction_log.LogWriter(tmp_path, SPEC, "v1")
    assert log.flush(1.0)
    for part in range(1, 4):
        log.append({"fare": [0.0] * 5})
        assert log.flush(30.0)
        assert log.written == 5 * part
    log.close()
    names = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert len(names) == 3 and not any(name.startswith(".") for name in names)


def test_unfinished_files_are_not_seen(tmp_path: pathlib.Path) -> None:
    with prediction_log.LogWriter(tmp_path, SPEC, "v1") as log:
        log.append({"fare": [1.0]}, times=NOON)
    whole = tmp_path / prediction_log.files(tmp_path)[0].name
    (whole.parent / f".{whole.name}.part").write_bytes(whole.read_bytes()[:100])
    assert len(prediction_log.files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["yes", None, "no"], ["yes", "no"]),
        (np.array([1.0, np.nan, 0.0]), ["1", "0"]),
        ([2.5, 3.0, None], ["2.5", "3"]),
        ([True, False, None], ["true", "false"]),
    ],
)
def test_labels(tmp_path: pathlib.Path, labels: object, expected: list[str]) -> None:
    prediction_log.write_labels(tmp_path, ["a", "b", "c"], labels, NOON)
    (name,) = prediction_log.label_files(tmp_path)
    assert name.startswith("labels/2026-03-01/")
    (table,) = prediction_log.read_labels(tmp_path)
    assert table.column("label").to_pylist() == expected
    assert set(table.column("time").to_pylist()) == {NOON}


def test_regression_and_multiclass_predictions() -> None:
    import dataclasses

    flowers = dataclasses.replace(SPEC, task="multiclass", classes=("a", "b", "c"))
    table = log_rows.rows(
        flowers, "v", {"fare": [1, 2]}, [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]],
        request_ids=["x", "y"], times=NOON,
    )  # fmt: skip
    assert table.column("prediction").to_pylist() == ["c", "a"]
    values = dataclasses.replace(SPEC, task="regression", classes=())
    table = log_rows.rows(
        values, "v", {"fare": [1]}, np.array([[3.5]]), request_ids=["x"], times=NOON
    )
    assert table.column("prediction").null_count == 1
    assert table.column("score").to_pylist() == [[3.5]]


CELL = st.one_of(
    st.none(),
    st.floats(allow_nan=True),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.text(string.printable, max_size=5),
)


@settings(max_examples=60)
@given(st.lists(st.fixed_dictionaries({"fare": CELL, "area": CELL, "company": CELL}), min_size=1))
def test_any_cell_is_logged_or_named_as_unreadable(cells: list[dict]) -> None:
    table = log_rows.rows(
        SPEC, "v", cells, None, request_ids=[str(i) for i in range(len(cells))], times=NOON
    )
    for cell, logged in zip(cells, table.to_pylist(), strict=True):
        for name in ("fare", "area"):
            value, given_ = logged[f"feature.{name}"], cell[name]
            missing = given_ is None or given_ == "" or given_ != given_
            if missing:
                assert value is None and name not in logged["unreadable"]
            elif value is None:
                # Text that says "nan" is a missing number and no mistake.
                assert name in logged["unreadable"] or np.isnan(float(given_))
            else:
                assert float(value) == pytest.approx(float(given_), rel=1e-12)
