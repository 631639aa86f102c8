"""The life of an incident, against a real store and real channels."""

from __future__ import annotations

import datetime
import io
import json

import pytest

from models.errors import ConfigError
from monitoring.alerts import picture, policy
from monitoring.alerts.causes import group
from monitoring.alerts.incidents import Incidents
from monitoring.alerts.options import AlertOptions, FileChannel, RetrainOptions
from monitoring.decisions.finding import Finding
from monitoring.store.store import Store

MONDAY = datetime.datetime(2026, 3, 2, tzinfo=datetime.timezone.utc)


def finding(feature="fare", kind="drift", statistic="psi", severity="warning", **more):
    words = f"{feature}: median 7.85 → 9.65"
    return Finding(kind, feature, statistic, 0.3, 0.02, 1000, severity, words, **more)


def hours(number: float) -> datetime.datetime:
    return MONDAY + datetime.timedelta(hours=number)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    opened = Store(tmp_path_factory.mktemp("store") / "monitoring.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def desk(store, tmp_path):
    """Incidents of an empty store, and the file that tells about them."""
    import sqlalchemy as sa

    from monitoring.store.incidents import Incident

    with store.session() as session:
        session.execute(sa.delete(Incident))
    path = tmp_path / "told.jsonl"
    channel = FileChannel(path=str(path), severity="info")
    incidents = Incidents(
        store, AlertOptions(channels=(channel,), dead_letters=str(path) + ".dead")
    )

    def told() -> list[dict]:
        incidents.notify()
        if not path.exists():
            return []
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        path.unlink()
        return lines

    return incidents, told


class TestLife:
    def test_it_is_told_once_and_resolved_when_it_is_over(self, desk):
        incidents, told = desk
        incidents.update([finding()], "w1", MONDAY)
        (message,) = told()
        assert message["key"] == "drift/fare" and message["status"] == "firing"
        assert "median 7.85 → 9.65" in message["title"]
        incidents.update([finding()], "w2", hours(1))
        assert told() == []
        incidents.update([], "w3", hours(2))
        assert told() == [] and incidents.get("drift/fare").state == "open"  # hysteresis
        incidents.update([], "w4", hours(3))
        (message,) = told()
        assert message["status"] == "resolved"
        assert incidents.get("drift/fare").windows == 2

    def test_the_same_window_again_changes_nothing(self, desk):
        incidents, told = desk
        for _ in range(3):
            incidents.update([finding()], "w1", MONDAY)
        assert len(told()) == 1 and incidents.get("drift/fare").windows == 1
        for _ in range(5):
            incidents.update([], "w2", hours(1))
        assert incidents.get("drift/fare").clean == 1

    def test_what_a_killed_monitor_did_not_tell_is_told_next_time(self, desk):
        incidents, told = desk
        incidents.update([finding()], "w1", MONDAY)  # and no notify
        again = Incidents(incidents.store, incidents.options)
        again.update([finding()], "w2", hours(1))
        assert len(told()) == 1

    def test_back_within_the_cooldown_is_the_same_matter_and_untold(self, desk):
        incidents, told = desk
        incidents.update([finding()], "w1", hours(0))
        told()
        for number in (2, 3):
            incidents.update([], f"w{number}", hours(number))
        assert [m["status"] for m in told()] == ["resolved"]
        incidents.update([finding()], "w4", hours(4))
        assert told() == [] and incidents.get("drift/fare").state == "open"
        assert len(incidents.list()) == 1
        for number in (5, 6):
            incidents.update([], f"w{number}", hours(number))
        told()
        incidents.update([finding()], "w9", hours(100))
        assert len(told()) == 1 and len(incidents.list()) == 2

    def test_reminder_then_escalation_unless_somebody_is_at_it(self, desk):
        incidents, told = desk
        incidents.update([finding()], "w1", hours(0))
        told()
        with incidents.store.session() as session:  # told at the time of the story
            from monitoring.store.incidents import Incident

            session.query(Incident).update({"told_at": hours(0)})
        incidents.update([finding()], "w2", hours(25))
        (message,) = told()
        assert "acknowledged" in message["text"] and message["severity"] == "warning"
        incidents.update([finding()], "w3", hours(73))
        (message,) = told()
        assert message["severity"] == "critical"
        incidents.acknowledge("drift/fare", "ada", "looking")
        incidents.update([finding()], "w4", hours(500))
        assert told() == []
        incident = incidents.get("drift/fare")
        assert incident.state == "acknowledged"
        assert [c["who"] for c in incident.comments] == ["ada"]

    def test_silence_ends_by_itself(self, desk):
        incidents, told = desk
        incidents.update([finding()], "w1", hours(0))
        told()
        incidents.silence("drift/fare", 10, now=hours(1))
        incidents.update([finding(severity="critical")], "w2", hours(2))
        assert told() == []
        incidents.update([finding()], "w3", hours(12))
        assert len(told()) == 1 and incidents.get("drift/fare").state == "open"

    def test_worse_is_told(self, desk):
        incidents, told = desk
        incidents.update([finding()], "w1", hours(0))
        told()
        incidents.update([finding(severity="critical")], "w2", hours(1))
        (message,) = told()
        assert message["severity"] == "critical" and "worse" in message["text"]

    def test_a_resolved_one_cannot_be_acknowledged(self, desk):
        incidents, told = desk
        incidents.update([finding()], "w1", hours(0))
        for number in (2, 3):
            incidents.update([], f"w{number}", hours(number))
        with pytest.raises(ConfigError, match="was resolved"):
            incidents.acknowledge("drift/fare")
        with pytest.raises(ConfigError, match="no incident"):
            incidents.get("drift/nothing")


class TestGrouping:
    def test_one_schema_break_is_one_incident(self, desk):
        incidents, told = desk
        names = [f"c{i}" for i in range(40)]
        broken = [finding(n, "schema", "type_error_rate", "critical") for n in names]
        broken += [finding(n, "quality", "missing_rate") for n in names]
        broken += [finding(n) for n in names]
        incidents.update(broken, "w1", MONDAY)
        (message,) = told()
        assert "40 columns" in message["title"] and message["severity"] == "critical"

    def test_many_drifts_are_one_and_stay_one(self, desk):
        incidents, told = desk
        incidents.update([finding(n) for n in "abcde"], "w1", MONDAY)
        assert [m["key"] for m in told()] == ["drift/(features)"]
        incidents.update([finding("a")], "w2", hours(1))
        assert told() == [] and len(incidents.list(("open",))) == 1

    def test_few_drifts_are_their_own(self):
        causes = group([finding("a"), finding("b")], 4)
        assert [c.key for c in causes] == ["drift/a", "drift/b"]

    def test_missing_values_explain_the_drift_of_their_column(self):
        causes = group([finding("a"), finding("a", "quality", "missing_rate")], 4)
        assert [c.key for c in causes] == ["quality/a"]
        assert causes[0].findings[0].statistic == "missing_rate"

    def test_a_slice_adds_nothing_to_the_whole(self):
        causes = group([finding("a"), finding("a", slice="city=x"), finding("b", slice="c=y")], 4)
        assert [c.key for c in causes] == ["drift/a", "drift/b@c=y"]

    def test_information_is_no_incident(self):
        assert group([finding("a", severity="info")], 4) == []


class TestPolicy:
    def test_performance_asks_once_and_drift_does_not(self, desk):
        incidents, _ = desk
        incidents.update([finding()], "w1", hours(0))
        assert policy.retrain(incidents.store, RetrainOptions(), hours(0)) is None
        fallen = finding("(prediction)", "performance", "auc", "critical")
        incidents.update([finding(), fallen], "w2", hours(1))
        request = policy.retrain(incidents.store, RetrainOptions(), hours(1))
        assert request is not None and len(request.incidents) == 1
        assert policy.retrain(incidents.store, RetrainOptions(), hours(50)) is None

    def test_silenced_ones_do_not_ask(self, desk):
        incidents, _ = desk
        incidents.update([finding("(prediction)", "performance", "auc", "critical")], "w1", MONDAY)
        incidents.silence("performance", 1000)
        assert policy.retrain(incidents.store, RetrainOptions(), hours(1)) is None


def test_the_picture_is_a_picture():
    from PIL import Image

    labels = [f"cell {i} <&>" for i in range(30)]
    image = Image.open(
        io.BytesIO(picture.bars("fare → 9.65", labels, [1 / 30] * 30, [1 / 30] * 30))
    )
    assert image.format == "PNG" and image.width == 1280
    colours = {c for _, c in image.getcolors(100_000)}
    assert {(154, 167, 180), (194, 87, 26)} <= colours
