"""Two distributions as a PNG that any mail client shows: bars side by side, no script, no SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence

_WIDTH, _LEFT, _TOP, _ROW, _SCALE = 640, 190, 56, 26, 2
_REFERENCE, _CURRENT, _INK, _PAPER = "#9aa7b4", "#c2571a", "#222222", "#ffffff"


def bars(
    title: str,
    labels: Sequence[str],
    reference: Sequence[float],
    current: Sequence[float],
    most: int = 12,
) -> bytes:
    """A picture of shares per cell, reference above the window.

    Args:
      title: The first line.
      labels: Names of the cells.
      reference, current: Shares of the cells, each adding up to 1.
      most: Cells shown; those with the largest shares, in their order.

    Returns:
      A PNG, 640 units wide at twice that resolution.
    """
    from PIL import Image, ImageDraw, ImageFont

    size = [max(p, q) for p, q in zip(reference, current, strict=True)]
    kept = sorted(sorted(range(len(size)), key=lambda i: -size[i])[:most])
    kept = [i for i in kept if size[i] > 0]
    height = _TOP + _ROW * max(len(kept), 1) + 12
    image = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13 * _SCALE)

    def write(x: float, y: float, text: str, fill: str = _INK, anchor: str = "lm") -> None:
        draw.text((x * _SCALE, y * _SCALE), text, fill=fill, font=font, anchor=anchor)

    def box(x: float, y: float, width: float, tall: float, fill: str) -> None:
        draw.rectangle(
            [x * _SCALE, y * _SCALE, (x + max(width, 0.5)) * _SCALE, (y + tall) * _SCALE], fill
        )

    write(12, 16, _cut(title, 78))
    box(12, 34, 10, 10, _REFERENCE)
    write(28, 39, "reference")
    box(118, 34, 10, 10, _CURRENT)
    write(134, 39, "this window")
    largest = max(size, default=0.0) or 1.0
    room = _WIDTH - _LEFT - 130
    for row, i in enumerate(kept):
        y = _TOP + row * _ROW
        write(_LEFT - 8, y + 10, _cut(labels[i], 22), anchor="rm")
        box(_LEFT, y + 1, room * reference[i] / largest, 9, _REFERENCE)
        box(_LEFT, y + 10, room * current[i] / largest, 9, _CURRENT)
        write(
            _LEFT + room * size[i] / largest + 6, y + 10, f"{reference[i]:.1%} → {current[i]:.1%}"
        )
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
