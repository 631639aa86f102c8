"""Seconds and memory of a whole run by the number of rows.

    python -m benchmarks.scale [--rows 10000 100000 1000000 10000000]

For each size a Parquet file of 20 columns is generated, a block at a time, and
`flywheel run` goes through it in a process of its own, as it comes. Prints seconds per
component, the largest memory of the process and all its children at one moment (proportional
set size: what processes share counts once), and by how much seconds grow when rows grow tenfold.
Writes benchmarks/results/scale.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from models.benchmark.machine import stamp

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
_BLOCK = 250_000
_PAUSE_S = 0.5
_CONFIG = """\
version: 1
name: scale
data: {{path: "{path}"}}
task: {{label: bought, type: binary}}
features: {{{kinds}}}
evaluation: {{slices: [[city]]}}
"""


def block(start: int, rows: int) -> pa.Table:
    """Rows of 12 numbers, 4 whole numbers that are categories, 3 texts and the label."""
    rng = np.random.default_rng([7, start])
    columns: dict[str, pa.Array] = {}
    score = np.zeros(rows)
    for i in range(12):
        values = rng.lognormal(size=rows) if i % 3 == 0 else rng.normal(size=rows)
        score += np.sin(values + i) / 4
        columns[f"number_{i}"] = pa.array(values.round(4), mask=rng.random(rows) < 0.02)
    for i, size in enumerate((7, 24, 60, 300)):
        values = np.minimum(rng.zipf(1.4, rows), size)
        score += (values % 3 - 1) / 3
        columns[f"code_{i}"] = pa.array(values)
    for name, size in (("city", 40), ("maker", 200), ("kind", 9)):
        values = np.minimum(rng.zipf(1.6, rows), size) - 1
        score += (values % 5 == 1) / 2
        words = pa.array([f"{name} {i}" for i in range(size)])
        columns[name] = words.take(pa.array(values))
    chance = 1.0 / (1.0 + np.exp(-2.0 * (score - 0.5)))
    columns["bought"] = pa.array((rng.random(rows) < chance).astype(np.int64))
    return pa.table(columns)


def generate(path: pathlib.Path, rows: int) -> None:
    """Writes the file."""
    writer = None
    for start in range(0, rows, _BLOCK):
        table = block(start, min(_BLOCK, rows - start))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


class Memory:
    """Watches a process and its children until it is stopped.

    Attributes:
      peak: Largest sum of proportional set sizes at one moment, bytes.
    """

    def __init__(self, pid: int):
        self.peak = 0
        self._pid, self._done = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self._done.wait(_PAUSE_S):
            total = 0
            try:
                parent = psutil.Process(self._pid)
                for process in (parent, *parent.children(recursive=True)):
                    try:
                        total += process.memory_full_info().pss
                    except psutil.NoSuchProcess:
                        continue
            except psutil.NoSuchProcess:
                return
            self.peak = max(self.peak, total)


def one(rows: int, folder: pathlib.Path) -> dict:
    """Generates, runs, measures."""
    data = folder / "data.parquet"
    generate(data, rows)
    kinds = ", ".join(
        f"{name}: {'numeric' if name.startswith('number') else 'categorical'}"
        for name in block(0, 1).column_names
        if name != "bought"
    )
    (folder / "flywheel.yaml").write_text(_CONFIG.format(path=data, kinds=kinds))
    begun = time.perf_counter()
    with open(folder / "output.txt", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "pipeline", "run"],
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        memory = Memory(process.pid)
        code = process.wait()
        peak = memory.stop()
    seconds = time.perf_counter() - begun
    if code not in (0, 4):
        sys.exit((folder / "output.txt").read_text()[-3000:])
    [run] = (folder / ".flywheel" / "runs").iterdir()
    result = json.loads((run / "result.json").read_text())
    return {
        "rows": rows,
        "bytes": data.stat().st_size,
        "seconds": seconds,
        "peak_bytes": peak,
        "components": result["seconds"]["components"],
        "state": result["state"],
        "metrics": result["metrics"],
    }


def table(found: list[dict]) -> str:
    """As Markdown."""
    names = list(found[0]["components"])
    lines = [
        "| rows | " + " | ".join(f"{one['rows']:,}" for one in found) + " |",
        "|---|" + "---|" * len(found),
        "| **whole run, s** | " + " | ".join(f"{one['seconds']:.0f}" for one in found) + " |",
        *(
            f"| {name}, s | "
            + " | ".join(f"{one['components'].get(name, 0.0):.1f}" for one in found)
            + " |"
            for name in names
        ),
        "| **largest memory, MB** | "
        + " | ".join(f"{one['peak_bytes'] / 1e6:,.0f}" for one in found)
        + " |",
        "| ended | " + " | ".join(one["state"] for one in found) + " |",
    ]
    for before, after in zip(found, found[1:], strict=False):
        more = np.log(after["rows"] / before["rows"])
        slope = np.log(after["seconds"] / before["seconds"]) / more
        lines.append(
            f"\n{before['rows']:,} to {after['rows']:,} rows: seconds × "
            f"{after['seconds'] / before['seconds']:.1f} (exponent {slope:.2f}), memory × "
            f"{after['peak_bytes'] / before['peak_bytes']:.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    arguments = parser.parse_args()
    found = []
    for rows in sorted(arguments.rows):
        with tempfile.TemporaryDirectory() as folder:
            found.append(one(rows, pathlib.Path(folder)))
        print(
            f"{rows:,} rows: {found[-1]['seconds']:.0f} s, "
            f"{found[-1]['peak_bytes'] / 1e6:,.0f} MB, {found[-1]['state']}",
            flush=True,
        )
    print("\n" + table(found))
    target = ROOT / "benchmarks" / "results" / "scale.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"machine": stamp().to_dict(), "runs": found}, indent=1))
    print(f"\nwritten to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
