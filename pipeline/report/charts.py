"""The kinds of pictures a report is made of. All take values and answer SVG."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from pipeline.report import labels, svg, words
from pipeline.report.svg import Frame, Scale

WIDTH, HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 30, 42
_CELL = 20  # height of a row of cells
_WIDEST = 14  # column of a small histogram


@dataclasses.dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
      name: For the legend.
      points: (x, y); those that are not finite are left out.
      class_: Colour and dash, by the stylesheet.
      shape: Of the marks.
      marks: (x, y, what the pointer shows).
    """

    name: str
    points: Sequence[tuple[float, float]]
    class_: str
    shape: str = "circle"
    marks: Sequence[tuple[float, float, str]] = ()


@dataclasses.dataclass(frozen=True)
class Rule:
    """A horizontal line at a value, with words."""

    value: float
    name: str
    class_: str = "limit"


@dataclasses.dataclass(frozen=True)
class Dot:
    """One point of a scatter plot.

    Attributes:
      x, y: Where.
      name: Written beside it.
      class_, shape: How.
      tip: What the pointer shows.
    """

    x: float
    y: float
    name: str
    class_: str
    shape: str
    tip: str


def line_chart(
    series: Sequence[Series],
    label: str,
    x_name: str,
    y_name: str,
    *,
    rules: Sequence[Rule] = (),
    square: tuple[float, float] | None = None,
    diagonal: bool = False,
) -> Markup:
    """Lines over a common x.

    Args:
      series: At least one with a point; otherwise nothing is drawn.
      label: For screen readers.
      x_name, y_name: Of the axes.
      rules: Horizontal lines.
      square: Both axes from low to high, instead of the range of the points.
      diagonal: Draws x = y.
    """
    drawn = [dataclasses.replace(s, points=_finite(s.points)) for s in series]
    points = [p for s in drawn for p in (*s.points, *((x, y) for x, y, _ in s.marks))]
    if not points:
        return Markup("")
    across, up = (_LEFT, WIDTH - _RIGHT), (HEIGHT - _BOTTOM, _TOP)
    if square:
        x, y = Scale(*square, *across), Scale(*square, *up)
    else:
        x = Scale.over([p[0] for p in points], *across, margin=0.02)
        y = Scale.over([*(p[1] for p in points), *(r.value for r in rules)], *up)
    frame = Frame(x, y, WIDTH, HEIGHT, x_name, y_name)
    parts = [frame.axes()]
    if diagonal:
        low, high = x.low, x.high
        parts.append(svg.line(x(low), y(low), x(high), y(high), "reference-line"))
    lines = [_thinned([(x(a), y(b)) for a, b in one.points]) for one in drawn]
    for one, path in zip(drawn, lines, strict=True):
        parts.append(svg.curve(path, f"line {one.class_}"))
    for one in drawn:
        for a, b, tip in one.marks:
            parts.append(svg.mark(one.shape, x(a), y(b), 4, f"mark {one.class_}", tip))
    parts += _rules(rules, frame, [point for path in lines for point in labels.along(path)])
    return svg.picture(WIDTH, HEIGHT, label, *parts)


def scatter(
    dots: Sequence[Dot],
    label: str,
    x_name: str,
    y_name: str,
    *,
    rule: Rule | None = None,
    front: Sequence[tuple[float, float]] = (),
    least: float | None = None,
) -> Markup:
    """Named points; x is logarithmic.

    Args:
      dots: x > 0; at least one, otherwise nothing is drawn. The first is on top, and its
        name gets the best place; names for which there is no room are left to the pointer.
      label: For screen readers.
      x_name, y_name: Of the axes.
      rule: A limit on y.
      front: Corners of the Pareto front, by rising x.
      least: Points below this are drawn at the lower edge, so that one failure
        does not flatten the rest.
    """
    dots = [d for d in dots if d.x > 0 and math.isfinite(d.x) and math.isfinite(d.y)]
    if not dots:
        return Markup("")
    below = [least is not None and d.y < least for d in dots]
    x = Scale.over([d.x for d in dots], _LEFT, WIDTH - _RIGHT, log=True, margin=0.12)
    seen = [d.y for d, hidden in zip(dots, below, strict=True) if not hidden]
    y = Scale.over([*seen, *([rule.value] if rule else [])], HEIGHT - _BOTTOM, _TOP, margin=0.12)
    if any(below):
        y = dataclasses.replace(y, low=y.low - 0.12 * (y.high - y.low))
    frame = Frame(x, y, WIDTH, HEIGHT, x_name, y_name)
    parts = [frame.axes(), _steps(front, frame)]
    places = [
        (x(d.x), HEIGHT - _BOTTOM - 8 if hidden else y(d.y))
        for d, hidden in zip(dots, below, strict=True)
    ]
    parts += _rules([rule] if rule else [], frame, places)
    names = [d.name + (" (below)" if hidden else "") for d, hidden in zip(dots, below, strict=True)]
    room = (_LEFT, _TOP, WIDTH, HEIGHT - _BOTTOM)
    for d, name, place in zip(dots, names, labels.beside(places, names, room), strict=True):
        if place:
            across, up, anchor = place
            parts.append(svg.text(across, up, name, f"label {d.class_}", anchor))
    marks = list(zip(dots, places, below, strict=True))
    for d, (across, up), hidden in reversed(marks):
        radius = 6.5 if d.class_ == "shipped" else 5
        shape = "triangle" if hidden else d.shape
        parts.append(svg.mark(shape, across, up, radius, f"mark {d.class_}", d.tip))
    return svg.picture(WIDTH, HEIGHT, label, *parts)


def columns(
    shares: Sequence[float],
    tips: Sequence[str],
    label: str,
    *,
    faint: int = 0,
    gap: float = 1,
    width: float = 168,
    height: float = 38,
) -> Markup:
    """A small histogram without axes.

    Args:
      shares: Height of each column; the highest fills the picture.
      tips: What the pointer shows over each; empty leaves them out.
      label: For screen readers.
      faint: How many of the last columns are not like the others.
      gap: Between columns.
      width, height: Of the picture.
    """
    top = max([s for s in shares if math.isfinite(s)], default=0)
    if top <= 0:
        return Markup("")
    step = min(width / len(shares), _WIDEST)
    parts = [svg.line(0, height - 0.5, step * len(shares), height - 0.5, "axis")]
    for place, share in enumerate(shares):
        if not math.isfinite(share) or share <= 0:
            continue
        tall = max((height - 2) * share / top, 1)
        kind = "bar faint" if place >= len(shares) - faint else "bar"
        tip = tips[place] if tips else ""
        parts.append(
            svg.rectangle(place * step, height - 1 - tall, max(step - gap, 0.6), tall, kind, tip)
        )
    return svg.picture(width, height, label, *parts, class_="spark")


def overlay(
    names: Sequence[str],
    before: Sequence[float],
    now: Sequence[float],
    label: str,
    *,
    sides: tuple[str, str],
) -> Markup:
    """Two distributions over the same cells: wide bars behind, narrow ones in front.

    Args:
      names: Of the cells.
      before, now: Shares of the cells; cells empty on both sides are left out.
      label: For screen readers.
      sides: What the two are called, for the pointer.
    """
    cells = [c for c in zip(names, before, now, strict=False) if c[1] > 0 or c[2] > 0]
    if not cells:
        return Markup("")
    left, right = 132, 60
    height = _CELL * len(cells) + 4
    most = max(max(b, n) for _, b, n in cells)
    unit = (WIDTH - left - right) / most
    parts = [svg.line(left, 0, left, height, "axis")]
    for place, (name, b, n) in enumerate(cells):
        top = place * _CELL + 2
        tip = f"{name}: {sides[0]} {words.percent(b)}, {sides[1]} {words.percent(n)}"
        parts += [
            svg.text(left - 6, top + 13, words.short(name, 20), anchor="end"),
            svg.rectangle(left, top + 1, b * unit, _CELL - 4, "before", tip),
            svg.rectangle(left, top + 5, n * unit, _CELL - 12, "now", tip),
            svg.text(left + max(b, n) * unit + 5, top + 13, words.percent(n), "faint"),
        ]
    return svg.picture(WIDTH, height, label, *parts)


def strip_scale(values: Iterable[float], width: float) -> Scale:
    """The common scale of the strips of a table."""
    return Scale.over(values, 8, width - 8, margin=0.04)


def strip_axis(scale: Scale, label: str) -> Markup:
    """The head of a column of strips."""
    width = scale.end + scale.start
    ticks = scale.ticks(4)
    step = min((b - a for a, b in zip(ticks, ticks[1:], strict=False)), default=1.0)
    parts = [
        svg.text(min(max(scale(t), 12), width - 14), 11, svg.tick_name(t, step), anchor="middle")
        for t in ticks
    ]
    return svg.picture(width, 16, label, *parts, class_="strip")


def strip(
    scale: Scale,
    marks: Sequence[tuple[float | None, str, str, str]],
    limits: Sequence[tuple[float, str, str]],
    label: str,
) -> Markup:
    """One row of a forest plot: models as marks, limits as ticks.

    Args:
      scale: The column's, from `strip_scale`.
      marks: (value, class, shape, tip); None is not drawn; the last is on top.
      limits: (value, class, tip).
      label: For screen readers.
    """
    width, height = scale.end + scale.start, 26
    parts = [svg.line(scale(t), 0, scale(t), height, "grid") for t in scale.ticks(4)]
    known = [m for m in marks if words.is_number(m[0])]
    if len(known) > 1:
        ends = [scale(m[0]) for m in known]
        parts.append(svg.line(min(ends), height / 2, max(ends), height / 2, "span"))
    for value, class_, tip in limits:
        if scale.holds(value):
            x = scale(value)
            parts.append(svg.rectangle(x - 1, 4, 2, height - 8, f"tick {class_}", tip))
    for value, class_, shape, tip in known:
        parts.append(svg.mark(shape, scale(value), height / 2, 4.5, f"mark {class_}", tip))
    return svg.picture(width, height, label, *parts, class_="strip")


def swatch(class_: str, shape: str = "") -> Markup:
    """A legend's sample: a line, or a mark."""
    if shape:
        sample = svg.mark(shape, 9, 6, 4.5, f"mark {class_}")
    elif class_ in ("before", "now"):
        sample = svg.rectangle(1, 1 if class_ == "before" else 4, 16, 10, class_)
    else:
        sample = svg.curve([(0, 6), (18, 6)], f"line {class_}")
    return svg.element("svg", sample, viewBox="0 0 18 12", class_="swatch", aria_hidden="true")


def _steps(front: Sequence[tuple[float, float]], frame: Frame) -> Markup:
    """The Pareto front as stairs: from one corner to the next, quality stays until it rises."""
    path: list[tuple[float, float]] = []
    for a, b in front:
        if path:
            path.append((frame.x(a), path[-1][1]))
        path.append((frame.x(a), frame.y(b)))
    return svg.curve(path, "front")


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(a, b) for a, b in points if words.is_number(a) and words.is_number(b)]


def _rules(
    rules: Sequence[Rule], frame: Frame, busy: Sequence[tuple[float, float]]
) -> list[Markup]:
    """Lines with their words where the fewest of the busy positions are."""
    parts = []
    for rule in rules:
        if not frame.y.holds(rule.value):
            continue
        up = frame.y(rule.value)
        parts.append(svg.line(frame.x.start, up, frame.x.end, up, f"rule {rule.class_}"))
        places = [
            (across, up + shift, anchor)
            for shift in (-5, 14)
            for across, anchor in ((frame.x.end - 2, "end"), (frame.x.start + 4, "start"))
            if frame.y.end < up + shift < frame.y.start
        ]
        if places:
            across, text_up, anchor = labels.away_from(places, rule.name, busy)
            parts.append(svg.text(across, text_up, rule.name, rule.class_, anchor))
    return parts


def _thinned(points: list[tuple[float, float]], least: float = 1.0) -> list[tuple[float, float]]:
    """Without points closer than the eye can tell, the ends kept."""
    if not points:
        return []
    kept = points[:1]
    for point in points[1:-1]:
        if abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) >= least:
            kept.append(point)
    return kept + points[-1:]
