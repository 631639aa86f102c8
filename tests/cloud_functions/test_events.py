from __future__ import annotations

import base64
import datetime
import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from cloud_functions.events import Alert, CheckRequest, Malformed, RunFinished, StoredObject, read

TIME = "2026-03-01T12:00:00.123456789Z"
BINARY = {
    "ce-id": "7",
    "ce-source": "//storage/b",
    "ce-type": "google.cloud.storage.object.v1.finalized",
    "ce-specversion": "1.0",
    "ce-time": TIME,
}
OBJECT = {"bucket": "b", "name": "a.csv", "size": "12"}


def envelope(data) -> dict:
    text = base64.b64encode(json.dumps(data).encode()).decode()
    message = {"data": text, "messageId": "9", "publishTime": "2026-03-01T12:00:00Z"}
    return {"message": message, "subscription": "projects/p/subscriptions/s"}


def test_the_forms_of_an_event_carry_the_same():
    binary = read(BINARY, json.dumps(OBJECT).encode())
    whole = {k.removeprefix("ce-"): v for k, v in BINARY.items()} | {"data": OBJECT}
    structured = read({"Content-Type": "application/cloudevents+json"}, json.dumps(whole).encode())
    assert binary == structured and binary.key == "//storage/b#7"
    assert binary.time.astimezone(datetime.timezone.utc).hour == 12
    push = read({}, json.dumps(envelope(OBJECT)).encode())
    wrapped = {**BINARY, "CE-Type": "google.cloud.pubsub.topic.v1.messagePublished"}
    del wrapped["ce-type"]
    assert read(wrapped, json.dumps(envelope(OBJECT)).encode()) == push
    assert push.data == OBJECT and push.key == "projects/p/subscriptions/s#9" and push.pushed
    plain = read({"Content-Type": "application/json"}, json.dumps(OBJECT).encode())
    assert plain.data == OBJECT and not plain.pushed


def test_a_scheduler_that_delivers_twice_is_known():
    headers = {"X-CloudScheduler-ScheduleTime": TIME, "X-CloudScheduler-JobName": "check"}
    assert read(headers, b"").key == read(headers, b"{}").key
    assert read({**headers, "X-CloudScheduler-JobName": "other"}, b"").key != read(headers, b"").key


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        ({}, b"\xff", "not JSON"),
        ({}, b"[1]", "must be a JSON object"),
        ({}, b"[" * 100_000, "nested"),
        ({**BINARY, "ce-id": ""}, b"{}", "no `id`"),
        ({**BINARY, "ce-specversion": "0.3"}, b"{}", "CloudEvents 1.x"),
        ({**BINARY, "ce-time": "noon"}, b"{}", "no time with a zone"),
        ({**BINARY, "ce-time": "2026-03-01T12:00:00"}, b"{}", "no time with a zone"),
        ({"content-type": "application/cloudevents+json"}, b'{"id": "1"}', "no `data`"),
        ({}, b'{"message": 1, "subscription": "s"}', "no `message`"),
        ({}, b'{"message": {"data": "e30="}, "subscription": "s"}', "no `messageId`"),
        ({}, b'{"message": {"data": "!", "messageId": "1"}, "subscription": "s"}', "not Base64"),
    ],
)
def test_what_is_no_event_says_why(headers, body, said):
    with pytest.raises(Malformed, match=said):
        read(headers, body)


@given(
    st.dictionaries(
        st.sampled_from([*BINARY, "content-type", "idempotency-key"]), st.text(max_size=30)
    ),
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=10),
        lambda x: st.dictionaries(
            st.sampled_from(["message", "subscription", "data", "messageId", "id", "name"]), x
        ),
    ).map(lambda x: json.dumps(x).encode()),
)
def test_anything_is_an_event_or_malformed(headers, body):
    try:
        event = read(headers, body)
    except Malformed as error:
        assert str(error).endswith(".")
    else:
        assert isinstance(event.data, dict) and event.time.tzinfo is not None


MESSAGE = {"title": "t", "text": "x", "id": "m1"}


@pytest.mark.parametrize(
    ("payload", "data", "said"),
    [
        (StoredObject, {**OBJECT, "naem": 1}, "Unknown key 'naem'. Did you mean 'name'?"),
        (StoredObject, {"bucket": "b", "size": 1}, "`name`: Field required"),
        (StoredObject, {**OBJECT, "size": -1}, "`size`"),
        (StoredObject, {**OBJECT, "size": False}, "`size`"),
        (StoredObject, {**OBJECT, "updated": "yesterday"}, "`updated`"),
        (CheckRequest, {"modle": "m"}, "Did you mean 'model'"),
        (Alert, {"model": "m", "kind": "drift", "message": {**MESSAGE, "x": 1}}, "'message.x'"),
        (Alert, {"model": "m", "kind": "rain", "message": MESSAGE}, "`kind`"),
        (RunFinished, {"model": "m", "job": "j", "state": "fine"}, "`state`"),
    ],
)
def test_payloads_are_typed_and_unknown_keys_are_named(payload, data, said):
    with pytest.raises(Malformed) as error:
        payload.of(data)
    assert said in str(error.value)


def test_what_cloud_storage_sends_is_taken():
    found = StoredObject.of(
        {
            "kind": "storage#object",
            "id": "b/a.csv/1",
            "selfLink": "https://www.googleapis.com/storage/v1/b/b/o/a.csv",
            "name": "a.csv",
            "bucket": "b",
            "generation": "1700000000000000",
            "metageneration": "1",
            "contentType": "text/csv",
            "timeCreated": "2026-03-01T12:00:00.000Z",
            "updated": "2026-03-01T12:00:00.000Z",
            "storageClass": "STANDARD",
            "timeStorageClassUpdated": "2026-03-01T12:00:00.000Z",
            "size": "352",
            "md5Hash": "UFF3Pg==",
            "mediaLink": "https://storage.googleapis.com/download/storage/v1/b/b/o/a.csv",
            "contentLanguage": "en",
            "crc32c": "rTVTeQ==",
            "etag": "CNHZkbuF/ugCEAE=",
        }
    )
    assert (found.name, found.size) == ("a.csv", 352)
