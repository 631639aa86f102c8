"""The ML Test Score, from what the workspace can show.

The 28 tests of Breck, Cai, Nielsen, Salib and Sculley, “The ML Test Score: A Rubric for ML
Production Readiness” (2017): a test that is done and written down counts half, one that is
automated counts one, and the score is the least of the four sections' sums. A test
that nothing here can show counts nothing, whoever may be doing it elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from control_center import rehearsals, watching
from control_center.center import Center
from control_center.look import epoch
from control_center.runs_index import Row
from control_center.schedules import Schedules
from models.registry import MANIFEST
from pipeline.report import words
from pipeline.report.inputs import Inputs

#: What a score means, by its lower bound; the paper's table.
MEANINGS = (
    (0.0, "more of a research project than a productionized system"),
    (0.01, "not totally untested, but with serious holes in reliability"),
    (1.01, "a first pass at basic productionization; more investment may be needed"),
    (2.01, "reasonably tested; more of it could be automated"),
    (3.01, "strong levels of automated testing and monitoring"),
    (5.01, "exceptional levels of automated testing and monitoring"),
)
Answer = tuple[float, str, str]
NOTHING: Answer = (0.0, "nothing here can show it", "")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What tests look at, read once."""

    row: Row | None
    inputs: Inputs | None
    version: str | None
    history: list[dict[str, Any]]
    statistics: dict[str, set[str]]
    center: Center

    @property
    def page(self) -> str:
        return f"/runs/{self.row.id}" if self.row else "/runs"

    def file(self, name: str) -> dict[str, Any]:
        return self.inputs.files[name] if self.inputs else {}


def _schema(e: Evidence) -> Answer:
    if e.version and (e.center.registry.folder(e.version) / "schema.pbtxt").exists():
        return (
            1.0,
            "the deployed version carries its schema; every run is held to it",
            e.page + "/data",
        )
    return NOTHING


def _only_named(e: Evidence) -> Answer:
    if e.center.problem:
        return NOTHING
    ignored = sum(k == "ignore" for k in e.center.config.features.values())
    return 0.5, f"columns are named one by one in the config, {ignored} are ignored", "/run"


def _reviewed(e: Evidence) -> Answer:
    if e.row is None:
        return NOTHING
    return 0.5, "the config of every run is kept with it; its review is not", e.page + "/files"


def _correlate(e: Evidence) -> Answer:
    realised = e.statistics.get("performance", set()) - {"coverage", "label_rate"}
    if realised:
        return (
            1.0,
            f"realised {', '.join(sorted(realised)[:3])} beside the test split's",
            "/monitoring",
        )
    return NOTHING


def _tuned(e: Evidence) -> Answer:
    if e.file("trials"):
        return 1.0, "variants were searched for", e.page + "/variants"
    found = e.file("distillation").get("search")
    if found:
        return 1.0, "the student's shape was searched for", e.page + "/training"
    return NOTHING


def _simpler(e: Evidence) -> Answer:
    networks = e.file("distillation").get("networks") or {}
    if "control" in networks:
        return (
            1.0,
            "the student is held against the same one without a teacher",
            e.page + "/training",
        )
    return NOTHING


def _slices(e: Evidence) -> Answer:
    judged = [t for t in e.file("evaluation").get("thresholds") or [] if t.get("slice")]
    if judged:
        passed = sum(bool(t["passed"]) for t in judged)
        return 1.0, f"{passed} of {len(judged)} thresholds by slice passed", e.page + "/evaluation"
    return NOTHING


def _stale_known(e: Evidence) -> Answer:
    if "champion" in (e.file("evaluation").get("metrics") or {}):
        return 0.5, "the older model was judged on the newer data", e.page + "/evaluation"
    return NOTHING


def _reproducible(e: Evidence) -> Answer:
    again = [h for h in e.history if h["why"] == "pushed again"]
    if again:
        return 1.0, "a repeated run made the same version, byte for byte", "/models"
    if e.row is not None:
        return 0.5, "seed, data and code are fingerprinted; no run was repeated here", e.page
    return NOTHING


def _integrated(e: Evidence) -> Answer:
    done = [r for r in rehearsals.listed(e.center) if r["state"] in ("pushed", "succeeded")]
    if done:
        return 1.0, f"rehearsal {done[0]['id']} ran the whole pipeline as a cluster does", "/deploy"
    if e.row is not None:
        return 0.5, "whole runs on this machine", e.page
    return NOTHING


def _validated(e: Evidence) -> Answer:
    if "blessed" in e.file("evaluation"):
        return 1.0, "nothing is pushed without the Evaluator's blessing", e.page + "/evaluation"
    return NOTHING


def _debuggable(e: Evidence) -> Answer:
    if e.inputs and e.inputs.run.components:
        return 1.0, "every component's inputs and outputs are kept", e.page + "/files"
    return NOTHING


def _canary(e: Evidence) -> Answer:
    if e.version and (e.center.registry.folder(e.version) / "golden.json").exists():
        text = (
            "golden requests are asked in another process before the pointer moves; no live share"
        )
        return 0.5, text, f"/models/{e.version}"
    return NOTHING


def _rollback(e: Evidence) -> Answer:
    if any(h["why"].startswith("rolled back") for h in e.history):
        return 1.0, "it was done, and checked", "/models"
    if len({h["to"] for h in e.history}) > 1:
        return 0.5, "an earlier version is there to go back to; nobody did yet", "/models"
    return NOTHING


def _dependencies(e: Evidence) -> Answer:
    config = None if e.center.problem else e.center.config
    if config and getattr(config.alerts, "channels", ()):
        return 1.0, f"{len(config.alerts.channels)} alert channels are configured", "/monitoring"
    return NOTHING


def _measured(family: str, statistics: tuple[str, ...], text: str) -> Callable[[Evidence], Answer]:
    def test(e: Evidence) -> Answer:
        found = e.statistics.get(family, set())
        if any(s.startswith(statistics) for s in found) if statistics else found:
            return 1.0, text, "/monitoring"
        return NOTHING

    return test


def _fresh(e: Evidence) -> Answer:
    if e.version is None:
        return NOTHING
    made = epoch(e.center.registry.manifest(e.version).get("created"))
    if any(s["what"] == "run" and not s["paused"] for s in Schedules(e.center).list()):
        return 1.0, "runs are scheduled", "/automation"
    return (0.5, "its age is on the first page", "/") if made else NOTHING


def _quality(e: Evidence) -> Answer:
    if e.statistics.get("performance", set()) - {"coverage", "label_rate"}:
        return 1.0, "realised on labels as they come", "/monitoring"
    if e.statistics.get("estimate"):
        return 0.5, "estimated without labels", "/monitoring"
    return NOTHING


def _nothing(e: Evidence) -> Answer:
    return NOTHING


SECTIONS: dict[str, tuple[tuple[str, Callable[[Evidence], Answer]], ...]] = {
    "Data": (
        ("Feature expectations are captured in a schema", _schema),
        ("All features are beneficial", _nothing),
        ("No feature's cost is too much", _nothing),
        ("Features adhere to meta-level requirements", _only_named),
        ("The data pipeline has appropriate privacy controls", _nothing),
        ("New features can be added quickly", _nothing),
        ("All input feature code is tested", _nothing),
    ),
    "Model": (
        ("Model specs are reviewed and submitted", _reviewed),
        ("Offline and online metrics correlate", _correlate),
        ("All hyperparameters have been tuned", _tuned),
        ("The impact of model staleness is known", _stale_known),
        ("A simpler model is not better", _simpler),
        ("Model quality is sufficient on important slices", _slices),
        ("The model is tested for considerations of inclusion", _nothing),
    ),
    "Infrastructure": (
        ("Training is reproducible", _reproducible),
        ("Model specs are unit tested", _nothing),
        ("The ML pipeline is integration tested", _integrated),
        ("Model quality is validated before serving", _validated),
        ("The model is debuggable", _debuggable),
        ("Models are canaried before serving", _canary),
        ("Serving models can be rolled back", _rollback),
    ),
    "Monitoring": (
        ("Dependency changes result in notification", _dependencies),
        (
            "Data invariants hold for inputs",
            _measured("quality", (), "every window is held against the schema's features"),
        ),
        (
            "Training and serving are not skewed",
            _measured("distance", (), "windows are compared with the training statistics"),
        ),
        ("Models are not too stale", _fresh),
        (
            "Models are numerically stable",
            _measured("shipped", ("nonfinite",), "answers that are not finite are counted"),
        ),
        (
            "Computing performance has not regressed",
            _measured("shipped", ("latency",), "latency is measured in every window"),
        ),
        ("Prediction quality has not regressed", _quality),
    ),
}


def scorecard(center: Center) -> dict[str, Any]:
    """Every test with its points and its evidence.

    Returns:
      `score` (least section), `meaning`, `sections`: name to `points`, `tests`.
    """
    evidence = _evidence(center)
    sections = []
    for name, tests in SECTIONS.items():
        answers = [(text, *test(evidence)) for text, test in tests]
        sections.append(
            {
                "name": name,
                "points": sum(a[1] for a in answers),
                "tests": [
                    {"test": text, "points": points, "evidence": why, "link": link}
                    for text, points, why, link in answers
                ],
            }
        )
    score = min(s["points"] for s in sections)
    meaning = [text for least, text in MEANINGS if score >= least][-1]
    return {"score": score, "meaning": meaning, "sections": sections}


def _evidence(center: Center) -> Evidence:
    version = center.registry.current()
    if version and not (center.registry.folder(version) / MANIFEST).exists():
        version = None
    run_id = center.registry.manifest(version).get("run_id") if version else None
    ids = center.runs.ids()
    if run_id not in ids:
        ended = [i for i in ids[:20] if center.runs.row(i).state != "running"]
        run_id = ended[0] if ended else None
    windows = watching.windows(center, 5)
    statistics: dict[str, set[str]] = {}
    for measure in watching.measures(center, [w["id"] for w in windows]):
        if words.is_number(measure["value"]):
            statistics.setdefault(measure["family"], set()).add(measure["statistic"])
    return Evidence(
        center.runs.row(run_id) if run_id else None,
        center.inputs(run_id) if run_id else None,
        version,
        center.registry.history(),
        statistics,
        center,
    )
