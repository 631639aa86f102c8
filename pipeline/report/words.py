"""Numbers and texts as people read them: units, thousands separators, no noise."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

from markupsafe import Markup, escape

NOTHING = "–"
#: A number and its unit stay on one line.
_GAP = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"

#: Better is lower for these; for every other metric higher is better or neither.
LOWER_IS_BETTER = frozenset({"log_loss", "mae", "rmse", "calibration_error"})
NEUTRAL = frozenset({"calibration", "mean_label", "mean_prediction", "example_count"})

_METRIC_NAMES = {
    "auc": "AUC",
    "pr_auc": "PR AUC",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "example_count": "rows",
    "mean_label": "mean label",
    "mean_prediction": "mean prediction",
}

#: Control characters break parsers, and direction overrides make a name read as another one.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """The text with every character that no page should hold replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def is_number(value: Any) -> bool:
    """Whether there is a finite number to show."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def count(value: Any) -> str:
    """Whole things: `15,002`."""
    return _signed_text(f"{value:,.0f}") if is_number(value) else NOTHING


def number(value: Any, digits: int = 4) -> str:
    """A quantity of unknown size: `7.85`, `15,002`, `1.2e-05`."""
    if not is_number(value):
        return NOTHING
    size = abs(value)
    if value == int(value) and size < 1e15:
        return _signed_text(f"{int(value):,}")
    if size >= 1e15 or size < 1e-4:
        return _signed_text(f"{value:.3g}")
    if size >= 10 ** (digits - 1):
        return _signed_text(f"{value:,.0f}")
    return _signed_text(f"{value:.{digits}g}")


def metric(value: Any) -> str:
    """A metric: four decimals where it is small, as figures of one column should."""
    if not is_number(value):
        return NOTHING
    size = abs(value)
    if 0 < size < 5e-4:
        return _signed_text(f"{value:.1e}")
    decimals = 4 if size < 10 else 2 if size < 1000 else 0
    return _signed_text(f"{value:,.{decimals}f}")


def fixed(value: Any) -> str:
    """Four decimals, for columns of small figures beside their limits."""
    return _signed_text(f"{value:,.4f}") if is_number(value) else NOTHING


def signed(value: Any) -> str:
    """A difference: `+0.0012`, `−0.0400`, `0.0000`."""
    if not is_number(value):
        return NOTHING
    size = abs(value)
    decimals = 4 if size < 10 else 2 if size < 1000 else 0
    text = f"{value:,.{decimals}f}"
    if not text.strip("-0."):
        return text.lstrip("-")
    return f"+{text}" if value > 0 else _signed_text(text)


def percent(share: Any) -> str:
    """A share: `34 %`, `5.1 %`, `< 0.1 %`."""
    if not is_number(share):
        return NOTHING
    value = 100 * share
    if 0 < value < 0.1:
        return f"<{_GAP}0.1{_GAP}%"
    if 99.95 <= value < 100:
        return f">{_GAP}99.9{_GAP}%"
    return f"{value:.0f}{_GAP}%" if value in (0, 100) else f"{value:.1f}{_GAP}%"


def size(value: Any) -> str:
    """Bytes, exactly: `15,064 B`."""
    return f"{value:,.0f}{_GAP}B" if is_number(value) else NOTHING


def seconds(value: Any) -> str:
    """A duration: `0.4 s`, `12.3 s`, `2 min 5 s`."""
    if not is_number(value):
        return NOTHING
    if value < 99.95:
        return f"{value:.1f}{_GAP}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes:,}{_GAP}min{_GAP}{rest}{_GAP}s"


def microseconds(value: Any) -> str:
    """A latency: `15 µs`, `2.4 µs`."""
    if not is_number(value):
        return NOTHING
    return f"{value:,.0f}{_GAP}µs" if value >= 10 else f"{value:.1f}{_GAP}µs"


def metric_name(name: str) -> str:
    """How a metric is called in a heading."""
    return _METRIC_NAMES.get(name, name.replace("_", " "))


def short(text: Any, length: int = 40) -> str:
    """The beginning of a text that is too long for its place."""
    text = str(text)
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def breakable(text: str) -> Markup:
    """A name that may be broken after an underscore."""
    return Markup("_<wbr>").join(escape(part) for part in text.split("_"))


def cell(value: Any) -> str:
    """A value of a table whose columns are not known beforehand."""
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _signed_text(f"{value:,}")
    if isinstance(value, float):
        return number(value)
    return short(value, 200)


def figure(value: Any, text: str) -> Markup:
    """A number as HTML's `<data>`: what is read, and the exact value for programs."""
    if not is_number(value):
        return escape(text)
    return Markup('<data value="{}">{}</data>').format(repr(value), text)


def prose(text: Any) -> Markup:
    """A message of ours: `` `names` `` become code, everything is escaped."""
    parts = str(text or "").split("`")
    if len(parts) % 2 == 0:  # an odd backtick belongs to the text
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def moment(epoch: float) -> str:
    """When: `2026-03-01 12:30:05 UTC`."""
    when = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def slice_name(values: dict[str, Any]) -> str:
    """Column to value, as text: `payment_type = Cash`."""
    return ", ".join(f"{column} = {value}" for column, value in values.items()) or "all rows"


def _signed_text(text: str) -> str:
    return text.replace("-", _MINUS, 1) if text.startswith("-") else text
