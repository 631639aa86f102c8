"""The pipeline as a picture: every component with its state and seconds."""

from __future__ import annotations

from markupsafe import Markup

from pipeline.report import svg, words
from pipeline.runs import Run

#: Main flows of `pipeline/dag.py`. Examples and statistics go to more components than
#: are drawn; all of them would hide the order.
EDGES = (
    ("ExampleGen", "StatisticsGen"),
    ("StatisticsGen", "SchemaGen"),
    ("SchemaGen", "SchemaValidator"),
    ("DeployedModel", "SchemaValidator"),
    ("SchemaValidator", "DataGate"),
    ("DataGate", "Trainer"),
    ("Trainer", "Distiller"),
    ("Distiller", "TFLiteQuantizer"),
    ("TFLiteQuantizer", "Evaluator"),
    ("DeployedModel", "Evaluator"),
    ("Evaluator", "Pusher"),
)
NODES = tuple(dict.fromkeys(name for edge in EDGES for name in edge))
#: A curated schema is imported instead of inferred.
_OTHER_NAMES = {"SchemaGen": "ImportSchemaGen"}
_STATES = {
    "complete": "✓ {}",
    "cached": "= reused",
    "failed": "✗ failed, {}",
    "running": "… running",
    "absent": "not reached",
}

_BOX, _TALL = 136, 44
#: Column and row of each node: there and back again, as the eye goes on a wide screen …
_WIDE = {
    "ExampleGen": (0, 0),
    "StatisticsGen": (1, 0),
    "SchemaGen": (2, 0),
    "SchemaValidator": (3, 0),
    "DataGate": (4, 0),
    "DeployedModel": (2, 1),
    "Trainer": (4, 2),
    "Distiller": (3, 2),
    "TFLiteQuantizer": (2, 2),
    "Evaluator": (1, 2),
    "Pusher": (0, 2),
}
#: … and from top to bottom on a phone, the deployed model at the side.
_NARROW = {
    **{name: (1, place) for place, name in enumerate(n for n in NODES if n != "DeployedModel")},
    "DeployedModel": (0, 5),
}


def picture(run: Run) -> Markup:
    """Both layouts; the stylesheet shows the one that fits."""
    states = {name: _state(run, name) for name in NODES}
    spoken = "; ".join(f"{shown} {text}" for shown, _, text in states.values())
    label = f"The pipeline: {spoken}"
    wide = _draw(states, _WIDE, (214, 74), label, "graph wide", sideways=True)
    narrow = _draw(states, _NARROW, (160, 66), label, "graph narrow", sideways=False)
    return wide + narrow


def _state(run: Run, name: str) -> tuple[str, str, str]:
    """Name, state and the words for it."""
    other = _OTHER_NAMES.get(name)
    if name not in run.components and other in run.components:
        name = other
    found = run.components.get(name)
    state = found.state if found else "absent"
    seconds = words.seconds(found.seconds) if found else ""
    return name, state, _STATES.get(state, "{}").format(seconds)


def _draw(
    states: dict[str, tuple[str, str, str]],
    places: dict[str, tuple[int, int]],
    pitch: tuple[int, int],
    label: str,
    class_: str,
    *,
    sideways: bool,
) -> Markup:
    at = {name: (2 + x * pitch[0], 2 + y * pitch[1]) for name, (x, y) in places.items()}
    parts = [_edge(at[a], at[b], states[b][1] == "absent", sideways) for a, b in EDGES]
    for name, (x, y) in at.items():
        shown, state, words_ = states[name]
        box = svg.element("rect", x=x, y=y, width=_BOX, height=_TALL, rx=7)
        parts.append(
            svg.group(
                [
                    box,
                    svg.text(x + _BOX / 2, y + 18, shown, "node-name", "middle"),
                    svg.text(x + _BOX / 2, y + 34, words_, "node-state", "middle"),
                ],
                class_=f"node {state}",
            )
        )
    width = max(x for x, _ in at.values()) + _BOX + 2
    height = max(y for _, y in at.values()) + _TALL + 2
    return svg.picture(width, height, label, *parts, class_=class_)


def _edge(a: tuple[float, float], b: tuple[float, float], faint: bool, sideways: bool) -> Markup:
    """An arrow, straight or with one bend; `sideways`: the bend comes after going sideways."""
    (ax, ay), (bx, by) = ((x + _BOX / 2, y + _TALL / 2) for x, y in (a, b))
    right, down = _sign(bx - ax), _sign(by - ay)
    last_is_vertical = right == 0 or (down != 0 and sideways)
    if last_is_vertical:
        start = (ax + right * _BOX / 2, ay) if right else (ax, ay + down * _TALL / 2)
        end, bend = (bx, by - down * (_TALL / 2 + 2)), (bx, ay)
        head = [(-4, -7 * down), (4, -7 * down)]
    else:
        start = (ax, ay + down * _TALL / 2) if down else (ax + right * _BOX / 2, ay)
        end, bend = (bx - right * (_BOX / 2 + 2), by), (ax, by)
        head = [(-7 * right, -4), (-7 * right, 4)]
    tip = [(end[0] + dx, end[1] + dy) for dx, dy in head]
    path = [start, bend, end] if right and down else [start, end]
    parts = [svg.curve(path, "edge"), svg.curve([tip[0], end, tip[1]], "edge head")]
    return svg.group(parts, class_="faint" if faint else None)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
