"""Is everything all right? The state of every part of the wheel, and what comes first."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from control_center.center import Center
from control_center.look import relative
from control_center.rooms import automation_state, monitor_state, serving_state
from pipeline.demos import DEMOS
from pipeline.report import svg, words

_log = logging.getLogger(__name__)
#: Older than this, a model should have been looked at.
_OLD_DAYS = 60


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the wheel.

    Attributes:
      name: What it is.
      tone: `good`, `warn`, `bad`, `live`, or `none` where there is nothing yet.
      headline: Its state in a few words.
      detail: One sentence more.
      link: Its page.
      attention: What to do about it; empty when nothing.
      urgency: Which part's attention comes first; larger is sooner.
    """

    name: str
    tone: str
    headline: str
    detail: str
    link: str
    attention: str = ""
    urgency: int = 0


def parts(center: Center) -> list[Part]:
    """All parts, in the order in which the wheel turns; one that cannot be read says so."""
    makers: tuple[tuple[str, str, Callable[[Center], Part]], ...] = (
        ("Data", "/run", _data),
        ("Run", "/runs", _run),
        ("Model", "/models", _model),
        ("Serving", "/monitoring", lambda center: serving_state(center, Part)),
        ("Monitoring", "/monitoring", lambda center: monitor_state(center, Part)),
        ("Alerts", "/monitoring#alerts", _alerts),
        ("Automation", "/automation", lambda center: automation_state(center, Part)),
    )
    return [_made(center, *maker) for maker in makers]


def _made(center: Center, name: str, link: str, make: Callable[[Center], Part]) -> Part:
    try:
        return make(center)
    except Exception as error:  # of whatever became of its files: the other parts are still asked
        _log.exception("%s cannot be read", name)
        said = words.short(f"{type(error).__name__}: {error}", 160)
        attention = f"{name} cannot be read: see what became of its files."
        return Part(name, "bad", "cannot be read", said, link, attention, 99)


def overview(center: Center) -> dict[str, Any]:
    """The parts, and the one thing that needs attention first."""
    found = parts(center)
    waiting = sorted((p for p in found if p.attention), key=lambda p: -p.urgency)
    first = waiting[0] if waiting else None
    return {
        "parts": [dataclasses.asdict(p) for p in found],
        "attention": dataclasses.asdict(first) if first else None,
        "more": len(waiting) - 1 if waiting else 0,
    }


def first_run(center: Center) -> dict[str, Any]:
    """What a first run would be about."""
    config = center.config
    demo = DEMOS.get(config.data.path)
    return {
        "data": center.shown(config.data.path),
        "label": config.task.label,
        "type": config.task.type,
        "features": sum(kind != "ignore" for kind in config.features.values()),
        "question": demo["question"] if demo else "",
    }


def _data(center: Center) -> Part:
    if center.problem:
        code = center.problem.reason.code
        missing = code == "NO_CONFIG"
        return Part(
            "Data",
            "none" if missing else "bad",
            "no config yet" if missing else "config is wrong",
            center.problem.reason.message,
            "/run",
            "Choose a demo, or write flywheel.yaml with `flywheel init DATA`."
            if missing
            else center.problem.reason.next,
            90,
        )
    config = center.config
    used = sum(kind != "ignore" for kind in config.features.values())
    return Part(
        "Data",
        "good",
        words.short(center.shown(config.data.path), 40),
        f"{used} features, predicts {config.task.label} ({config.task.type})",
        "/run",
    )


def _run(center: Center) -> Part:
    ids = center.runs.ids()
    if not ids:
        return Part(
            "Run", "none", "no run yet", "Nothing has been trained here.", "/run",
            "Start the first run.", 80,
        )  # fmt: skip
    row = center.runs.row(ids[0])
    when = relative(row.started)
    link = f"/runs/{row.id}"
    if row.state == "running":
        return Part("Run", "live", "running", f"started {when}", link)
    if row.state == "pushed":
        return Part("Run", "good", "pushed", f"last run, {when}", link)
    words_ = row.state.replace("_", " ") if row.state != "lost" else "killed"
    return Part(
        "Run",
        "bad" if row.state in ("failed", "lost") else "warn",
        words_,
        f"last run, {when}: {', '.join(row.codes[:2]) or 'see its page'}",
        link,
        f"The last run ended as {words_}: see why, then go on from there.",
        60 if row.state in ("failed", "lost") else 40,
    )


def _model(center: Center) -> Part:
    current = center.registry.current()
    if current is None:
        return Part("Model", "none", "nothing deployed", "The first push deploys.", "/models")
    try:
        manifest = center.registry.manifest(current)
    except (OSError, ValueError):
        return Part(
            "Model", "bad", current, "Its manifest is gone.", "/models",
            "The deployed version is damaged: deploy another.", 100,
        )  # fmt: skip
    from control_center.look import epoch

    made = epoch(manifest.get("created")) or time.time()
    old = (time.time() - made) / 86_400 > _OLD_DAYS
    return Part(
        "Model",
        "warn" if old else "good",
        current,
        f"made {relative(made)}, {manifest['files']['model.tflite']['bytes']:,} bytes",
        f"/models/{current}",
        "The deployed model is old: run again on new data." if old else "",
        20,
    )


def _alerts(center: Center) -> Part:
    from control_center.rooms import incidents

    found = incidents(center)
    if found is None:
        return Part("Alerts", "none", "not set up", "No window was looked at yet.", "/monitoring")
    still = [i for i in found if i["state"] in ("open", "acknowledged")]
    new = [i for i in still if i["state"] == "open"]
    if not still:
        return Part(
            "Alerts", "good", "none open", f"{len(found)} in the past", "/monitoring#alerts"
        )
    return Part(
        "Alerts",
        "bad" if new else "warn",
        f"{len(still)} open",
        still[0]["title"],
        "/monitoring#alerts",
        "Look at the alerts, and say who is at it." if new else "",
        95,
    )


_W, _H, _BOX, _TALL = 640, 560, 156, 60


def wheel(found: list[dict[str, Any]]) -> Markup:
    """The parts on a wheel, each a link with its state."""
    cx, cy, rx, ry = _W / 2, _H / 2, 232, 236
    count = len(found)
    angles = [-math.pi / 2 + 2 * math.pi * i / count for i in range(count)]
    at = [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]
    arcs = []
    for a in angles:
        middle = a + math.pi / count
        x, y = cx + rx * math.cos(middle), cy + ry * math.sin(middle)
        tx, ty = -rx * math.sin(middle), ry * math.cos(middle)
        size = math.hypot(tx, ty)
        tx, ty = tx / size, ty / size
        tip = (x + 6 * tx, y + 6 * ty)
        back = (x - 4 * tx, y - 4 * ty)
        arcs.append(
            svg.curve(
                [(back[0] - 6 * ty, back[1] + 6 * tx), tip, (back[0] + 6 * ty, back[1] - 6 * tx)],
                "edge head",
            )
        )
    ring = svg.element("ellipse", cx=cx, cy=cy, rx=rx, ry=ry, class_="ring")
    nodes = []
    for part, (x, y) in zip(found, at, strict=True):
        box = svg.element("rect", x=x - _BOX / 2, y=y - _TALL / 2, width=_BOX, height=_TALL, rx=10)
        nodes.append(
            svg.element(
                "a",
                svg.title(f"{part['name']}: {part['headline']}. {part['detail']}"),
                box,
                svg.text(x, y - 5, part["name"], "node-name", "middle"),
                svg.text(x, y + 15, words.short(part["headline"], 22), "node-state", "middle"),
                href=part["link"],
                class_=f"part {part['tone']}",
            )
        )
    hub = [
        svg.text(cx, cy - 6, "Flywheel", "hub", "middle"),
        svg.text(cx, cy + 16, _hub(found), "hub-note", "middle"),
    ]
    return svg.element(
        "svg",
        ring,
        *arcs,
        *nodes,
        *hub,
        viewBox=f"0 0 {_W} {_H}",
        class_="wheel",
        role="group",
        aria_label="The wheel: every part with its state",
    )


def _hub(found: list[dict[str, Any]]) -> str:
    tones = [p["tone"] for p in found]
    for tone, text in (
        ("bad", "something is wrong"),
        ("live", "a run is at work"),
        ("warn", "worth a look"),
    ):
        if tone in tones:
            return text
    return "turning" if tones.count("good") > len(tones) / 2 else "getting started"
