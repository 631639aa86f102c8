"""Windows: every row counted exactly once, whatever happens in between."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import pathlib
import signal

import numpy as np
import pytest

from monitoring import prediction_log
from monitoring import windows as windows_module
from monitoring.options import WindowOptions
from monitoring.store import Store
from monitoring.window_summary import WindowSummary
from monitoring.windows import Windows, start_of
from tests.monitoring.log_files import DAY, layout, write

LATER = DAY + datetime.timedelta(days=30)
LAYOUT = layout()


def make(url: str, log: pathlib.Path, slices=("company",), **options) -> Windows:
    return Windows(
        Store(url), "taxi", log, WindowOptions(**options), lambda _: LAYOUT, slices, max_slices=5
    )


def test_windows_by_time_hold_their_rows(store_url: str, tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log", 3000, hours=72)
    windows = make(store_url, tmp_path / "log")
    read = windows.read(DAY + datetime.timedelta(days=2, hours=1, minutes=30))
    assert (read.files, read.rows, read.late_rows) == (72, 3000, 0)
    found = windows.all()
    assert [(w.rows, w.state) for w in found] == [
        (1000, "CLOSED"),
        (1000, "CLOSED"),
        (1000, "OPEN"),
    ]
    assert [w.start for w in found] == [DAY + datetime.timedelta(days=i) for i in range(3)]
    whole = windows.summary(found[0], "v1", LAYOUT)
    assert whole.rows == 1000 and whole.features["fare"].rows == 1000
    parts = [
        windows.summary(found[0], "v1", LAYOUT, name) for name in windows.slices(found[0], "v1")
    ]
    assert sum(part.rows for part in parts) == 1000 - whole.features["company"].missing
    assert sum(len(t) for t in windows.rows(found[1])) == 1000
    assert windows.read(LATER).closed == (found[2].id,)


def test_late_rows_reopen_and_say_so(store_url: str, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    write(log, 100)
    windows = make(store_url, log)
    assert windows.read(LATER).closed
    write(log, 7, seed=2)
    read = windows.read(LATER)
    (window,) = windows.all()
    assert read.late_rows == 7 and read.revised == (window.id,) and not read.closed
    assert (window.state, window.rows, window.late_rows, window.revision) == ("REVISED", 107, 7, 2)
    assert windows.read(LATER).rows == 0


def test_windows_by_count(store_url: str, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    write(log, 250, hours=5)
    windows = make(store_url, log, by="count", rows=100)
    windows.read(LATER)
    assert [(w.rows, w.state) for w in windows.all()] == [
        (100, "CLOSED"), (100, "CLOSED"), (50, "OPEN"),
    ]  # fmt: skip
    write(log, 60, seed=2)
    windows.read(LATER)
    found = windows.all()
    assert [w.rows for w in found] == [100, 100, 100, 10]
    ids = [
        t.column("request_id").to_pylist() for w in found for t in windows.rows(w, ["request_id"])
    ]
    flat = [i for part in ids for i in part]
    assert len(flat) == len(set(flat)) == 310
    for window in found:
        assert sum(len(t) for t in windows.rows(window)) == window.rows


def test_windows_by_batch(store_url: str, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    windows = make(store_url, log, by="batch")
    for seed, n in ((1, 30), (2, 50)):
        write(log, n, seed=seed)
        assert len(windows.read(LATER).closed) == 1
    assert [(w.rows, w.state) for w in windows.all()] == [(30, "CLOSED"), (50, "CLOSED")]


def test_rows_of_an_unknown_version_are_told(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    write(log, 30, version="v9")
    windows = Windows(Store(tmp_path / "s"), "taxi", log, WindowOptions(), lambda _: None)
    assert windows.read(LATER).unknown == {"v9": 30}
    (window,) = windows.all()
    assert window.versions == {"v9": 30} and windows.summary(window, "v9", LAYOUT) is None


def test_merged_summaries_are_those_of_all_rows(tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"
    write(log, 5000, seed=3)
    tables = list(prediction_log.read(log))
    whole = WindowSummary(LAYOUT)
    merged = WindowSummary(LAYOUT)
    for table in tables:
        whole.add(table)
        part = WindowSummary(LAYOUT).add(table)
        merged.merge(WindowSummary.from_bytes(LAYOUT, part.to_bytes()))
    for name, counts in whole.features.items():
        assert np.array_equal(counts.counts, merged.features[name].counts), name
        assert counts.missing == merged.features[name].missing
    fare, again = whole.features["fare"], merged.features["fare"]
    assert again.mean == pytest.approx(fare.mean) and again.m2 == pytest.approx(fare.m2)
    assert merged.outcomes == {"ok": 5000} and merged.repeats.rate == whole.repeats.rate == 0.0
    assert len(merged.to_bytes()) < 100_000


def test_repeats_are_counted_exactly_or_evenly_sampled(tmp_path: pathlib.Path) -> None:
    import pyarrow as pa

    from monitoring.window_summary import Repeats

    few = Repeats()
    few.add(pa.array(["a", "b", "a", "c"]))
    assert few.rate == 0.25
    one, other = Repeats(), Repeats()
    ids = [f"id{i}" for i in range(20_000)]
    one.add(pa.array(ids))
    assert one.rate == 0.0 and one.level > 0
    other.add(pa.array(ids[:5000]))
    one.merge(other)
    assert one.rate == pytest.approx(0.2, abs=0.03)


def test_weeks_start_on_monday() -> None:
    sunday = np.array(["2026-03-08T23:59", "2026-03-09T00:00"], "datetime64[us]")
    starts = start_of(sunday, "1w").astype("datetime64[s]")
    assert starts.astype(str).tolist() == ["2026-03-02T00:00:00", "2026-03-09T00:00:00"]


def _read(url: str, log: str, by: str) -> None:
    windows_module._TRANSACTION_ROWS = 200
    make(url, pathlib.Path(log), by=by, rows=300).read(LATER)


@pytest.mark.parametrize("by", ["time", "count"])
def test_a_kill_at_any_point_loses_and_doubles_nothing(
    store_url: str, tmp_path: pathlib.Path, by: str
) -> None:
    log = tmp_path / "log"
    ids = write(log, 6000, hours=48)
    make(store_url, log, by=by, rows=300).store.close()
    rng = np.random.default_rng(0)
    context = multiprocessing.get_context("fork")
    killed = 0
    for _ in range(8):
        child = context.Process(target=_read, args=(store_url, str(log), by))
        child.start()
        child.join(float(rng.uniform(0.05, 0.5)))
        if child.is_alive():
            killed += 1
            os.kill(child.pid, signal.SIGKILL)
        child.join()
    assert killed
    windows = make(store_url, log, by=by, rows=300)
    windows.read(LATER)
    found = windows.all()
    assert sum(w.rows for w in found) == 6000
    seen = [
        i
        for w in found
        for t in windows.rows(w, ["request_id"])
        for i in t.column("request_id").to_pylist()
    ]
    assert sorted(seen) == sorted(ids)
    for window in found:
        assert windows.summary(window, "v1", LAYOUT).rows == window.rows
