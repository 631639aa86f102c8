"""Which variant ships: three picks, each the best answer to another wish.

  quality   the smallest of which no loss can be shown: its drop's interval holds zero
  balanced  the smallest within the bounds
  compact   the smallest within three times the bounds

Within the bounds means that the whole interval of the drop is, over all eval rows
and in every judged slice. On few rows intervals are wide, and a variant that
changes answers must prove itself on more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from custom_components.tflite_quantizer.variant import Variant

PICKS = ("quality", "balanced", "compact")
#: How much wider the bounds of the compact pick are.
COMPACT_FACTOR = 3.0
#: Answers that differ by rounding only may move a metric by this.
_ROUNDING = 1e-6
#: Less than this is not shown.
_SHOWN = 5e-5


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a variant must keep.

    Attributes:
      max_drop: Most quality lost on all eval rows.
      max_drop_slice: Most quality lost in a slice.
      max_bytes: Largest file; None for any.
      max_latency_us: Largest median latency of one row; None for any.
    """

    max_drop: float
    max_drop_slice: float
    max_bytes: int | None = None
    max_latency_us: float | None = None

    def times(self, factor: float) -> Limits:
        """The same with wider bounds of quality."""
        return dataclasses.replace(
            self, max_drop=self.max_drop * factor, max_drop_slice=self.max_drop_slice * factor
        )


def violations(variant: Variant, limits: Limits) -> list[str]:
    """Every bound that a made variant breaks, each as a clause; empty when it keeps all."""
    overall = variant.quality["overall"]
    metric = overall["metric"]
    found = []
    if overall["high"] is None:
        found.append(f"{metric} cannot be computed on the eval split")
    elif overall["high"] > limits.max_drop + _ROUNDING:
        found.append(f"may lose more than {limits.max_drop:g} of {metric}: {describe(overall)}")
    broken = [
        s
        for s in variant.quality["slices"]
        if s["high"] is not None and s["high"] > limits.max_drop_slice + _ROUNDING
    ]
    if broken:
        worst = max(broken, key=lambda s: s["high"])
        others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        found.append(
            f"may lose more than {limits.max_drop_slice:g} of {metric} where "
            f"`{worst['feature']}` is {worst['value'] or 'missing'}: {describe(worst)}{others}"
        )
    if limits.max_bytes is not None and variant.bytes > limits.max_bytes:
        found.append(f"{variant.bytes:,} bytes, and at most {limits.max_bytes:,} are allowed")
    latency = variant.latency_us.get("p50")
    if limits.max_latency_us is not None and latency and latency > limits.max_latency_us:
        found.append(f"{latency:.0f} µs a row, and at most {limits.max_latency_us:g} are allowed")
    return found


def describe(drop: dict) -> str:
    """A drop in words, with its interval."""
    if drop["drop"] is None:
        return "not known"
    if drop["low"] is not None and max(abs(drop["low"]), abs(drop["high"])) < _SHOWN:
        return "loses nothing"
    words = f"loses {drop['drop']:.4f}" if drop["drop"] >= 0 else f"gains {-drop['drop']:.4f}"
    if drop["low"] is None:
        return words
    return f"{words} ({drop['low']:+.4f} to {drop['high']:+.4f} on {drop['rows']:,} rows)"


def decide(variants: Sequence[Variant], limits: Limits, pick: str = "balanced") -> list[Variant]:
    """Marks the picks and which of them ships, and says why the others do not.

    Args:
      variants: Made ones, with `quality`, and skipped ones.
      limits: Bounds of the balanced pick.
      pick: The one that ships; where it does not exist, the next stricter one does.

    Returns:
      The variants with state, reason and picks, in the same order; none is shipped
      when none keeps the bounds.
    """
    made = [v for v in variants if v.state != "skipped"]
    good = [v for v in made if not violations(v, limits)]
    unshaken = [v for v in good if v.quality["overall"]["low"] <= _ROUNDING]
    wide = [v for v in made if not violations(v, limits.times(COMPACT_FACTOR))]
    chosen = {
        "quality": min(unshaken or good, key=_size, default=None),
        "balanced": min(good, key=_size, default=None),
        "compact": min(wide, key=_size, default=None),
    }
    wished = PICKS[: PICKS.index(pick) + 1]
    shipped = next((chosen[name] for name in reversed(wished) if chosen[name]), None)
    return [
        v if v.state == "skipped" else _decided(v, limits, chosen, shipped, pick) for v in variants
    ]


def _size(variant: Variant) -> tuple[float, ...]:
    return variant.bytes, variant.quality["overall"]["drop"], variant.latency_us.get("p50", 0.0)


def _decided(
    variant: Variant,
    limits: Limits,
    chosen: dict[str, Variant | None],
    shipped: Variant | None,
    pick: str,
) -> Variant:
    picks = tuple(name for name in PICKS if chosen[name] is variant)
    broken = violations(variant, limits)
    overall = variant.quality["overall"]
    if variant is shipped:
        wish = {
            "quality": "smallest file without a loss that can be shown",
            "balanced": f"smallest file within {limits.max_drop:g} of the float student's "
            f"{overall['metric']} and {limits.max_drop_slice:g} in every slice",
            "compact": f"smallest file within {limits.max_drop * COMPACT_FACTOR:g} of the float "
            f"student's {overall['metric']}",
        }[pick if pick in picks else picks[-1]]
        state, reason = "shipped", f"{wish}: {describe(overall)}"
    elif broken:
        state, reason = "rejected", "; ".join(broken)
    elif shipped is None:
        state, reason = "eligible", describe(overall)
    elif variant.bytes == shipped.bytes:
        state, reason = "eligible", f"same size as {shipped.name}, and no better"
    else:
        more = variant.bytes - shipped.bytes
        word = "larger" if more > 0 else "smaller"
        reason = f"{abs(more):,} bytes {word} than {shipped.name}; {describe(overall)}"
        state = "eligible"
    return dataclasses.replace(variant, state=state, reason=reason, picks=picks)
