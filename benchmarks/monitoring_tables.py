"""The tables of docs/thresholds.md and docs/monitoring.md that `benchmarks.monitoring` measured.

    python -m benchmarks.monitoring_tables     writes them into the pages

The numbers are kept in docs/measured/monitoring.json; the pages hold them between
`<!-- measured: NAME -->` and `<!-- end -->`, and a test holds the pages to the kept JSON.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "measured" / "monitoring.json"
PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("thresholds", "monitoring"))
UNCHANGED = "nothing changed"
_PEERS = {
    "PSI > 0.1": "PSI > 0.1",
    "Evidently, a column": "Evidently, any column",
    "Evidently, half of the columns": "Evidently, half of the columns",
    "TFDV, 0.01": "TFDV, 0.01",
    "TFDV, 0.3": "TFDV, 0.3",
}
#: Rules that name the column, and so can be asked about a fault in one.
_FINDERS = ("PSI > 0.1", "Evidently, a column", "TFDV, 0.3")
_TOOLS = {
    "flywheel": "`monitoring.compare`",
    "tfdv": "TFDV, in memory",
    "whylogs": "whylogs",
    "evidently": "Evidently",
}
_MONTHS = (
    "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_BLOCK = re.compile(r"(<!-- measured: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def keep(part: str, content: dict[str, Any]) -> None:
    """Puts a part's numbers beside the pages."""
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    kept[part] = content
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")


def unchanged_table(kept: dict[str, Any]) -> Iterator[str]:
    """A/A: how many windows are alarmed although nothing has changed."""
    titles = [f"{_PEERS[rule]}" for rule in _PEERS]
    yield f"| windows of | ours, 95 % | {' | '.join(titles)} |"
    yield f"|---|---|{'---|' * len(titles)}"
    for part in _parts(kept):
        row = _ours(part, UNCHANGED)
        ours = f"{_share(row['rate'])} ({_bounds(row['low'], row['high'])})"
        theirs = [_share(_peer(part, rule, UNCHANGED)) for rule in _PEERS]
        yield f"| {_title(part)} | {ours} | {' | '.join(theirs)} |"


def found_table(kept: dict[str, Any]) -> Iterator[str]:
    """A/B: how many faulty windows are found at once, and after how many windows."""

    def cell(part: dict[str, Any], fault: str) -> str:
        row = _ours(part, fault)
        if not row["alarms"]:
            return "0 %"
        return f"{_share(row['rate'])}, {row['delay']:.1f}"

    yield from _faults(kept, cell)


def peers_table(kept: dict[str, Any]) -> Iterator[str]:
    """The same windows through the rules of others: found at once, rule by rule."""

    def cell(part: dict[str, Any], fault: str) -> str:
        shares = [_share(_peer(part, rule, fault)) for rule in _FINDERS]
        return " / ".join(s.removesuffix(" %") for s in shares)

    yield from _faults(kept, cell)


def latency_table(kept: dict[str, Any]) -> Iterator[str]:
    """Latencies as they were and twice as long, against five earlier windows."""
    yield "| windows of | as they were: told | twice as long: told at once |"
    yield "|---|---|---|"
    for row in kept["quality"]["latency"]:
        yield (
            f"| {row['rows']:,} calls | {_share(row['false_alarms'])} | "
            f"{_share(row['doubled_found'])} |"
        )


def months_table(kept: dict[str, Any]) -> Iterator[str]:
    """Realised and estimated performance, month by month."""
    found = kept["months"]["flights"]
    names = {"auc": "AUC", "log_loss": "log loss"}
    yield ("| month | AUC | ± | CBPE says | log loss | CBPE says | CBPE unreliable | alarmed |")
    yield "|---|---|---|---|---|---|---|---|"
    held = found["holdout"]
    yield (
        f"| held out | {_plain(held['auc'])} | {_plain(found['auc_spread_of_days'])} | | "
        f"{_plain(held['log_loss'])} | | | |"
    )
    for row in found["months"]:
        why = row["cbpe_unreliable"]
        outside = re.search(r"(\d+)% of the rows lie outside", why)
        reasons = [f"outside {outside[1]} %"] if outside else []
        reasons += ["moved"] if "calibration has moved" in why else []
        yield (
            f"| {_MONTHS[row['month'] - 4]} | {_plain(row['auc'])} | "
            f"{_plain(row['auc_spread_of_days'])} | {_plain(row['cbpe_auc'])} | "
            f"{_plain(row['log_loss'])} | {_plain(row['cbpe_log_loss'])} | "
            f"{', '.join(reasons) or '–'} | {', '.join(names[n] for n in row['alarmed']) or '–'} |"
        )


def speed_table(kept: dict[str, Any]) -> Iterator[str]:
    """Compute and memory of each tool, with the ratios of interleaved rounds."""
    rounds = kept["speed"]["rounds"]
    yield "| tool | CPU seconds | × ours (least to most) | peak MB | × ours (least to most) |"
    yield "|---|---|---|---|---|"
    for name, title in _TOOLS.items():
        if name not in rounds:
            continue
        cells = []
        for key, form in (("cpu_seconds", "{:.2f}"), ("peak_mb", "{:.0f}")):
            ours = [r[key] for r in rounds["flywheel"]]
            theirs = [r[key] for r in rounds[name]]
            cells.append(form.format(_median(theirs)))
            ratios = [t / o for t, o in zip(theirs, ours, strict=True)]
            cells.append(
                "1"
                if name == "flywheel"
                else f"{_median(ratios):.1f} ({min(ratios):.1f} – {max(ratios):.1f})"
            )
        yield f"| {title} | {' | '.join(cells)} |"


TABLES: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "unchanged": unchanged_table,
    "found": found_table,
    "peers": peers_table,
    "latency": latency_table,
    "months": months_table,
    "speed": speed_table,
}


def fill(page: str, kept: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{chr(10).join(TABLES[m[2]](kept))}\n\n{m[3]}", page)


def reduced(part: str, content: dict[str, Any]) -> dict[str, Any]:
    """What the tables and their readers need: no value of a single column."""
    if part != "speed":
        return content
    rounds = {
        name: [{k: v for k, v in one.items() if k != "values"} for one in found]
        for name, found in content["rounds"].items()
    }
    return {**content, "rounds": rounds}


def _parts(kept: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(
        kept["quality"]["parts"], key=lambda p: (p["data"], p["drawn_by"] == "days", p["size"])
    )


def _title(part: dict[str, Any]) -> str:
    row = _ours(part, UNCHANGED)
    how = "by row" if part["drawn_by"] == "rows" else "whole days"
    return f"{part['data']}, {how}, {row['rows']:,}"


def _ours(part: dict[str, Any], what: str) -> dict[str, Any]:
    return next(row for row in part["ours"] if row["name"] == what)


def _peer(part: dict[str, Any], rule: str, what: str) -> float | None:
    hits = (r["rate"] for r in part["peers"] if (r["rule"], r["name"]) == (rule, what))
    return next(hits, None)


def _faults(kept: dict[str, Any], cell: Callable[[dict[str, Any], str], str]) -> Iterator[str]:
    """A row per kind of window, a column per fault; each data set has its own four."""
    yield "| windows of | number × 1.2 | 5 % new category | 3 % missing | label rate +20 % |"
    yield "|---|---|---|---|---|"
    for part in _parts(kept):
        faults = [row["name"] for row in part["ours"] if row["name"] != UNCHANGED]
        yield f"| {_title(part)} | {' | '.join(cell(part, fault) for fault in faults)} |"


def _share(share: float | None) -> str:
    if share is None:
        return ""
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def _bounds(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _plain(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def main() -> None:
    kept = json.loads(KEPT.read_text("utf-8"))
    for page in PAGES:
        page.write_text(fill(page.read_text("utf-8"), kept), "utf-8")


if __name__ == "__main__":
    main()
