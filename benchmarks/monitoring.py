"""How often monitoring cries wolf, what it sees and how fast it is, beside other tools.

    python -m benchmarks.monitoring --quality [--windows 1000] [--data taxi flights]
    python -m benchmarks.monitoring --months
    python -m benchmarks.monitoring --speed [--evidently PYTHON] [--whylogs PYTHON]

--quality plays same-distribution and faulty windows (`monitoring/replay.py`) of 1k, 5k and 20k
rows, drawn by row and by whole day, through thresholds learnt anew on each split, and shows the
same windows to the rules of other tools (`benchmarks/monitoring_peers.py`). --months
trains on flights of January to March less held-out days and tells, month by month, what
performance thresholds say when labels arrive. --speed compares one reference with one window of
327k rows × 16 columns.

Writes benchmarks/results/monitoring_<part>.json, and what the tables of the pages need into
docs/measured/monitoring.json (`python -m benchmarks.monitoring_tables`). Peers run in
environments of their own.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np

from benchmarks import monitoring_data as data
from benchmarks import monitoring_peers
from benchmarks import monitoring_tables as tables

SIZES = (1000, 5000, 20_000)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def save(part: str, content: dict) -> None:
    """Writes the JSON of a part, and what the pages' tables are made from."""
    from models.benchmark.machine import stamp

    content = {"machine": stamp().to_dict(), **content}
    target = ROOT / "benchmarks" / "results" / f"monitoring_{part}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(content, indent=1))
    tables.keep(part, tables.reduced(part, content))
    print(f"\nwritten to {target.relative_to(ROOT)}")


def latency(windows: int, seed: int = 0) -> list[dict]:
    """Latencies of a small network in NumPy on this machine: as they are, and twice as long.

    Windows are stretches of what was measured one after another, so that a busy minute stays one.
    Five windows before each are its history.
    """
    import time

    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(64, 64)).astype(np.float32) for _ in range(4)]
    taken = np.empty(200_000)
    for i in range(len(taken)):
        x, start = rng.standard_normal(64).astype(np.float32), time.perf_counter()
        for w in weights:
            x = np.maximum(x @ w, 0.0)
        taken[i] = time.perf_counter() - start
    return [doubled(taken, rows, windows, rng) for rows in SIZES]


def doubled(taken: np.ndarray, rows: int, windows: int, rng: np.random.Generator) -> dict:
    """How often the rule of latencies alarms, of what was measured and of twice as much."""
    from monitoring.decisions.decide import decide
    from monitoring.decisions.thresholds import Thresholds
    from monitoring.measure import WINDOW, Measure

    none = Thresholds({}, 0.01, "independent")

    def measures(start: int, factor: float) -> list[Measure]:
        part = taken[start : start + rows] * factor * 1e3
        return [
            Measure(WINDOW, f"latency_p{q}_ms", float(np.percentile(part, q)), rows, 0)
            for q in (50, 95, 99)
        ]

    hits: dict[float, list[bool]] = {1.0: [], 2.0: []}
    for _ in range(windows):
        start = int(rng.integers(0, len(taken) - 6 * rows))
        history = [measures(start + i * rows, 1.0) for i in range(5)]
        for factor, found in hits.items():
            found.append(bool(decide(measures(start + 5 * rows, factor), none, history)))
    return {
        "rows": rows,
        "windows": windows,
        "false_alarms": float(np.mean(hits[1.0])),
        "doubled_found": float(np.mean(hits[2.0])),
    }


def quality(
    names: list[str],
    windows: int,
    splits: int,
    *,
    sizes: list[int],
    ways: list[str],
    tfdv: bool = True,
) -> None:
    """A/A and A/B, part by part; a part that is done again replaces what is kept of it."""
    from monitoring import replay
    from monitoring.decisions.options import ThresholdOptions

    target = ROOT / "benchmarks" / "results" / "monitoring_quality.json"
    kept = json.loads(target.read_text("utf-8")) if target.exists() else {}
    parts = {(p["data"], p["drawn_by"], p["size"]): p for p in kept.get("parts", [])}
    slow = kept.get("latency") or latency(windows)
    for name in names:
        table, kinds, times, faults = data.load(name)
        for size in sizes:
            for way in ways:
                peers = monitoring_peers.Peers(kinds, tfdv)
                found = replay.replay(
                    {feature: table[feature].to_numpy() for feature in kinds},
                    kinds,
                    ThresholdOptions(),
                    times=times if way == "days" else None,
                    sizes=(size,),
                    windows=windows,
                    splits=splits,
                    faults=faults,
                    fault_windows=100,
                    watcher=peers,
                )
                print(f"\n{name}, windows drawn by {way}, {len(kinds)} features\n")
                print("\n".join(found.lines()))
                for row in peers.rows():
                    print(
                        f"| {row['size']:,} rows | {row['rule']} | {row['name']} | "
                        f"{row['windows']} | {row['rate']:.1%} |"
                    )
                sys.stdout.flush()
                parts[name, way, size] = {
                    "data": name,
                    "drawn_by": way,
                    "size": size,
                    "features": len(kinds),
                    "splits": splits,
                    "ours": [row.to_dict() for row in found.rows],
                    "notes": list(found.notes),
                    "peers": peers.rows(),
                }
                save("quality", {"latency": slow, "parts": list(parts.values())})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--months", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--data", nargs="+", default=["taxi", "flights"])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--ways", nargs="+", choices=["days", "rows"], default=["days", "rows"])
    parser.add_argument("--no-tfdv", action="store_true", help="Quality without TFDV's values.")
    parser.add_argument("--evidently", help="A Python that has Evidently.")
    parser.add_argument("--whylogs", help="A Python that has whylogs.")
    parser.add_argument("--rounds", type=int, default=3, help="Of the speed comparison.")
    parser.add_argument("--no-many", action="store_true", help="Speed without ten million rows.")
    arguments = parser.parse_args()
    if arguments.quality:
        quality(
            arguments.data,
            arguments.windows,
            arguments.splits,
            sizes=arguments.sizes,
            ways=arguments.ways,
            tfdv=not arguments.no_tfdv,
        )
    if arguments.months:
        from benchmarks import monitoring_months

        save("months", monitoring_months.run())
    if arguments.speed:
        from benchmarks import monitoring_speed

        found = monitoring_speed.run(
            arguments.evidently,
            arguments.whylogs,
            arguments.rounds,
            not arguments.no_many,
        )
        save("speed", found)


if __name__ == "__main__":
    main()
