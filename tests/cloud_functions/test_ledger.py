from __future__ import annotations

import concurrent.futures
import datetime
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from cloud_functions import brakes, claims, dead_letter
from cloud_functions.brakes import Override
from cloud_functions.ledger import FirestoreLedger, SqliteLedger, open_ledger
from cloud_functions.local import free_port
from cloud_functions.options import BrakeOptions
from models.errors import ConfigError

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)


def emulator(*names: str) -> pathlib.Path | None:
    """A program of the Google Cloud SDK's `platform` folder, where it is installed."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    path = pathlib.Path(gcloud).resolve().parents[1].joinpath("platform", *names)
    return path if path.is_file() and shutil.which("java") else None


@pytest.fixture(scope="session")
def firestore(tmp_path_factory):
    """The Firestore emulator; ends with the tests."""
    program = emulator("cloud-firestore-emulator", "cloud_firestore_emulator")
    if program is None:
        pytest.skip("the Firestore emulator of the Google Cloud SDK is not installed here")
    port = free_port()
    log = tmp_path_factory.mktemp("firestore") / "log.txt"
    with open(log, "wb") as said:
        process = subprocess.Popen(
            [str(program), "start", "--host=127.0.0.1", f"--port={port}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + 60
    while "is now running" not in log.read_text("utf-8", "replace"):
        assert process.poll() is None and time.monotonic() < end, log.read_text("utf-8")
        time.sleep(0.2)
    os.environ["FIRESTORE_EMULATOR_HOST"] = f"127.0.0.1:{port}"
    yield
    del os.environ["FIRESTORE_EMULATOR_HOST"]
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)


@pytest.fixture(params=["sqlite", "firestore"])
def ledger(request, tmp_path):
    if request.param == "sqlite":
        return SqliteLedger(tmp_path / "ledger.sqlite")
    request.getfixturevalue("firestore")
    return FirestoreLedger("test", f"ledger-{tmp_path.name}")


def count(found):
    return {"n": (found or {"n": 0})["n"] + 1}, (found or {"n": 0})["n"]


def test_changes_are_one_after_the_other(ledger):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ledger.update("a/b c", count), range(24)))
    assert sorted(answers) == list(range(24)) and ledger.read("a/b c") == {"n": 24}


def test_a_change_that_fails_changes_nothing(ledger):
    def fail(found):
        raise RuntimeError("no")

    ledger.update("k", count)
    with pytest.raises(RuntimeError):
        ledger.update("k", fail)
    assert ledger.read("k") == {"n": 1} and ledger.read("other") is None


def test_entries_are_those_of_the_prefix(ledger):
    for key in ("a/2", "a/1", "b/1", "a%/1"):
        ledger.update(key, count)
    assert [key for key, _ in ledger.entries("a/")] == ["a/1", "a/2"]


def test_twenty_at_once_make_one_claim(ledger):
    def attempt(_):
        try:
            return claims.claim(ledger, "k", NOW, 60)
        except claims.Busy:
            return None

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        taken = [c for c in pool.map(attempt, range(20)) if c]
    assert len(taken) == 1
    taken[0].finish({"state": "started"})
    with pytest.raises(claims.Done) as done:
        claims.claim(ledger, "k", NOW, 60)
    assert done.value.result == {"state": "started"}


def test_a_lease_that_ran_out_is_taken_over(ledger):
    first = claims.claim(ledger, "k", NOW, 60)
    first.note(told=["mail"])
    with pytest.raises(claims.Busy):
        claims.claim(ledger, "k", NOW + datetime.timedelta(seconds=59), 60)
    second = claims.claim(ledger, "k", NOW + datetime.timedelta(seconds=61), 60)
    assert second.attempt == 2 and second.progress == {"told": ["mail"]}
    first.finish({"state": "late"})  # it is not the holder any more
    with pytest.raises(claims.Busy):
        claims.claim(ledger, "k", NOW + datetime.timedelta(seconds=62), 60)


def test_coming_later_is_no_attempt(ledger):
    for _ in range(3):
        claims.claim(ledger, "k", NOW, 60).release("not yet", failed=False)
    assert claims.claim(ledger, "k", NOW, 60).attempt == 1


def ask(ledger, job, now=NOW, asker="alert", override=None, **options):
    brake = BrakeOptions(**{"cooldown_minutes": 60, "daily_cap": 3, **options})
    return brakes.ask(
        ledger, "m", job, asker=asker, why="w", options=brake, now=now, override=override
    )


def test_one_in_flight_then_a_pause_then_a_cap(ledger):
    hour = datetime.timedelta(hours=1)
    assert ask(ledger, "a").state == "granted"
    assert ask(ledger, "a").state == "granted"  # who asked may have died before it started
    assert (ask(ledger, "b").code, ask(ledger, "b").in_flight) == ("IN_FLIGHT", "a")
    assert brakes.finish(ledger, "m", "a", "pushed", NOW)
    assert not brakes.finish(ledger, "m", "a", "pushed", NOW)
    assert ask(ledger, "a").state == "known"
    assert ask(ledger, "b").code == "COOLDOWN"
    assert ask(ledger, "b", asker="data").state == "granted"
    brakes.finish(ledger, "m", "b", "pushed", NOW)
    assert ask(ledger, "c", NOW + hour).state == "granted"
    brakes.finish(ledger, "m", "c", "failed", NOW + hour)
    refused = ask(ledger, "d", NOW + 2 * hour, asker="data")
    assert refused.code == "DAILY_CAP" and refused.retry_seconds == pytest.approx(22 * 3600)
    assert ask(ledger, "d", NOW + 25 * hour).state == "granted"


def test_a_person_may_go_past_a_brake_and_it_is_recorded(ledger):
    ask(ledger, "a")
    assert ask(ledger, "b", asker="person").code == "IN_FLIGHT"
    word = Override("ada", "the label was wrong")
    assert ask(ledger, "b", asker="person", override=word).state == "granted"
    [entry] = brakes.status(ledger, "m")["overrides"]
    assert (entry["who"], entry["why"], entry["brake"], entry["job"]) == (
        "ada",
        "the label was wrong",
        "IN_FLIGHT",
        "b",
    )


def test_a_run_that_never_says_how_it_ended_stands_in_the_way_for_a_while_only(ledger):
    ask(ledger, "a")
    later = NOW + datetime.timedelta(hours=13)
    assert ask(ledger, "b", later, in_flight_hours=14).code == "IN_FLIGHT"
    assert ask(ledger, "b", later, in_flight_hours=12).state == "granted"


def test_twenty_ask_at_once_and_one_is_let(ledger):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        states = [d.state for d in pool.map(lambda n: ask(ledger, f"j{n}"), range(20))]
    assert sorted(states) == ["granted"] + ["refused"] * 19


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "finish"]),
            st.integers(0, 6),
            st.integers(0, 120),
            st.sampled_from(["alert", "data"]),
        ),
        max_size=40,
    )
)
def test_no_order_of_events_goes_past_the_brakes(tmp_path_factory, steps):
    ledger = SqliteLedger(tmp_path_factory.mktemp("l") / "l.sqlite")
    now, flying, starts = NOW, None, []
    for what, number, minutes, asker in steps:
        now += datetime.timedelta(minutes=minutes)
        job = f"j{number}"
        if what == "finish":
            brakes.finish(ledger, "m", job, "pushed", now)
            flying = None if flying == job else flying
            continue
        decision = ask(ledger, job, now, asker)
        if decision.state != "granted" or job == flying:
            continue
        day = [s for s in starts if now - s < datetime.timedelta(days=1)]
        assert flying is None or now - starts[-1] >= datetime.timedelta(hours=12)
        assert len(day) < 3
        if asker == "alert" and starts:
            assert now - starts[-1] >= datetime.timedelta(minutes=60)
        flying = job
        starts.append(now)


def test_dead_letters_keep_what_came(ledger):
    dead_letter.keep(ledger, "f", "k", "STALE", "too old", b"\xffbody")
    dead_letter.keep(ledger, "f", "k", "STALE", "too old", b"\xffbody")
    dead_letter.keep(ledger, "g", "", "NOT_JSON", "no", b"x" * 100_000)
    [first] = dead_letter.records(ledger, "f")
    assert first["times"] == 2 and first["body"] == "\ufffdbody" and first["code"] == "STALE"
    assert len(dead_letter.records(ledger)) == 2
    assert max(len(r["body"]) for r in dead_letter.records(ledger)) == 64 << 10


_CLAIM = """
import sys, datetime
from cloud_functions import claims
from cloud_functions.ledger import SqliteLedger
try:
    claims.claim(SqliteLedger(sys.argv[1]), "k", datetime.datetime.now(datetime.timezone.utc), 60)
    print("mine")
except claims.Busy:
    print("busy")
"""


def test_processes_share_a_sqlite_ledger(tmp_path):
    command = [sys.executable, "-c", _CLAIM, str(tmp_path / "l.sqlite")]
    root = pathlib.Path(__file__).parents[2]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(6)
    ]
    said = sorted(p.communicate(timeout=60)[0].strip() for p in started)
    assert said == ["busy"] * 5 + ["mine"]


@pytest.mark.parametrize("address", ["redis://x/y", "firestore://p", "firestore://p/a/b/c"])
def test_an_address_of_nothing_is_refused(address):
    with pytest.raises(ConfigError, match="automation.ledger"):
        open_ledger(address)
