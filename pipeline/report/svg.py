"""Elements, scales and axes of inline SVG.

Why not plotly: its script is 4.8 MB per page, and a report is read, mailed and kept. These
pictures are some kilobytes, print well, follow the theme through CSS classes, and say
what a point is through `<title>`. Every text and attribute is escaped here, in one
place, so names from the data cannot become markup.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

_CHARACTER = 6.3  # mean width of a character at the pictures' font size, in their units


def element(name: str, *children: Markup | str, **attributes: object) -> Markup:
    """One element; `class_` is `class`, other underscores are dashes, None leaves out.

    Args:
      name: Tag.
      *children: Markup as it is, text escaped.
      **attributes: Numbers are rounded to a hundredth.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>")


def group(children: Iterable[Markup], **attributes: object) -> Markup:
    return element("g", *children, **attributes)


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> Markup:
    return element(
        "text",
        content,
        x=x,
        y=y,
        class_=class_ or None,
        text_anchor=None if anchor == "start" else anchor,
    )


def title(content: str) -> Markup:
    """What the pointer shows over the element it is put into."""
    return element("title", content)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("path", d=f"M{_value(x1)} {_value(y1)}L{_value(x2)} {_value(y2)}", class_=class_)


def rectangle(
    x: float, y: float, width: float, height: float, class_: str, tip: str = ""
) -> Markup:
    """A bar; as a path, which is the shortest way to write one."""
    path = f"M{_value(x)} {_value(y)}h{_value(width)}v{_value(height)}h{_value(-width)}z"
    return element("path", *([title(tip)] if tip else []), d=path, class_=class_)


def curve(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """A line through points; nothing for fewer than two."""
    if len(points) < 2:
        return Markup("")
    path = "M" + "L".join(f"{_value(x)} {_value(y)}" for x, y in points)
    return element("path", d=path, class_=class_)


def mark(shape: str, x: float, y: float, radius: float, class_: str, tip: str = "") -> Markup:
    """A point. Shapes differ so that colour is never the only difference.

    Args:
      shape: `circle`, `square`, `diamond` or `triangle` (pointing down).
      x, y, radius: In the picture's units.
      class_: Of the stylesheet.
      tip: Shown by the pointer.
    """
    tips = [title(tip)] if tip else []
    if shape == "circle":
        return element("circle", *tips, cx=x, cy=y, r=radius, class_=class_)
    r = radius * {"square": 0.9, "diamond": 1.25, "triangle": 1.2}[shape]
    corners = {
        "square": [(-r, -r), (r, -r), (r, r), (-r, r)],
        "diamond": [(0, -r), (r, 0), (0, r), (-r, 0)],
        "triangle": [(-r, -r * 0.8), (r, -r * 0.8), (0, r)],
    }[shape]
    path = "M" + "L".join(f"{_value(x + dx)} {_value(y + dy)}" for dx, dy in corners) + "z"
    return element("path", *tips, d=path, class_=class_)


def picture(
    width: float, height: float, label: str, *children: Markup, class_: str = "plot"
) -> Markup:
    """The whole picture.

    Args:
      width, height: Of the view box; the stylesheet decides the size on the page.
      label: What a screen reader says instead of the picture.
      *children: Its content.
      class_: Of the stylesheet.
    """
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        class_=class_,
        role="img",
        aria_label=label,
    )


def width_of(content: str) -> float:
    """About how wide a text is."""
    return _CHARACTER * len(content)


@dataclasses.dataclass(frozen=True)
class Scale:
    """From values to positions.

    Attributes:
      low, high: Values at both ends, low < high.
      start, end: Their positions.
      log: Logarithmic; low > 0 then.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        start: float,
        end: float,
        *,
        log: bool = False,
        margin: float = 0.06,
    ) -> Scale:
        """A scale that holds all finite values with some space around them."""
        known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        low, high = (min(known), max(known)) if known else (1.0, 2.0) if log else (0.0, 1.0)
        if log:
            ratio = max((high / low) ** margin, 1.1)
            return cls(low / ratio, high * ratio, start, end, log)
        space = margin * (high - low) or max(abs(high) * 0.05, 1e-6)
        return cls(low - space, high + space, start, end, log)

    def __call__(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values within the scale: multiples of 1, 2 or 5 times a power of ten."""
        if self.log:
            return self._log_ticks(wanted)
        rough = (self.high - self.low) / max(wanted, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        # As many digits at any size; one tick where numbers of that size do not differ.
        return list(dict.fromkeys(float(f"{i * step:.12g}") for i in range(first, last + 1)))

    def _log_ticks(self, wanted: int) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5)):
            ticks = [d * 10.0**p for p in powers for d in digits if self.holds(d * 10.0**p)]
            if len(ticks) >= min(wanted, 3):
                return ticks
        return ticks if len(ticks) > 1 else Scale(self.low, self.high, 0, 1).ticks(wanted)


def tick_name(value: float, step: float) -> str:
    """A tick's label with as many decimals as the step between ticks needs."""
    size = abs(value)
    if size >= 1e6 and step >= 1e4:
        return f"{value / 1e6:g}M"
    if size >= 1e4 and step >= 1000:
        return f"{value / 1e3:g}k"
    if step <= 0 or step < 1e-6 or size >= 1e12:
        return f"{value:.3g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}"


@dataclasses.dataclass(frozen=True)
class Frame:
    """Two scales and the room around them for the axes.

    Attributes:
      x, y: Scales; y's start is at the bottom.
      width, height: Of the picture.
      x_name, y_name: What the axes show.
    """

    x: Scale
    y: Scale
    width: float
    height: float
    x_name: str
    y_name: str

    def axes(self) -> Markup:
        """Grid, tick labels and names."""
        parts = []
        for scale, wanted in ((self.x, 5), (self.y, 5)):
            ticks = scale.ticks(wanted)
            gaps = [b - a for a, b in zip(ticks, ticks[1:], strict=False)]
            for tick in ticks:
                # Over several powers of ten each tick has a step of its own.
                wide = scale.log and ticks[-1] >= 10 * ticks[0]
                step = tick if wide else min(gaps, default=abs(tick) or 1.0)
                name, position = tick_name(tick, step), scale(tick)
                if scale is self.x:
                    parts.append(line(position, self.y.end, position, self.y.start, "grid"))
                    parts.append(text(position, self.y.start + 16, name, anchor="middle"))
                else:
                    parts.append(line(self.x.start, position, self.x.end, position, "grid"))
                    parts.append(text(self.x.start - 6, position + 4, name, anchor="end"))
        parts.append(line(self.x.start, self.y.start, self.x.end, self.y.start, "axis"))
        middle = (self.x.start + self.x.end) / 2
        parts.append(text(middle, self.height - 6, self.x_name, "name", "middle"))
        parts.append(text(4, self.y.end - 10, self.y_name, "name"))
        return group(parts, class_="axes")


def _value(value: object) -> str:
    if isinstance(value, float):
        rounded = f"{value:.2f}".rstrip("0").rstrip(".")
        return "0" if rounded in ("-0", "") else rounded
    return str(escape(value))
