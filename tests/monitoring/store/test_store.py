"""The store, on both databases."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from models.errors import ConfigError, FlywheelError
from monitoring.store import Store
from monitoring.store.store import metadata
from monitoring.store.windows import MeasureRow, SummaryRow, Window

MARCH = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)


def window(name: str = "w") -> Window:
    return Window(id=name, scope="taxi", kind="time", number=1, start=MARCH, end=MARCH)


def test_migrations_make_the_tables_that_the_code_expects(store_url: str) -> None:
    store = Store(store_url)
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata()) == []
    Store(store_url).close()  # again: nothing to do
    store.close()


def test_what_is_stored_comes_back(store_url: str) -> None:
    store = Store(store_url)
    with store.session() as session:
        session.add(window())
        session.flush()
        session.add(SummaryRow(window_id="w", version="v", slice="a=ä", content=b"\0\1"))
        session.add(
            MeasureRow(
                window_id="w", feature="fare", statistic="psi", slice="", family="distance",
                against="training", value=None, n=2**40, reference_n=0, words="7.85 → 9.65",
            )
        )  # fmt: skip
    with store.session() as session:
        found = session.scalars(sa.select(Window)).one()
        assert (found.start, found.state, found.revision, found.measured) == (MARCH, "OPEN", 0, -1)
        assert session.scalars(sa.select(SummaryRow)).one().content == b"\0\1"
        measure = session.scalars(sa.select(MeasureRow)).one()
        assert (measure.n, measure.value, measure.words) == (2**40, None, "7.85 → 9.65")
        session.delete(found)
    with store.session() as session:  # what belongs to the window went with it
        assert session.scalar(sa.select(sa.func.count()).select_from(MeasureRow)) == 0
    store.close()


def test_a_moment_without_a_time_zone_is_refused(store_url: str) -> None:
    store = Store(store_url)
    broken = window()
    broken.start = MARCH.replace(tzinfo=None)
    with pytest.raises(sa.exc.StatementError, match="time zone"):
        with store.session() as session:
            session.add(broken)
    store.close()


def test_a_failed_transaction_leaves_nothing(store_url: str) -> None:
    store = Store(store_url)
    with pytest.raises(ZeroDivisionError):
        with store.session() as session:
            session.add(window())
            session.flush()
            raise ZeroDivisionError
    with store.session() as session:
        assert session.get(Window, "w") is None
    store.close()


def test_one_works_and_the_other_says_so(store_url: str) -> None:
    one, other = Store(store_url), Store(store_url)
    with one.locked():
        with pytest.raises(FlywheelError) as error:
            with other.locked():
                pass
        assert error.value.reason.code == "MONITOR_RUNNING"
        with other.locked("alerts"):
            pass
    with other.locked():
        pass
    one.close()
    other.close()


HOLD = """
import sys, time
from monitoring.store import Store
with Store(sys.argv[1]).locked():
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_dies_with_its_holder(store_url: str) -> None:
    store = Store(store_url)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, store_url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FlywheelError):
            with store.locked():
                pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=30)
    while True:  # PostgreSQL notices a lost connection a moment later
        try:
            with store.locked():
                break
        except FlywheelError:
            assert datetime.datetime.now() < deadline
    store.close()


def _add(url: str, first: int) -> None:
    store = Store(url)
    for number in range(first, first + 20):
        with store.session() as session:
            session.scalars(sa.select(Window)).all()
            session.add(window(str(number)))
    store.close()


def test_two_writers_lose_nothing(store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(store_url, first)) for first in (0, 100)]
    for writer in writers:  # both also find a database without tables
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = Store(store_url)
    with store.session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Window)) == 40
    store.close()


def test_a_store_that_is_not_there() -> None:
    with pytest.raises(ConfigError) as error:
        Store("postgresql+pg8000://somebody:secret@127.0.0.1:9/nowhere")
    assert error.value.reason.code == "STORE_UNREACHABLE"
    assert "secret" not in str(error.value)
