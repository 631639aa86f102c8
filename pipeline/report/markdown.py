"""The report of a run as Markdown, short enough for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.report import summary, words
from pipeline.report.inputs import Inputs, severity_of

NOTHING = words.NOTHING
_SLICES, _REASONS = 20, 10
#: What Markdown or HTML would read as markup in names that come from the data.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&@])")


def render(inputs: Inputs, found: dict[str, Any]) -> str:
    """Verdict, recommendation, variants, evaluation by slice.

    Args:
      inputs: Of the run.
      found: From `analysis.analysis`.
    """
    banner = summary.banner(inputs)
    parts = [
        f"## {banner['icon']} {banner['headline']}: {escape(banner['name'] or 'run')}",
        f"{prose(banner['sentence'])} Run `{found['run_id']}`.",
        " ".join(prose(sentence) for sentence in found["recommendation"]),
        _reasons(found["reasons"]),
        _variants(found),
        _waterfall(found),
        _evaluation(found),
    ]
    return words.printable("\n\n".join(part for part in parts if part) + "\n")


def escape(text: Any) -> str:
    """Text from the data, on one line, without any markup."""
    return _without_markup(" ".join(str(text).split()))


def _without_markup(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def prose(text: Any) -> str:
    """A sentence of ours: what stands in backticks stays code, the rest is escaped."""
    parts = " ".join(str(text).split()).split("`")
    if len(parts) % 2 == 0:  # an odd backtick belongs to the text
        parts[-2:] = ["`".join(parts[-2:])]
    return "".join(
        f"`{part.replace('|', chr(92) + '|')}`" if place % 2 and part else _without_markup(part)
        for place, part in enumerate(parts)
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 1) -> str:
    """A table whose columns from `numbers` on are set to the right."""
    marks = ["---" if place < numbers else "--:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def _reasons(reasons: list[dict[str, Any]]) -> str:
    shown = [r for r in reasons if severity_of(r) in ("block", "warn")]
    lines = [
        f"- **{'blocks' if severity_of(r) == 'block' else 'warning'}** `{r['code']}` "
        f"{prose(words.short(r['message'], 300))}"
        for r in shown[:_REASONS]
    ]
    if len(shown) > _REASONS:
        lines.append(f"- and {len(shown) - _REASONS} more")
    return "\n".join(lines)


def _variants(found: dict[str, Any]) -> str:
    variants = found["variants"]
    if not variants:
        return ""
    metric = found["metric"]
    rows = []
    for v in variants:
        overall = (v["quality"] or {}).get("overall") or {}
        name = f"`{v['name']}`"
        rows.append(
            [
                f"**{name}**" if v["state"] == "shipped" else name,
                str(v["state"]) + (f" ({', '.join(v['picks'])})" if v["picks"] else ""),
                words.count(v["bytes"]),
                words.count(v["gzip_bytes"]),
                words.metric((v["metrics"] or {}).get(metric)),
                _loss(overall),
                calibration((v["quality"] or {}).get("calibration")),
                _ratio(v["latency_ratio"]),
            ]
        )
    head = (
        "variant",
        "",
        "bytes",
        "gzip",
        f"{words.metric_name(metric)} (eval)",
        "loss (95 %)",
        "calibration error",
        "latency × float32",
    )
    skipped = [
        f"- `{v['name']}` was {v['state']}: {prose(words.short(v['reason'] or '', 300))}"
        for v in variants
        if v["state"] in ("skipped", "rejected")
    ]
    text = (
        "Loss is against the float student on the same rows of eval; calibration error before "
        "(float student) → after."
    )
    return "\n\n".join(
        part for part in ("### Variants", _table(head, rows, 2), text, "\n".join(skipped)) if part
    )


def _waterfall(found: dict[str, Any]) -> str:
    steps, left_out = found["waterfall"]["steps"], found["waterfall"]["left_out"]
    if not steps:
        return ""
    rows = [
        [
            escape(s["name"]),
            f"`{s['file']}`",
            words.count(s["bytes"]),
            NOTHING if s["saved"] is None else words.count(-s["saved"]),
            words.metric(s["quality"]),
            words.signed(s["change"]),
        ]
        for s in steps
    ]
    metric = words.metric_name(found["metric"])
    head = ("step", "file", "bytes", "Δ bytes", f"{metric} (eval)", f"Δ {metric}")
    parts = ["### What each technique bought", _table(head, rows, 2)]
    if left_out:
        parts.append(" ".join(prose(sentence) for sentence in left_out))
    return "\n\n".join(parts)


def _evaluation(found: dict[str, Any]) -> str:
    evaluation = found["evaluation"]
    metrics = evaluation.get("metrics") or {}
    if not metrics.get("shipped"):
        return ""
    metric, champion = found["metric"], found["champion"]
    other = "champion" if "champion" in metrics else "teacher" if "teacher" in metrics else None
    intervals = {_key(s["slice"]): s["drop"] for s in champion.get("slices") or []}
    overall = {"slice": {}, "rows": evaluation["rows"].get("evaluated"), "metrics": metrics}
    every = [overall, *evaluation["slices"]]
    rows = []
    for row in every[: _SLICES + 1]:
        mine = (row["metrics"].get("shipped") or {}).get(metric)
        theirs = (row["metrics"].get(other) or {}).get(metric) if other else None
        known = words.is_number(mine) and words.is_number(theirs)
        cells = [
            escape(words.slice_name(row["slice"])),
            words.count(row["rows"]),
            words.metric(mine),
        ]
        if other:
            cells += [words.metric(theirs), words.signed(mine - theirs if known else None)]
        if intervals:
            cells.append(_change(intervals.get(_key(row["slice"]))))
        rows.append(cells)
    head = ["slice", "rows", "shipped"] + ([other, "Δ"] if other else [])
    head += ["Δ, 95 %"] if intervals else []
    blessed = "blessed" if evaluation["blessed"] else "not blessed"
    parts = [f"### {words.metric_name(metric)} on test, {blessed}", _table(head, rows)]
    if len(every) > _SLICES + 1:
        parts.append(f"{len(every) - _SLICES - 1} more slices are in the HTML report.")
    if other == "champion" and not intervals:
        parts.append(f"No intervals: {prose(champion.get('why') or 'they were not computed')}.")
    elif other != "champion":
        parts.append("No champion: nothing was deployed before this run.")
    return "\n\n".join(parts)


def _key(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple((str(column), str(value)) for column, value in values.items())


def _loss(drop: dict[str, Any]) -> str:
    low, high = drop.get("low"), drop.get("high")
    if not words.is_number(drop.get("drop")):
        return NOTHING
    text = words.signed(drop["drop"])
    if words.is_number(low) and words.is_number(high):
        text += f" ({words.signed(low)} to {words.signed(high)})"
    return text


def _change(drop: dict[str, Any] | None) -> str:
    """The interval of the change, which is the loss turned round."""
    if not drop or not words.is_number(drop.get("low")):
        return NOTHING
    return f"{words.signed(-drop['high'])} to {words.signed(-drop['low'])}"


def _ratio(ratio: dict[str, Any] | None) -> str:
    if not ratio:
        return NOTHING
    low, high = ratio.get("low"), ratio.get("high")
    interval = f" ({low:.2f} to {high:.2f})" if words.is_number(low) else ""
    return f"{ratio['point']:.2f}{interval}"


def calibration(found: dict[str, Any] | None) -> str:
    """Before and after: `0.0152 → 0.0145`."""
    before, after = (found or {}).get("reference"), (found or {}).get("candidate")
    if not words.is_number(before) or not words.is_number(after):
        return NOTHING
    return f"{words.fixed(before)} → {words.fixed(after)}"
