"""The trail through all rooms, a feature looked at closely, a model asked; hostile names."""

from __future__ import annotations

import datetime
import re

import pytest
import sqlalchemy as sa
import yaml

from cloud_functions import brakes, claims, dead_letter
from cloud_functions.ledger import open_ledger, utc_now
from control_center import trail, versions, watching
from control_center.automating import led_to
from monitoring.store.windows import MeasureRow, Window
from tests.control_center import workspaces
from tests.control_center.conftest import Asked
from tests.control_center.test_security import PAGES, check_markup
from tests.pipeline.report_files import HOSTILE, Names
from tests.pipeline.report_runs import RUN_ID

FEATURE = "petal_length"


@pytest.fixture(scope="module")
def lived(tmp_path_factory) -> Asked:
    """An alert had a run started, whose version was deployed, and drifted, and so on."""
    folder = tmp_path_factory.mktemp("lived")
    workspaces.write_config(folder)
    names = Names(
        label="species",
        numeric=FEATURE,
        categorical="garden",
        data=str(folder / "iris.csv"),
    )
    made = workspaces.add_run(folder, champion=True, names=names)
    config = yaml.safe_load(made.folder.config.read_text("utf-8"))
    del config["data"]["derive"]
    made.folder.config.write_text(yaml.safe_dump(config), "utf-8")
    asked = Asked(folder)
    ledger = open_ledger(asked.center.config.automation.ledger)
    now = utc_now()
    brake = asked.center.config.automation.brakes
    earlier = now - datetime.timedelta(hours=5)

    def ask(job, asker, why, moment):
        told = {"asker": asker, "why": why, "options": brake, "now": moment}
        assert brakes.ask(ledger, "iris", job, **told).state == "granted"

    ask("iris-1", "alert", "Alert: petals", earlier)
    brakes.finish(ledger, "iris", "iris-1", "pushed", earlier)
    ended = {"job": "iris-1", "run_id": RUN_ID, "state": "pushed"}
    ledger.update("run/iris/iris-1", lambda _: (ended, None))
    claim = claims.claim(ledger, "on_alert/alert/iris#incident-1-opened-x", now, 60)
    claim.finish({"state": "told", "retrain": {"state": "started", "job": "iris-1"}})
    version = workspaces.deploy(folder, RUN_ID)
    workspaces.watch(folder, version, FEATURE, f"{FEATURE}: median 3 → 4")
    ask("iris-2", "data", "New data", utc_now() + datetime.timedelta(minutes=1))
    return asked


def test_every_step_of_the_trail_leads_somewhere(lived):
    client = lived.client()
    steps = client.get("/api/why").json()["steps"]
    titles = [step["title"] for step in steps]
    assert titles[:4] == ["Asked for", "Data", "Run", "Variants"]
    assert titles[4:] == ["Blessing", "Deployed", "Windows", "Alert", "Retrain"]
    assert steps[2]["facts"]["started by"] == "automation"
    assert steps[-1]["facts"]["ended"] == "not yet"
    for step in steps:
        page, _, place = step["link"].partition("#")
        answer = client.get(page)
        assert answer.status_code == 200, step
        assert not place or f'id="{place}"' in answer.text, step
    cause = next(step for step in steps if step["title"] == "Asked for")
    assert cause["link"] == "/monitoring#incident-1"


def test_a_run_asked_for_later_is_not_of_an_earlier_version(lived):
    """Only what was asked for while a version served belongs to its story."""
    name = lived.center.registry.current()
    titles = [step["title"] for step in trail.trail(lived.center, name)["steps"]]
    assert titles.count("Retrain") == 1 and titles.count("Asked for") == 1


def test_models_say_by_whom_and_from_which_data(lived, folder):
    page = lived.client().get("/models").text
    assert page.count("automation (alert)") == 2, "of the version, and of the pointer's move"
    assert f'<a href="/runs/{RUN_ID}/data"' in page and "iris.csv</a>" in page
    workspaces.add_run(folder)
    name = workspaces.deploy(folder, RUN_ID)
    asked = Asked(folder)
    assert [move["who"] for move in versions.moves(asked.center)] == ["command line"]
    client = asked.client()
    assert client.post(f"/api/models/{name}/deploy").json()["check"]["requests"] == 2
    me = client.get("/api/me").json()["user"]
    assert [move["who"] for move in versions.moves(asked.center)] == [me, "command line"]


def test_home_tells_the_measured_window(lived):
    parts = {p["name"]: p for p in lived.client().get("/api/overview").json()["parts"]}
    assert parts["Monitoring"]["headline"] == "1 drifted"
    assert parts["Serving"]["headline"] == "p99 4.0 ms"
    page = lived.client().get("/monitoring").text
    assert f"{FEATURE}: median 3 → 4" in page and "1 window" in page
    assert re.search(r"</svg> PSI</li>", page) and re.search(r"</svg> p99</li>", page), "legends"
    assert "realised, as labels came" in page and "estimated without labels" in page
    assert "Prediction drift" in page


def test_what_is_measured_again_is_drawn_again(lived):
    """Pictures are kept; a window that was measured anew is not taken from there."""
    client = lived.client()
    before = client.get("/monitoring").text
    assert client.get("/monitoring").text.count("0.4000") == before.count("0.4000") > 0
    store = watching.store_of(lived.center)
    with store.session() as session:
        changed = session.scalars(sa.select(MeasureRow).where(MeasureRow.value == 0.4)).one()
        changed.value = 0.7
        session.get(Window, changed.window_id).measured_at = utc_now()
    after = client.get("/monitoring").text
    assert "0.7000" in after and "0.4000" not in after


@pytest.mark.parametrize(
    ("result", "texts"),
    [
        (None, []),
        ({"state": "ignored", "message": "It waits."}, ["It waits."]),
        ({"windows": [{"window": "a/b", "findings": ["x"]}]}, ["window a/b: 1 finding"]),
        (
            {"channels": ["ops"], "retrain": {"state": "refused", "message": "One is in flight."}},
            ["told over ops", "run refused: One is in flight."],
        ),
        ({"state": "started", "job": "j"}, ["run started, ended not blessed"]),
    ],
)
def test_what_an_event_led_to(result, texts):
    found = led_to(result, {"j": {"state": "not_blessed", "run_id": "r"}})
    assert [text for text, _ in found] == texts
    if result and result.get("job"):
        assert found[0][1] == "/runs/r"


def test_a_feature_closely(lived):
    page = lived.client().get(f"/runs/{RUN_ID}/data", params={"feature": "garden"}).text
    assert re.search(r"garden, closely", page) and "distinct" in page
    hostile = lived.client().get(f"/runs/{RUN_ID}/data", params={"feature": HOSTILE[0]})
    assert "closely" in hostile.text, "an unknown one: the first"


def test_rows_to_look_at(lived):
    client = lived.client()

    def find(column, value=""):
        query = {"column": column, "value": value}
        return client.get(f"/runs/{RUN_ID}/data", params=query).text

    north = find("garden", "north")
    assert "The first 20, in the data as it is now" in north
    first = next(
        place
        for place, line in enumerate((lived.folder / "iris.csv").read_text().splitlines())
        if ",north," in line
    )
    assert f'<th scope="row" class="n">{first}</th>' in north, "rows are counted as in the file"
    value = (lived.folder / "iris.csv").read_text().splitlines()[5].split(",")[0]
    assert '<th scope="row" class="n">5</th>' in find(FEATURE, value)
    assert "No such row among the first 900" in find("garden")
    assert "No such row" in find(FEATURE, "much")
    assert "has no column" in find("nothing", "x")
    check_markup(find("garden", HOSTILE[1]), "rows")


def test_a_model_is_asked(lived):
    client = lived.client()
    version = lived.center.registry.current()
    page = client.get(f"/models/{version}").text
    assert 'data-feature="fare"' in page and "Ask it" in page
    url = f"/api/models/{version}/ask"
    answer = client.post(url, json={"row": {"fare": "20", "area": "2", "company": "b"}}).json()
    assert sum(answer["scores"].values()) == pytest.approx(1.0) and answer["latency_us"] > 0
    cheap = client.post(url, json={"row": {"fare": "1", "area": "2", "company": "b"}}).json()
    positive = max(answer["scores"], key=answer["scores"].get)
    assert cheap["scores"][positive] < answer["scores"][positive]
    wrong = client.post(url, json={"row": {"fare": "much"}})
    assert wrong.status_code == 422 and wrong.json()["error"]["code"] == "NOT_A_NUMBER"
    assert client.post(url, json={"row": {"x": "1"}}).json()["error"]["code"] == "UNKNOWN_FEATURE"
    assert client.post("/api/models/nope/ask", json={"row": {}}).status_code == 404


def test_hostile_words_of_the_rooms_stay_words(tmp_path):
    """Of features, alerts, comments, events, dead letters, and whoever tries to log in."""
    workspaces.write_config(tmp_path)
    workspaces.add_run(tmp_path)
    hostile = "".join(HOSTILE[:4])
    workspaces.watch(tmp_path, "v1", hostile, hostile)
    asked = Asked(tmp_path)
    ledger = open_ledger(asked.center.config.automation.ledger)
    claim = claims.claim(ledger, f"on_alert/{hostile}", utc_now(), 60)
    claim.finish({"state": hostile, "channels": [hostile], "message": hostile})
    dead_letter.keep(ledger, hostile, hostile, hostile, hostile, hostile.encode())
    asked.center.audit.write(hostile, hostile, hostile, **{hostile: hostile})
    client = asked.client()
    for path in PAGES:
        answer = client.get(path)
        assert answer.status_code == 200, path
        check_markup(answer.text, path)
        assert "<script>window" not in answer.text, path
    query = {"feature": hostile, "window": hostile}
    check_markup(client.get("/monitoring", params=query).text, "/monitoring")
