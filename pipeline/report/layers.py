"""Sensitivity by layer as a picture: what 8 bits in one layer alone cost, with the interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from pipeline.report import svg, words
from pipeline.report.svg import Scale

WIDTH, _LEFT, _RIGHT, _ROW, _AXIS = 620, 150, 24, 28, 26


def picture(layers: Sequence[Mapping[str, Any]], most: float | None, metric: str) -> Markup:
    """One row per layer: the loss as a mark, its interval as a line.

    Args:
      layers: As `variants.json` holds them, in the order in which they compute.
      most: Loss that is allowed; drawn where it is known.
      metric: What is lost.
    """
    rows = [(str(x.get("layer")), x.get("quality") or {}) for x in layers]
    known = [(name, q) for name, q in rows if words.is_number(q.get("drop"))]
    if not known:
        return Markup("")
    ends = [q[key] for _, q in known for key in ("drop", "low", "high") if words.is_number(q[key])]
    limit = [most] if words.is_number(most) else []
    scale = Scale.over([0.0, *ends, *limit], _LEFT, WIDTH - _RIGHT, margin=0.04)
    height = _ROW * len(known)
    ticks = scale.ticks(5)
    step = min((b - a for a, b in zip(ticks, ticks[1:], strict=False)), default=1.0)
    parts = [svg.line(scale(t), 0, scale(t), height, "grid") for t in ticks]
    parts += [
        svg.text(scale(t), height + 14, svg.tick_name(t, step), anchor="middle") for t in ticks
    ]
    parts.append(svg.line(scale(0.0), 0, scale(0.0), height, "axis"))
    for value in limit:
        parts.append(svg.line(scale(value), 0, scale(value), height, "rule limit"))
    for place, (name, quality) in enumerate(known):
        middle = place * _ROW + _ROW / 2
        tip = f"{name}: loses {words.signed(quality['drop'])}"
        if words.is_number(quality["low"]) and words.is_number(quality["high"]):
            low, high = quality["low"], quality["high"]
            parts.append(svg.line(scale(low), middle, scale(high), middle, "line shipped"))
            tip += f", between {words.signed(low)} and {words.signed(high)}"
        over = words.is_number(most) and (quality["high"] or quality["drop"]) > most
        kind = "mark bad" if over else "mark shipped"
        parts.append(svg.text(_LEFT - 8, middle + 4, words.short(name, 22), anchor="end"))
        parts.append(svg.mark("circle", scale(quality["drop"]), middle, 5, kind, tip))
    label = f"Loss of {words.metric_name(metric)} with one layer in 8 bits: " + ", ".join(
        f"{name} {words.signed(quality['drop'])}" for name, quality in known
    )
    return svg.picture(WIDTH, height + _AXIS, label, *parts)
