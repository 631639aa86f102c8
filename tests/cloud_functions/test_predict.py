from __future__ import annotations

import collections
import json
import math
import signal
import threading
import time

import httpx
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from cloud_functions.predict.client import Client
from models.errors import DataError, FlywheelError
from models.predictor import Predictor
from models.registry import Registry
from monitoring import prediction_log
from tests.cloud_functions.conftest import ROW, SPEC


def logged(folder) -> pa.Table:
    tables = list(prediction_log.read(folder))
    return (
        pa.concat_tables(tables) if tables else pa.table({"request_id": pa.array([], pa.string())})
    )


def wait_until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def test_answers_are_the_models(server, published):
    root, names = published
    predictor = Predictor.load(Registry(root).folder(names[0]))
    rows = [{**ROW, "fare": float(fare)} for fare in range(50)]
    table = pa.Table.from_pylist(rows)
    with Client(server.url, "taxi") as client:
        answer = client.predict(rows)
    expected = predictor.predict(table)
    found = [[prediction["probability"]] for prediction in answer.predictions]
    np.testing.assert_array_equal(np.asarray(found, np.float32), expected)
    assert [p["prediction"] for p in answer.predictions] == predictor.labels(expected).tolist()
    assert answer.version == names[0] and len(set(answer.request_ids)) == 50


def test_good_rows_are_answered_beside_bad_ones(server):
    with Client(server.url, "taxi") as client:
        answer = client.predict([ROW, {"fare": "x"}, ROW])
        assert answer.predictions[1] is None and answer.predictions[0] == answer.predictions[2]
        assert [(e["row"], e["code"]) for e in answer.errors] == [(1, "WRONG_TYPE")]
        with pytest.raises(DataError, match="must be a number") as error:
            client.predict([{"fare": "x"}])
        assert error.value.reason.code == "WRONG_TYPE"


def test_clients_of_tf_serving_find_what_they_know(server, published):
    status = httpx.get(f"{server.url}/v1/models/taxi").json()
    [entry] = status["model_version_status"]
    assert (entry["version"], entry["state"]) == (published[1][0], "AVAILABLE")
    about = httpx.get(f"{server.url}/v1/models/taxi/metadata").json()
    assert about["metadata"]["features"]["hour"] == "whole number"
    body = {"signature_name": "serving_default", "instances": [ROW]}
    assert httpx.post(f"{server.url}/v1/models/taxi:predict", json=body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("POST", "/readyz", 405),
        ("GET", "/nothing", 404),
        ("POST", "/v1/models/bus:predict", 404),
        ("POST", "/v1/models/taxi/versions/7:predict", 404),
        ("POST", "/v1/models/taxi:classify", 404),
        ("DELETE", "/labels", 405),
    ],
)
def test_wrong_addresses_are_told_with_a_sentence(server, method, path, status):
    answer = httpx.request(method, server.url + path, json={"instances": [ROW]})
    assert answer.status_code == status
    assert answer.json()["error"].endswith((".", "?"))


def test_a_body_that_is_too_large_is_refused(server):
    answer = httpx.post(f"{server.url}/predict", content=b" " * (17 << 20))
    assert answer.status_code == 413 and "bytes at most" in answer.json()["error"]
    rows = [{"fare": 1}] * 10_001
    answer = httpx.post(f"{server.url}/predict", json={"instances": rows})
    assert answer.status_code == 400 and "10,000" in answer.json()["error"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*ROW, "fair", "b64", ""]) | st.text(max_size=5), inner)
    ),
    max_leaves=8,
)
SPOILT_ROWS = st.dictionaries(st.sampled_from([*ROW, "fair"]), JSON, max_size=5) | JSON
#: Spoilt rows, some beside a whole one, whose answer is known.
ROWS = st.lists(SPOILT_ROWS, min_size=2, max_size=5) | st.lists(
    SPOILT_ROWS | st.just(ROW), min_size=1, max_size=4
)
BODIES = st.one_of(
    ROWS.map(lambda rows: json.dumps({"instances": rows}).encode()),
    st.fixed_dictionaries(
        {"instances": ROWS}, optional={"signature_name": JSON, "instance": JSON, "inputs": JSON}
    ).map(lambda body: json.dumps(body).encode()),
    st.dictionaries(st.text(max_size=8), JSON, min_size=1).map(json.dumps).map(str.encode),
    st.binary(min_size=2, max_size=80),
    st.lists(
        st.fixed_dictionaries({"request_id": JSON, "label": JSON}) | JSON, min_size=2, max_size=4
    ).map(lambda rows: json.dumps({"labels": rows}).encode()),
)
BAD = 1000


def test_a_thousand_bad_requests_get_a_sentence_or_typed_rows(server):
    """Counted are different bodies that were refused, or some of whose rows were."""
    with httpx.Client(timeout=30) as http:
        [whole] = http.post(f"{server.url}/predict", json={"instances": [ROW]}).json()[
            "predictions"
        ]
        seen: collections.Counter[str] = collections.Counter()
        bad: set[bytes] = set()

        @settings(
            max_examples=1500, database=None, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(
            body=BODIES,
            path=st.sampled_from(["/", "/predict", "/v1/models/taxi:predict", "/labels"]),
        )
        def ask(body, path):
            answer = http.post(server.url + path, content=body)
            found = check_answer(answer, body, path, whole)
            seen.update(found)
            if found - {"whole row", "spoilt row", "accepted"}:
                bad.add(body)

        ask()
        assert len(bad) >= BAD, len(bad)
        # All kinds were met: what cannot be read, what is refused, rows that are and are not.
        assert seen.keys() >= {"whole row", "spoilt row", "row error", "INVALID_JSON"}
        assert seen.keys() >= {"WRONG_TYPE", "UNKNOWN_FEATURE", "NOT_AN_OBJECT", "UNKNOWN_KEY"}
        [after] = http.post(f"{server.url}/predict", json={"instances": [ROW]}).json()[
            "predictions"
        ]
        assert after == whole and math.isfinite(after["probability"])
        counted = http.get(f"{server.url}/metrics").text
    asked = [x for x in counted.splitlines() if x.startswith("flywheel_requests_total{")]
    assert not [line for line in asked if 'status="5' in line]
    refused = sum(float(line.split()[-1]) for line in asked if 'status="4' in line)
    assert refused > BAD / 2  # the function's own count


def check_answer(answer: httpx.Response, body: bytes, path: str, whole: dict) -> set[str]:
    """Asserts what every answer must be; says what this one was."""
    content = answer.json()
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, (answer.status_code, body)
        assert isinstance(content["error"], str) and len(content["error"]) > 10
        return {content["code"]} if "code" in content else {e["code"] for e in content["errors"]}
    if path == "/labels":
        assert content["accepted"] > 0
        return {"accepted", *(error["code"] for error in content.get("errors", []))}
    instances = json.loads(body)["instances"]
    errors = content.get("errors", [])
    assert all(len(error["message"]) > 10 for error in errors)
    bad = {error["row"] for error in errors}
    assert len(content["predictions"]) == len(instances) == len(content["request_ids"])
    found = {error["code"] for error in errors} | ({"row error"} if errors else set())
    for place, prediction in enumerate(content["predictions"]):
        if place in bad:
            assert prediction is None
            continue
        assert prediction.keys() == {"probability", "prediction"}
        assert type(prediction["probability"]) is float
        assert 0.0 <= prediction["probability"] <= 1.0
        assert prediction["prediction"] in SPEC.classes
        if instances[place] == ROW:
            assert prediction["probability"] == pytest.approx(whole["probability"], rel=1e-6)
            found.add("whole row")
        else:
            found.add("spoilt row")
    return found


def test_nesting_without_end_is_refused(server):
    body = b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = httpx.post(f"{server.url}/predict", content=body)
    assert answer.status_code == 400 and "nested" in answer.json()["error"]


def test_the_log_holds_every_answer_after_sigterm(deployed, serve):
    deployed.settings = deployed.settings.model_copy(
        update={"serving": deployed.settings.serving.model_copy(update={"log_seconds": 600.0})}
    )
    function = serve("predict", deployed.settings)
    with Client(function.url) as client:
        answer = client.predict([ROW, {**ROW, "fare": "x"}], request_id="mine")
        for _ in range(20):
            client.predict([ROW])
    assert not prediction_log.files(deployed.log)  # nothing is due yet
    function.process.send_signal(signal.SIGTERM)
    assert function.process.wait(20) == 0
    table = logged(deployed.log)
    assert table.num_rows == 22
    rows = {row["request_id"]: row for row in table.to_pylist()}
    good, bad = rows["mine-0"], rows["mine-1"]
    assert good["outcome"] == "ok" and good["version"] == deployed.names[0]
    assert good["score"] == pytest.approx([answer.predictions[0]["probability"]])
    assert good["prediction"] == answer.predictions[0]["prediction"]
    assert [good[f"feature.{n}"] for n in ROW] == [12.5, 3.0, 2, "Cash"]
    assert bad["outcome"] == "WRONG_TYPE" and bad["feature.fare"] is None
    assert bad["feature.payment"] == "Cash" and bad["score"] is None
    assert good["latency_us"] > 0


def test_labels_come_back_by_request_id(deployed, serve):
    function = serve("predict", deployed.settings)
    with Client(function.url) as client:
        ids = client.predict([ROW, ROW]).request_ids
        assert client.label({ids[0]: "yes", ids[1]: "no"}) == 2
        with pytest.raises(DataError, match="one of no, yes"):
            client.label({ids[0]: "perhaps"})
    [table] = prediction_log.read_labels(deployed.log)
    assert dict(zip(*table.select(["request_id", "label"]).to_pydict().values(), strict=True)) == {
        ids[0]: "yes",
        ids[1]: "no",
    }


def test_it_waits_for_the_first_version(tmp_path, deployed, serve):
    elsewhere = deployed.settings.model_copy(update={"deployed": str(tmp_path / "later")})
    function = serve("predict", elsewhere)
    with Client(function.url, attempts=1) as client:
        assert httpx.get(f"{function.url}/healthz").status_code == 200
        answer = httpx.get(f"{function.url}/readyz")
        assert answer.status_code == 503 and "No model has been deployed" in answer.json()["error"]
        with pytest.raises(FlywheelError, match="No model has been deployed"):
            client.predict([ROW])
        deployed.registry.root.rename(tmp_path / "later")
        wait_until(lambda: client.ready() == deployed.names[0])
        assert client.predict([ROW]).version == deployed.names[0]


def test_a_new_version_takes_over_and_a_damaged_one_does_not(deployed, serve):
    function = serve("predict", deployed.settings)
    first, second = deployed.names
    with Client(function.url) as client:
        assert client.ready() == first
        before = client.predict([ROW])
        damaged = deployed.registry.folder(second) / "model.tflite"
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[:-50])
        (deployed.registry.root / "CURRENT").write_text(second)
        wait_until(lambda: 'outcome="refused"} 1.0' in httpx.get(f"{function.url}/metrics").text)
        assert client.predict([ROW]).version == first
        (deployed.registry.root / "CURRENT").write_text(first)
        damaged.write_bytes(whole)
        time.sleep(0.5)
        assert client.ready() == first
        deployed.registry.publish(
            {p.name: p for p in deployed.registry.folder(second).iterdir() if p.suffix != ".pb"}
            | {"note.txt": b"another version"},
            {"run_id": "r", "data_fingerprint": "d"},
        )
        wait_until(lambda: client.ready() not in (first, None))
        after = client.predict([ROW])
        assert after.version != first and after.predictions != before.predictions
    metrics = httpx.get(f"{function.url}/metrics").text
    assert f'flywheel_model_info{{version="{after.version}"}} 1.0' in metrics
    assert f'version="{first}"' not in metrics


def test_a_log_that_cannot_be_written_stops_no_answer(deployed, serve):
    deployed.log.write_text("a file where the folder should be")
    tight = deployed.settings.serving.model_copy(update={"log_bytes": 4096, "log_seconds": 0.05})
    function = serve("predict", deployed.settings.model_copy(update={"serving": tight}))
    with Client(function.url) as client:
        for _ in range(100):
            assert client.predict([ROW]).predictions[0] is not None
    wait_until(lambda: dropped(function) == 100)
    answer = httpx.post(
        f"{function.url}/labels", json={"labels": [{"request_id": "a", "label": "no"}]}
    )
    assert answer.status_code == 503 and "could not be stored" in answer.json()["error"]


def dropped(function) -> float:
    text = httpx.get(f"{function.url}/metrics").text
    [line] = [x for x in text.splitlines() if x.startswith("flywheel_log_dropped_rows ")]
    return float(line.split()[1])


@pytest.mark.slow
def test_sixteen_clients_and_a_switch_lose_nothing(deployed, serve):
    function = serve("predict", deployed.settings, threads=16)
    enough = threading.Event()
    acknowledged: list[tuple[str, str]] = []
    failures: list[str] = []

    def ask(number: int) -> None:
        mine, rows = [], [{**ROW, "fare": float(number)}] * (1 + number % 3)
        with httpx.Client(base_url=function.url, timeout=30) as client:
            while not enough.is_set():
                answer = client.post("/predict", json={"instances": rows})
                if answer.status_code != 200:
                    failures.append(answer.text)
                    continue
                content = answer.json()
                mine += [(i, content["model_version"]) for i in content["request_ids"]]
        acknowledged.extend(mine)

    clients = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for client in clients:
        client.start()
    time.sleep(3.0)
    deployed.registry.rollback(deployed.names[1])
    with Client(function.url) as watching:
        wait_until(lambda: watching.ready() == deployed.names[1], 60)
    time.sleep(3.0)
    enough.set()
    for client in clients:
        client.join()
    function.process.send_signal(signal.SIGTERM)
    assert function.process.wait(30) == 0
    assert not failures
    table = logged(deployed.log)
    assert table.num_rows == len(acknowledged)
    found = zip(table["request_id"].to_pylist(), table["version"].to_pylist(), strict=True)
    assert set(found) == set(acknowledged)
    assert {version for _, version in acknowledged} == set(deployed.names)
