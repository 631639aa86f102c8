"""Where words go in a picture, so that they cover neither points nor each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.report import svg

Point = tuple[float, float]
#: x, y of the text's baseline, and its anchor.
Place = tuple[float, float, str]
Box = tuple[float, float, float, float]
#: Area that a name may cover of others; more is not readable.
_COVERED = 12.0


def beside(points: Sequence[Point], names: Sequence[str], room: Box) -> list[Place | None]:
    """Places for the names of points.

    Args:
      points: Positions of the marks; the first one's name gets the best place.
      names: As many.
      room: Left, top, right and bottom of the area to stay in.

    Returns:
      One for each; None where a name would cover another one or a mark. The first always has one.
    """
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    found: list[Place | None] = []
    for (x, y), name in zip(points, names, strict=True):
        wide = svg.width_of(name)
        options = [
            (x + 10, y + 4, "start"),
            (x - 10, y + 4, "end"),
            (x, y - 11, "middle"),
            (x, y + 19, "middle"),
            (x + 8, y - 12, "start"),
            (x + 8, y + 20, "start"),
            (x - 8, y - 12, "end"),
            (x - 8, y + 20, "end"),
            (x, y - 25, "middle"),
            (x, y + 33, "middle"),
            (x + 12, y - 25, "start"),
            (x + 12, y + 33, "start"),
            (x - 12, y - 25, "end"),
            (x - 12, y + 33, "end"),
        ]
        boxes = [_box(option, wide) for option in options]
        worth = [_badness(box, taken, room) for box in boxes]
        best = worth.index(min(worth))
        if found and worth[best] > _COVERED:
            found.append(None)
            continue
        taken.append(boxes[best])
        found.append(options[best])
    return found


def away_from(places: Sequence[Place], name: str, busy: Sequence[Point]) -> Place:
    """The place, of those possible, where the fewest of the busy positions are."""
    wide = svg.width_of(name)

    def crossed(place: Place) -> int:
        left, top, right, bottom = _box(place, wide)
        return sum(1 for x, y in busy if left - 3 <= x <= right + 3 and top <= y <= bottom)

    counts = [crossed(place) for place in places]
    return places[counts.index(min(counts))]


def along(path: Sequence[Point], step: float = 6.0) -> list[Point]:
    """Positions along a line, close enough to see what it crosses."""
    found = []
    for (ax, ay), (bx, by) in zip(path, path[1:], strict=False):
        parts = max(1, round(math.hypot(bx - ax, by - ay) / step))
        found += [(ax + (bx - ax) * i / parts, ay + (by - ay) * i / parts) for i in range(parts)]
    return found


def _box(place: Place, wide: float) -> Box:
    x, y, anchor = place
    left = x - {"start": 0, "middle": wide / 2, "end": wide}[anchor]
    return left, y - 10, left + wide, y + 3


def _badness(box: Box, taken: Sequence[Box], room: Box) -> float:
    """Area covered twice, and what sticks out of the picture."""
    left, top, right, bottom = box
    area = sum(
        max(0.0, min(right, r) - max(left, a)) * max(0.0, min(bottom, b) - max(top, t))
        for a, t, r, b in taken
    )
    outside = max(0.0, room[0] - left) + max(0.0, right - room[2])
    outside += max(0.0, room[1] - top) + max(0.0, bottom - room[3])
    return area + 20 * outside
