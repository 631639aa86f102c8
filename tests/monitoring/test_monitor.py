"""A look at a log, whole: a real TFLite model, faults that must be found, labels that come late."""

from __future__ import annotations

import datetime
import json
import pathlib

import numpy as np
import pyarrow as pa
import pytest

from models.errors import FlywheelError
from models.predictor import Predictor
from models.registry import Registry
from monitoring import log_rows, prediction_log
from monitoring.monitor import Monitor
from monitoring.options import MonitoringOptions
from monitoring.reference import ReferenceRows
from monitoring.store import Store
from tests.monitoring.deployed import deploy

pytestmark = pytest.mark.slow  # converts a model with TensorFlow
UTC = datetime.timezone.utc
START = datetime.datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + datetime.timedelta(days=60)


def draw(n: int, seed: int, factor: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    fare = rng.lognormal(2.0, 0.6, n) * factor
    company = rng.choice(np.array(["a", "b", None], object), n, p=[0.6, 0.3, 0.1])
    chance = 1 / (1 + np.exp(-(fare - 8) / 4))
    return {
        "fare": fare,
        "area": rng.integers(1, 4, n),
        "company": company,
        "tips": np.where(rng.random(n) < chance, "yes", "no"),
    }


class Site:
    """A registry with a deployed model, its log and its monitor."""

    def __init__(self, folder: pathlib.Path, url: str):
        self.folder, self.url = folder, url
        self.registry, self.version = deploy(folder / "deployed")
        self.predictor = Predictor.load(self.registry.folder(self.version))
        self.log = folder / "log"
        base = pa.table({k: pa.array(v) for k, v in draw(8000, 0).items()})
        self.rows = ReferenceRows(
            lambda _: lambda: base.to_batches(),
            "held-out rows",
            "base",
            replace=True,
            held_out=lambda: base.to_batches(),
        )

    def serve(self, day: int, n: int = 1500, *, latency: int = 150, **changed: object) -> list[str]:
        columns = {**draw(n, 100 + day), **changed}
        ids = [f"d{day}-{i}" for i in range(n)]
        offset = np.arange(n) * np.timedelta64(86_400_000_000 // n, "us")
        table = log_rows.rows(
            self.predictor.spec,
            self.version,
            columns,
            self.predictor.predict(pa.table({k: pa.array(v) for k, v in columns.items()})),
            request_ids=ids,
            times=np.datetime64(START.replace(tzinfo=None) + datetime.timedelta(days=day), "us")
            + offset,
            latency_us=np.full(n, latency),
        )
        prediction_log.write_rows(self.log, table, f"day{day}")
        return ids

    def monitor(self, **options: object) -> Monitor:
        given = MonitoringOptions.model_validate({"slices": ["company"], **options})
        return Monitor(self.registry, given, Store(self.url), "taxi", log=self.log, rows=self.rows)


@pytest.fixture
def site(tmp_path: pathlib.Path, store_url: str) -> Site:
    return Site(tmp_path, store_url)


def values(result) -> dict[tuple[str, str], float]:
    return {
        (m.feature, m.statistic): m.value
        for m in result.measures
        if not m.slice and m.against in ("training", "none")
    }


def test_a_fault_is_found_in_its_window_and_nothing_else_is(site: Site) -> None:
    for day in range(3):
        site.serve(day)
    site.serve(3, fare=draw(1500, 103)["fare"] * 1.5)
    looked = site.monitor().look(NOW)
    assert len(looked.windows) == 4
    found = [{f.feature for f in r.findings if f.kind == "drift"} for r in looked.windows]
    assert not any("fare" in names for names in found[:3])
    assert "fare" in found[3]
    fare = next(f for f in looked.windows[3].findings if f.feature == "fare")
    assert "median 7." in fare.words and "→ 1" in fare.words
    measured = values(looked.windows[0])
    assert measured["(window)", "shadow_difference"] == 0.0
    assert measured["(window)", "latency_p50_ms"] == pytest.approx(0.15)
    assert measured["(window)", "version_share"] == 1.0
    assert ("(prediction)", "estimated_accuracy") in measured
    assert ("(prediction)", "accuracy") not in measured
    against = {m.against for m in looked.windows[1].measures}
    assert against == {"training", "previous", "none"}


def test_windows_of_one_look_are_history_for_those_that_follow(site: Site) -> None:
    for day in range(5):
        site.serve(day, latency=300 if day == 4 else 150)
    looked = site.monitor().look(NOW)
    slow = [{f.statistic for f in r.findings if f.kind == "service"} for r in looked.windows]
    assert slow[:4] == [set()] * 4
    assert slow[4] & {"latency_p50_ms", "latency_p95_ms", "latency_p99_ms"}


def test_labels_that_come_late_are_joined_and_say_so(site: Site) -> None:
    ids = site.serve(0)
    site.serve(1)
    watching = site.monitor()
    watching.look(NOW)
    truth = draw(1500, 100)["tips"]
    prediction_log.write_labels(site.log, ids[:1000], truth[:1000])
    looked = watching.look(NOW)
    assert looked.new_labels == 1
    (result,) = looked.windows  # the other window has no new labels: not measured again
    assert result.window.state == "REVISED" and result.window.start == START
    measured = values(result)
    assert measured["(label)", "coverage"] == pytest.approx(1000 / 1500)
    realised = measured["(prediction)", "accuracy"]
    guess = next(m for m in result.measures if m.statistic == "estimated_accuracy")
    assert guess.low - 0.05 < realised < guess.high + 0.05
    slices = {m.slice for m in result.measures if m.statistic == "accuracy"}
    assert {"", "company=a", "company=b"} == slices
    assert watching.look(NOW).windows == []


def test_a_model_that_is_no_longer_right_is_found_when_labels_come(site: Site) -> None:
    for day in range(4):
        ids = site.serve(day)
        truth = draw(1500, 100 + day)["tips"]
        if day == 3:  # the same inputs, another world
            truth = np.where(np.random.default_rng(0).random(1500) < 0.25, "yes", truth)
        prediction_log.write_labels(site.log, ids, truth)
    looked = site.monitor().look(NOW)
    found = [
        {f.also or f.statistic for f in r.findings if f.kind == "performance"}
        for r in looked.windows
    ]
    assert found[:3] == [set(), set(), set()]
    assert found[3]
    (fall,) = [f for f in looked.windows[3].findings if f.kind == "performance"]
    assert fall.value != fall.limit and fall.words


def test_what_is_kept_is_what_was_found(site: Site) -> None:
    site.serve(0, fare=draw(1500, 100)["fare"] * 2)
    looked = site.monitor().look(NOW)
    again = site.monitor().results()
    (first,), (kept,) = looked.windows, again
    assert [m.key for m in kept.measures] == [m.key for m in first.measures]
    assert kept.findings == first.findings
    assert json.loads(json.dumps(kept.window.facts))["version"] == site.version


def test_the_reference_is_summarised_once_and_the_version_stays_as_it_was(site: Site) -> None:
    site.serve(0)
    before = site.registry.verify(site.version)
    files = sorted(p.name for p in site.registry.folder(site.version).rglob("*"))
    site.monitor().look(NOW)
    assert sorted(p.name for p in site.registry.folder(site.version).rglob("*")) == files
    cached = list((site.registry.root / "references" / site.version).rglob("reference.json"))
    assert len(cached) == 1
    stamp = cached[0].stat().st_mtime_ns
    watching = site.monitor()
    watching.subject(site.version)
    assert cached[0].stat().st_mtime_ns == stamp
    assert site.registry.verify(site.version) == before


def test_two_monitors_at_once(site: Site) -> None:
    site.serve(0)
    one, other = site.monitor(), site.monitor()
    with one.store.locked("monitor-taxi"):
        with pytest.raises(FlywheelError) as error:
            other.look(NOW)
        assert error.value.reason.code == "MONITOR_RUNNING"
    assert len(other.look(NOW).windows) == 1
    assert one.look(NOW).windows == []


def test_a_look_that_died_while_measuring_is_continued(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(3):
        site.serve(day)
    watching = site.monitor()
    keep, calls = Monitor._keep, []

    def die(self, window, *rest):
        calls.append(window.id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return keep(self, window, *rest)

    monkeypatch.setattr(Monitor, "_keep", die)
    with pytest.raises(KeyboardInterrupt):
        watching.look(NOW)
    monkeypatch.undo()
    looked = watching.look(NOW)
    assert looked.read.rows == 0 and len(looked.windows) == 2
    assert [w.rows for w in looked.all_windows] == [1500] * 3


def test_rows_of_a_version_nobody_knows_are_only_counted(site: Site) -> None:
    site.serve(0)
    file = prediction_log.files(site.log)[0]
    moved = site.log / file.name.replace(f"version={site.version}", "version=gone")
    moved.parent.mkdir(parents=True)
    (site.log / file.name).rename(moved)
    looked = site.monitor().look(NOW)
    assert looked.read.unknown["gone"] > 0


def test_registry_is_real(site: Site) -> None:
    assert isinstance(site.registry, Registry)
    assert site.registry.current() == site.version
