"""What can never be an event, by the hundred, over real HTTP: a record each, and no run."""

from __future__ import annotations

import datetime
import json

import httpx
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from cloud_functions import brakes, dead_letter
from cloud_functions.ledger import SqliteLedger
from tests.cloud_functions.conftest import settings_in

WHOLE = {
    "on_new_data": {"bucket": "local", "name": "trips.csv", "size": "8"},
    "on_alert": {"model": "taxi", "kind": "drift", "message": {"title": "t", "id": "m"}},
    "on_run_finished": {"model": "taxi", "job": "j", "state": "pushed"},
}
#: Of no type that a required key takes.
WRONG = st.none() | st.lists(st.integers(), max_size=2) | st.booleans()


def spoilt(whole: dict) -> st.SearchStrategy[bytes]:
    """Bodies that differ from a whole one in what makes them none."""
    required = st.sampled_from(sorted(whole))
    text = st.text("abcdefgh_", min_size=8, max_size=12)
    return st.one_of(
        st.binary(min_size=1, max_size=60).filter(lambda b: b.strip()[:1] != b"{"),
        WRONG.map(json.dumps).map(str.encode),
        required.map(lambda key: {k: v for k, v in whole.items() if k != key}).map(dump),
        st.tuples(required, WRONG).map(lambda one: dump({**whole, one[0]: one[1]})),
        st.tuples(text, st.integers()).map(lambda one: dump({**whole, one[0]: one[1]})),
        st.integers(1, len(dump(whole)) - 1).map(lambda end: dump(whole)[:end]),
    )


def dump(content: dict) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_what_is_no_event_is_kept_and_starts_nothing(serve, tmp_path, name):
    (tmp_path / "inbox").mkdir()
    automation = settings_in(tmp_path)
    url = serve(name, automation).url
    records: list[str] = []

    with httpx.Client(timeout=60) as http:

        @settings(
            max_examples=60, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(body=spoilt(WHOLE[name]), pushed=st.booleans())
        def deliver(body, pushed):
            now = datetime.datetime.now(datetime.timezone.utc).isoformat()
            event = {"specversion": "1.0", "id": str(len(records)), "source": "//s", "type": "t"}
            headers = {f"ce-{key}": value for key, value in {**event, "time": now}.items()}
            answer = http.post(url, content=body, headers=headers if pushed else {})
            assert answer.status_code == (200 if pushed else 400), (body, answer.text)
            said = answer.json()
            assert said["state"] == "dead_letter" and len(said["error"]) > 10
            records.append(said["record"])

        deliver()
    assert len(records) >= 60
    ledger = SqliteLedger(automation.automation.ledger)
    kept = dead_letter.records(ledger, name)
    assert kept and {record["function"] for record in kept} == {name}
    assert brakes.status(ledger, "taxi")["starts"] == []
