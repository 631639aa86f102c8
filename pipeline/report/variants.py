"""Variants: what each costs and keeps, and why one of them ships."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipeline.report import charts, layers, words
from pipeline.report.inputs import Inputs
from pipeline.report.recommendation import recommendation
from pipeline.report.waterfall import picture, waterfall

TEACHER = "teacher float32"
_SHAPES = {"shipped": "circle", "eligible": "circle", "rejected": "diamond"}
#: Variants that lost more than this many times what is allowed do not stretch the picture.
_FAR_BELOW = 3


def section(inputs: Inputs) -> dict[str, Any]:
    """What the template needs; `{}` when there are no variants."""
    report = inputs.files["variants"]
    if not report:
        found = inputs.result.get("variants") or []
        if not found:
            return {}
        report = {"variants": found, "primary_metric": inputs.quality}
    metric = report.get("primary_metric") or inputs.quality
    student = ((report.get("student") or {}).get("metrics") or {}).get(metric)
    drop = report.get("max_drop")
    floor = student - drop if words.is_number(student) and words.is_number(drop) else None
    teacher = report.get("teacher") or {}
    rows = [{**v, "value": (v.get("metrics") or {}).get(metric)} for v in report["variants"]]
    for row in rows:
        row["ratio"] = _ratio(row.get("bytes"), teacher.get("bytes"))
        row["delta"] = _delta(row["value"], student)
        overall = (row.get("quality") or {}).get("overall") or {}
        row["loss"] = _interval(overall)
        row["worst"] = _worst(row)
        row["calibration"] = (row.get("quality") or {}).get("calibration") or {}
        row["summary"] = ((report.get("recipes") or {}).get(row.get("recipe")) or {}).get("summary")
    trials = _trials(inputs.files["trials"].get("trials") or [], student)
    bought = waterfall(report)
    return {
        "recommendation": recommendation(report, inputs.state, inputs.reasons),
        "waterfall": {**bought.to_dict(), "picture": picture(bought, metric)},
        "layers": [
            {**x, "loss": _interval(x.get("quality") or {})} for x in report.get("layers") or []
        ],
        "layers_picture": layers.picture(report.get("layers") or [], drop, metric),
        "sensitive": report.get("sensitive") or [],
        "search": {**(report.get("search") or {}), "trials": trials} if trials else {},
        "metric": metric,
        "max_drop": drop,
        "max_drop_slice": (report.get("limits") or {}).get("max_drop_slice"),
        "pick": report.get("pick"),
        "student": student,
        "floor": floor,
        "rows": rows,
        "teacher": {**teacher, "value": (teacher.get("metrics") or {}).get(metric)}
        if teacher
        else {},
        "pushed": inputs.state == "pushed",
        "timing": report.get("timing") or {},
        "eval_rows": (report.get("rows") or {}).get("eval"),
        "by_bytes": _pareto(rows, teacher, metric, floor, "bytes", trials),
        "by_latency": _pareto(rows, teacher, metric, floor, "latency", trials),
        "states": list(dict.fromkeys(row["state"] for row in rows)),
    }


def _pareto(
    rows: list[dict[str, Any]],
    teacher: dict[str, Any],
    metric: str,
    floor: float | None,
    cost: str,
    trials: list[dict[str, Any]],
) -> Markup:
    """Quality against bytes or latency; the best for each cost is joined by stairs."""

    def cost_of(row: dict[str, Any]) -> float | None:
        return row.get("bytes") if cost == "bytes" else (row.get("latency_us") or {}).get("p50")

    def tip(name: str, row: dict[str, Any], value: float) -> str:
        latency = (row.get("latency_us") or {}).get("p50")
        return (
            f"{name}: {words.metric_name(metric)} {words.metric(value)}, "
            f"{words.size(row.get('bytes'))}, p50 {words.microseconds(latency)}"
        )

    dots, keep = [], []
    for row in rows:
        x, y = cost_of(row), row["value"]
        if not words.is_number(x) or not words.is_number(y) or row["state"] not in _SHAPES:
            continue
        text = f"{tip(row['name'], row, y)} ({row['state']})"
        dots.append(charts.Dot(x, y, str(row["name"]), row["state"], _SHAPES[row["state"]], text))
        if row["state"] != "rejected":
            keep.append((x, y))
    known = {row["name"] for row in rows}
    for row in trials:
        x, y = cost_of(row), row["value"]
        if words.is_number(x) and words.is_number(y) and row["name"] not in known:
            text = f"{tip(row['name'], row, y)} (search)"
            dots.append(charts.Dot(x, y, "", "trial", "circle", text))
    value = (teacher.get("metrics") or {}).get(metric)
    if words.is_number(cost_of(teacher)) and words.is_number(value):
        dots.append(
            charts.Dot(
                cost_of(teacher), value, TEACHER, "teacher", "square", tip(TEACHER, teacher, value)
            )
        )
    front = _front(keep)
    # The first names have the best places, and the last ones none where there are many.
    dots.sort(
        key=lambda d: (
            d.class_ != "shipped",
            d.class_ != "teacher",
            (d.x, d.y) not in front,
            d.name != "float32",
            d.class_ == "rejected",
        )
    )
    rule, least = None, None
    if floor is not None:
        rule = charts.Rule(floor, f"least allowed {words.metric(floor)}")
        best = max([d.y for d in dots], default=floor)
        least = floor - _FAR_BELOW * max(best - floor, 1e-3)
    axis = "bytes (log scale)" if cost == "bytes" else "latency p50, µs (log scale)"
    return charts.scatter(
        dots,
        f"{words.metric_name(metric)} of the variants on eval against {axis}",
        axis,
        f"{words.metric_name(metric)} on eval",
        rule=rule,
        front=front,
        least=least,
    )


def _trials(found: list[dict[str, Any]], student: float | None) -> list[dict[str, Any]]:
    """The trials of a search that were made, the smallest first, each with its quality."""
    made = [trial for trial in found if trial.get("state") == "made" and trial.get("full")]
    for trial in made:
        overall = (trial.get("quality") or {}).get("overall") or {}
        lost = overall.get("drop")
        known = words.is_number(lost) and words.is_number(student)
        trial["value"] = student - lost if known else None
        trial["loss"] = _interval(overall)
        trial["worst"] = _worst(trial)
    return sorted(made, key=lambda trial: trial.get("bytes") or 0)


def _front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other one beats in both cost and quality, by rising cost."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _interval(drop: dict[str, Any]) -> str:
    """What is lost, between which bounds."""
    low, high = drop.get("low"), drop.get("high")
    if not words.is_number(low) or not words.is_number(high):
        return words.NOTHING
    return f"{words.signed(-high)} to {words.signed(-low)}"


def _worst(row: dict[str, Any]) -> dict[str, Any] | None:
    """The slice that may have lost most; None without a judged slice, or where nothing is lost."""
    slices = (row.get("quality") or {}).get("slices") or []
    worst = slices[0] if slices else None
    if not worst or not worst.get("high"):
        return None
    return {**worst, "loss": _interval(worst)}


def _ratio(value: float | None, teacher: float | None) -> float | None:
    """How many times smaller than the teacher."""
    if words.is_number(value) and words.is_number(teacher) and value > 0:
        return teacher / value
    return None


def _delta(value: float | None, student: float | None) -> float | None:
    return value - student if words.is_number(value) and words.is_number(student) else None
