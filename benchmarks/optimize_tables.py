"""The tables of docs/optimization.md, from what `python -m benchmarks.optimize` measured.

    python -m benchmarks.optimize_tables     writes them into the page

The page keeps them between `<!-- measured: NAME -->` and `<!-- end -->`; a test holds the page
to the kept JSON. Imports no TensorFlow.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "measured" / "optimization.json"
PAGE = ROOT / "docs" / "optimization.md"
SAVED_MODEL = "teacher, SavedModel"
TITLES = {
    "demo:chicago-taxi": "Taxi",
    "demo:nyc-flights": "Flights",
    "demo:digits": "Digits",
}
_METRICS = {"auc": "AUC", "accuracy": "accuracy", "r2": "R²"}
_BLOCK = re.compile(r"(<!-- measured: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def reduced(found: dict[str, Any]) -> dict[str, Any]:
    """One data set's measurements without what no table shows: of the slices, the worst."""
    kept = json.loads(json.dumps(found))
    for of in (*kept["files"].values(), *kept["versus"].values()):
        quality = of.get("quality")
        if quality:
            of["quality"] = {
                "overall": quality["overall"],
                "slices": len(quality["slices"]),
                "worst": quality["slices"][0] if quality["slices"] else None,
            }
    return kept


def recipes_table(found: dict[str, Any]) -> Iterator[str]:
    """One row for each recipe."""
    yield from _header(found)
    for name in found["files"]:
        if name not in found["by_hand"]:
            yield _row(f"`{name}`", name, found)
    for name, reason in found["skipped"].items():
        if not name.startswith("teacher"):
            yield f"| `{name}` | {_clean(reason)} | | | | | | |"


def hand_table(found: dict[str, Any]) -> Iterator[str]:
    """One row for each file made by hand, and what ships."""
    yield from _header(found)
    for name in found["by_hand"]:
        yield _row(name, name, found)
    for name, reason in found["skipped"].items():
        if name.startswith("teacher"):
            yield f"| {name} | {_clean(reason)} | | | | | | |"
    yield _row(f"**shipped: `{found['shipped']}`**", found["shipped"], found)


def versus_table(found: dict[str, Any]) -> Iterator[str]:
    """What the shipped file saves against each of them, and what that costs."""
    metric = _METRICS.get(found["metric"], found["metric"])
    yield f"| shipped against | times smaller | times faster (95 %) | {metric} given up (95 %) | |"
    yield "|---|---|---|---|---|"
    for name, of in found["versus"].items():
        size, speed = of["times_smaller"], _interval(of["times_faster"], "{:.2f}", "{:.2f}")
        lost = _lost(of["quality"]["overall"]) if of["quality"] else ""
        yield (f"| {name} | {f'{size:.1f}' if size else ''} | {speed} | {lost} | {_said(of)} |")


def _said(of: dict[str, Any]) -> str:
    """The comparison in words; intervals decide, not points."""
    if of["quality"] is None:
        return ""
    size = "smaller" if of["times_smaller"] > 1 else "larger"
    drop = of["quality"]["overall"]
    if not drop["differs"]:
        return f"{size}, no difference shown"
    return f"{size}, and better" if drop["drop"] < 0 else f"{size}, but worse"


def sentence(found: dict[str, Any]) -> str:
    """What ships, in size and speed, and whether it keeps the bounds on test."""
    shipped, teacher = found["files"][found["shipped"]], found["files"]["teacher"]
    saved = found["versus"][SAVED_MODEL]
    speed, quality = saved["times_faster"], shipped["quality"]
    text = (
        f"`{found['shipped']}` ships: 1/{teacher['bytes'] / shipped['bytes']:.1f} of the teacher's "
        f"float32 TFLite; the teacher's SavedModel takes {speed['point']:.1f} times as long for a "
        f"row ({speed['low']:.1f} to {speed['high']:.1f}; {saved['latency_us']:.0f} µs)."
    )
    worst, limits = quality["worst"], found["limits"]
    if quality["overall"]["high"] is None:
        return text
    parts = [(quality["overall"]["high"], limits["max_drop"], "overall")]
    if worst:
        parts.append(
            (worst["high"], limits["max_drop_slice"], f"in the worst of {quality['slices']} slices")
        )
    said = "; ".join(f"{_signed(high)} {where} (bound {bound:g})" for high, bound, where in parts)
    kept = "keeps" if all(high <= bound for high, bound, _ in parts) else "does not keep"
    return f"{text} On test it {kept} the bounds, at most lost: {said}."


def block(kind: str, data: dict[str, Any]) -> str:
    """What stands between the marks: `recipes`, `hand`, or `search`-free text by data set."""
    lines: list[str] = []
    for name, found in data.items():
        lines += [
            "",
            f"**{TITLES[name]}**, {found['rows']['test']:,} test rows of "
            f"{sum(found['rows'].values()):,}",
            "",
        ]
        if kind == "recipes":
            lines += recipes_table(found)
        else:
            lines += [*hand_table(found), "", *versus_table(found), "", sentence(found)]
    return "\n".join([*lines[1:], ""])


def section(name: str, found: dict[str, Any]) -> list[str]:
    """Everything about one data set, to print."""
    kept = found if "worst" in next(iter(found["files"].values()))["quality"] else reduced(found)
    data = {name: kept}
    return [block("recipes", data), block("hand", data)]


def fill(page: str, data: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{block(m[2], data)}\n{m[3]}", page)


def _header(found: dict[str, Any]) -> Iterator[str]:
    metric = _METRICS.get(found["metric"], found["metric"])
    yield (
        f"| | bytes | gzip | {metric} | loss (95 %) | worst slice, at most | "
        "latency × float32 | pick |"
    )
    yield "|---|---|---|---|---|---|---|---|"


def _row(title: str, name: str, found: dict[str, Any]) -> str:
    of = found["files"][name]
    drop, worst = of["quality"]["overall"], of["quality"]["worst"]
    ratio = of.get("latency_ratio")
    picks = ", ".join(p for p, chosen in found["picks"].items() if chosen == name)
    cells = (
        title,
        f"{of['bytes']:,}",
        f"{of['gzip_bytes']:,}",
        f"{of['metrics'][found['metric']]:.4f}",
        _lost(drop),
        _signed(worst["high"]) if worst and worst["high"] is not None else "–",
        _interval(ratio, "{:.2f}", "{:.2f}") if ratio else "1",
        picks,
    )
    return f"| {' | '.join(cells)} |"


def _lost(drop: dict[str, Any]) -> str:
    if drop["drop"] is None:
        return "–"
    low, high = drop["low"], drop["high"]
    if drop["drop"] == low == high == 0:
        return "none"
    return f"{_signed(drop['drop'])} ({_signed(low)} to {_signed(high)})"


def _interval(of: dict[str, Any], point: str, end: str) -> str:
    return f"{point.format(of['point'])} ({end.format(of['low'])}–{end.format(of['high'])})"


def _signed(value: float) -> str:
    text = f"{value:+.4f}".replace("-", "−")
    return "0.0000" if text[1:] == "0.0000" else text


def _clean(reason: str) -> str:
    return reason.replace("|", "/").splitlines()[0]


def main() -> None:
    data = json.loads(KEPT.read_text("utf-8"))["data"]
    PAGE.write_text(fill(PAGE.read_text("utf-8"), data), "utf-8")


if __name__ == "__main__":
    main()
