"""How often monitoring cries wolf, what it sees and how fast it is, beside other tools.

    python -m benchmarks.monitoring --quality [--windows 1000] [--data taxi flights]
    python -m benchmarks.monitoring --months
    python -m benchmarks.monitoring --speed [--evidently PYTHON] [--whylogs PYTHON]

--quality plays same-distribution and faulty windows (`monitoring/replay.py`) of 1k, 5k and 20k
rows, drawn by row and by whole day, through thresholds learnt anew on each split. The first 20
windows of each split are also shown to: PSI > 0.1; Evidently's default tests, written out below
from its documentation (normed Wasserstein or Jensen-Shannon distance of 0.1 and more above 1,000
reference rows; a feature is an alarm); TFDV's L-infinity at the 0.01 of its tutorial. --months
trains on flights of January to March less held-out days and tells, month by month, what
performance thresholds say when labels arrive. --speed compares one reference with one window of
327k rows × 16 columns.

Writes benchmarks/results/monitoring_<part>.json. Peers run in environments of their own.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np
import pandas as pd

from benchmarks import monitoring_data as data

#: Windows per split that the peers see, too; the first of those that ours sees.
_PEER_WINDOWS = 20
SIZES = (1000, 5000, 20_000)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def save(part: str, content: dict) -> None:
    """Writes the JSON of a part."""
    from models.benchmark.machine import stamp

    target = ROOT / "benchmarks" / "results" / f"monitoring_{part}.json"
    target.write_text(json.dumps({"machine": stamp().to_dict(), **content}, indent=1))
    print(f"\nwritten to {target.relative_to(ROOT)}")


class Peers:
    """Other tools' rules on the windows that `replay` plays."""

    def __init__(self, kinds: dict[str, str]):
        self.kinds = kinds
        self.found: dict[tuple[int, str], list[bool]] = {}
        self._of: tuple[int, int] | None = None

    def __call__(self, size, split, measures, reference, window) -> None:
        if self._of != (size, split):
            self._of, self._reference, self._seen = (size, split), self._prepared(reference), 0
        self._seen += 1
        if self._seen > _PEER_WINDOWS:
            return
        apart = {n: shares(self._reference[n], x) for n, x in window.items() if self._is_text(n)}
        by_rule = {
            "PSI > 0.1": any(m.statistic == "psi" and m.value > 0.1 for m in measures),
            "Evidently's defaults": self._evidently(window, apart),
            "TFDV L-infinity > 0.01": any(
                np.abs(p - q).max() > 0.01
                for n, (p, q) in apart.items()
                if self.kinds[n] == "categorical"
            ),
        }
        for rule, hit in by_rule.items():
            self.found.setdefault((size, rule), []).append(bool(hit))

    def rows(self) -> list[dict]:
        """Rule by rule: the share of windows with an alarm although nothing changed."""
        from monitoring import replay

        return [
            {
                "size": size,
                "rule": rule,
                "windows": len(hits),
                "rate": float(np.mean(hits)),
                "interval": replay.wilson(sum(hits), len(hits)),
            }
            for (size, rule), hits in sorted(self.found.items())
        ]

    def _prepared(self, reference: dict[str, np.ndarray]) -> dict:
        """Shares of texts and few-valued numbers; of other numbers a sample and its spread."""
        found = {}
        for name, values in reference.items():
            present = pd.Series(values).dropna()
            if self.kinds[name] == "categorical" or present.nunique() <= 5:
                found[name] = present.value_counts(normalize=True)
            else:
                # A sample, as the whole reference would take most of the run.
                found[name] = present.to_numpy()[:20_000], max(float(present.std(ddof=0)), 0.001)
        return found

    def _is_text(self, name: str) -> bool:
        return isinstance(self._reference[name], pd.Series)

    def _evidently(self, window: dict, apart: dict) -> bool:
        """Evidently 0.7's choice of test above 1,000 reference rows, at its default of 0.1."""
        from scipy.spatial.distance import jensenshannon
        from scipy.stats import wasserstein_distance

        if any(jensenshannon(p, q, base=2) >= 0.1 for p, q in apart.values()):
            return True
        for name, values in window.items():
            if not self._is_text(name):
                before, spread = self._reference[name]
                now = values[~np.isnan(values)]
                if len(now) and wasserstein_distance(before, now) / spread >= 0.1:
                    return True
        return False


def shares(before: pd.Series, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each value on both sides, over the values of either."""
    now = pd.Series(values).value_counts(normalize=True)
    both = before.index.union(now.index)
    return before.reindex(both, fill_value=0.0).to_numpy(), now.reindex(
        both, fill_value=0.0
    ).to_numpy()


def quality(names: list[str], windows: int, splits: int) -> dict:
    """A/A and A/B on every data set, by row and by day; what is done is kept as it is done."""
    from monitoring import replay
    from monitoring.decisions.options import ThresholdOptions

    loaded = {name: data.load(name) for name in names}
    results: dict[str, list[dict]] = {"ours": [], "peers": []}
    for size in SIZES:
        for name, (table, kinds, times, faults) in loaded.items():
            for way, moments in (("days", times), ("rows", None)):
                peers = Peers(kinds)
                found = replay.replay(
                    {feature: table[feature].to_numpy() for feature in kinds},
                    kinds,
                    ThresholdOptions(resamples=250),
                    times=moments,
                    sizes=(size,),
                    windows=windows,
                    splits=splits,
                    faults=faults,
                    fault_windows=50,
                    watcher=peers,
                )
                what = {"data": name, "drawn_by": way, "features": len(kinds)}
                results["ours"] += [{**what, **row.to_dict()} for row in found.rows]
                results["peers"] += [{**what, **row} for row in peers.rows()]
                print(f"\n{name}, windows drawn by {way}, {len(kinds)} features\n")
                print("\n".join(found.lines()))
                for row in peers.rows():
                    print(
                        f"| {size:,} rows | {row['rule']} | {row['windows']} | {row['rate']:.1%} |"
                    )
                sys.stdout.flush()
                save("quality", {"windows": windows, "splits": splits, **results})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--months", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--data", nargs="+", default=["taxi", "flights"])
    parser.add_argument("--evidently", help="A Python that has Evidently.")
    parser.add_argument("--whylogs", help="A Python that has whylogs.")
    arguments = parser.parse_args()
    if arguments.quality:
        quality(arguments.data, arguments.windows, arguments.splits)
    if arguments.months:
        from benchmarks import monitoring_months

        save("months", monitoring_months.run())
    if arguments.speed:
        from benchmarks import monitoring_speed

        save("speed", monitoring_speed.run(arguments.evidently, arguments.whylogs))


if __name__ == "__main__":
    main()
