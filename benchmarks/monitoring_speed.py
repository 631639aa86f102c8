"""One reference and one window of 327k rows × 16 columns, through four tools in one run.

Each tool runs in a process of its own, reads the same two Parquet files, and is timed from there
on; what a tool imports is imported before. Memory is the peak of the process less what it held
after reading. Evidently and whylogs run on the Pythons that are named; without, they are left out.
Rounds are interleaved. Values are held against SciPy's where a tool names the statistic.

Beside it: a window's summary over ten million rows, in whose memory rows leave no trace.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd

from benchmarks import monitoring_data as data

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROWS = 327_000
COLUMNS = (
    "sched_dep_time", "sched_arr_time", "distance", "dep_delay", "arr_delay", "air_time", "temp",
    "dewp", "humid", "wind_speed", "pressure", "visib", "carrier", "origin", "dest", "tailnum",
)  # fmt: skip
_FRAME = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
{imports}
def memory(name):
    text = open("/proc/self/status").read()
    return int(text.split(name + ":")[1].split()[0]) / 1024
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
before = memory("VmRSS")
start, cpu = time.perf_counter(), time.process_time()
{work}
print("\\n" + json.dumps({{
    "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu,
    "peak_mb": memory("VmHWM") - before,
    "values": values,
}}))
"""
OURS = _FRAME.format(
    imports="import monitoring.comparison, pyarrow, scipy.stats",
    work="found = monitoring.compare(reference, current)\n"
    "values = {f.feature: [f.ks, f.wasserstein] for f in found.features}",
)
TFDV = _FRAME.format(
    imports="import pyarrow as pa, tensorflow_data_validation as tfdv\n"
    "from tensorflow_data_validation.statistics import stats_impl\n"
    "def lists(frame):\n"
    "    return pa.RecordBatch.from_arrays([pa.array([[v] for v in frame[c]]) "
    "for c in frame], list(frame))\n"
    "numbers = set()",
    work="numbers = set(reference.select_dtypes('number'))\n"
    "options = tfdv.StatsOptions()\n"
    "batches = [lists(reference), lists(current)]\n"
    "start, cpu = time.perf_counter(), time.process_time()\n"
    "a, b = (stats_impl.generate_statistics_in_memory(x, options) for x in batches)\n"
    "schema = tfdv.infer_schema(a)\n"
    "for f in schema.feature:\n"
    "    c = f.drift_comparator\n"
    "    (c.jensen_shannon_divergence if f.name in numbers else c.infinity_norm).threshold = 0.0\n"
    "found = tfdv.validate_statistics(b, schema, previous_statistics=a)\n"
    "values = {i.path.step[0]: [m.value for m in i.drift_measurements] "
    "for i in found.drift_skew_info}",
)
EVIDENTLY = _FRAME.format(
    imports="from evidently import Dataset, DataDefinition, Report\n"
    "from evidently.presets import DataDriftPreset",
    work="text = list(reference.select_dtypes('object'))\n"
    "kinds = DataDefinition(categorical_columns=text, "
    "numerical_columns=[c for c in reference if c not in text])\n"
    "sides = [Dataset.from_pandas(x, data_definition=kinds) for x in (current, reference)]\n"
    "report = Report([DataDriftPreset()]).run(*sides)\n"
    "values = {m['metric_name'] if 'metric_name' in m else m['metric_id']: m['value'] "
    "for m in report.dict()['metrics']}",
)
WHYLOGS = _FRAME.format(
    imports="import whylogs as why\n"
    "from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores",
    work="a, b = (why.log(x).profile().view() for x in (reference, current))\n"
    "values = {k: v and float(v['statistic']) "
    "for k, v in calculate_drift_scores(b, a).items()}",
)


#: A window of many rows, batch by batch: its peak memory after a tenth of the rows and after all.
MANY = """
import datetime, json, resource, sys, time
import numpy as np, pandas as pd, pyarrow as pa
from models.spec import CategoricalFeature, ModelSpec, NumericFeature
from monitoring import log_rows
from monitoring.counting import CategoryCells, NumericCells
from monitoring.window_summary import Layout, WindowSummary
frame = pd.read_parquet(sys.argv[1])
batches, rows = 100, 100_000
numbers, texts = list(frame.select_dtypes("number")), list(frame.select_dtypes("object"))
cells = {n: NumericCells.of(frame[n].to_numpy(float), 10) for n in numbers}
cells |= {n: CategoryCells.of(frame[n].value_counts().to_dict()) for n in texts}
spec = ModelSpec("binary", "late", ("0", "1"),
    tuple(NumericFeature(n, 0.0, 0.0, 1.0, 0.0, 1.0) for n in numbers),
    tuple(CategoricalFeature(n, "string", cells[n].names) for n in texts))
rng = np.random.default_rng(0)
scores = np.full((rows, 1), 0.5, np.float32)
now = np.full(rows, np.datetime64("2026-01-01", "us"))
summary, peaks = WindowSummary(Layout(spec, cells)), []
start = time.process_time()
for number in range(batches):
    part = pa.Table.from_pandas(frame.iloc[rng.integers(0, len(frame), rows)], preserve_index=False)
    ids = [f"{number}-{i}" for i in range(rows)]
    summary.add(log_rows.rows(spec, "v", part, scores, request_ids=ids, times=now,
        latency_us=rng.integers(900, 2000, rows)))
    if number + 1 in (batches // 10, batches):
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(json.dumps({"rows": summary.rows, "peak_mb": peaks, "bytes": len(summary.to_bytes()),
    "cpu_seconds": time.process_time() - start}))
"""


def tables(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The reference, and a window with two changes in it."""
    table, _ = data.flights()
    table = table[list(COLUMNS)]
    rng = np.random.default_rng(0)
    reference = table.iloc[rng.permutation(len(table))[:ROWS]].reset_index(drop=True)
    current = table.iloc[rng.integers(0, len(table), ROWS)].reset_index(drop=True)
    current["distance"] = current.distance * 1.05
    paths = folder / "reference.parquet", folder / "current.parquet"
    for frame, path in zip((reference, current), paths, strict=True):
        frame.to_parquet(path)
    return paths


def once(python: str, code: str, paths: tuple[pathlib.Path, pathlib.Path]) -> dict:
    """What one process measured."""
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def against_scipy(rounds: dict, paths: tuple[pathlib.Path, pathlib.Path]) -> dict[str, dict]:
    """Per tool, the largest relative difference of a statistic from SciPy's, and its column."""
    from scipy import stats
    from scipy.spatial.distance import jensenshannon

    reference, current = (pd.read_parquet(path) for path in paths)
    worst: dict[str, dict] = {}

    def seen(tool: str, statistic: str, column: str, value: float, true: float) -> None:
        apart = abs(value - true) / max(abs(true), 1e-12)
        if apart >= worst.setdefault(tool, {}).get(statistic, (-1.0,))[0]:
            worst[tool][statistic] = (apart, column, value, true)

    for name in COLUMNS:
        x, y = (side[name].dropna() for side in (reference, current))
        if x.dtype == object:
            if "tfdv" in rounds:
                p, q = (side.value_counts(normalize=True) for side in (x, y))
                true = float(p.subtract(q, fill_value=0.0).abs().max())
                seen("tfdv", "linf", name, rounds["tfdv"][0]["values"][name][0], true)
            continue
        ks = stats.ks_2samp(x, y, method="asymp")
        distance = stats.wasserstein_distance(x, y)
        ours = rounds["flywheel"][0]["values"][name]
        seen("flywheel", "ks", name, ours[0], ks.statistic)
        seen("flywheel", "wasserstein", name, ours[1], distance)
        for label, value in rounds.get("evidently", [{"values": {}}])[0]["values"].items():
            if f"column={name}," in label and "Wasserstein" in label:
                seen("evidently", "wasserstein", name, value * float(np.std(x)), distance)
        if "whylogs" in rounds:
            found = rounds["whylogs"][0]["values"][name]
            seen("whylogs", "ks", name, found, ks.statistic)
        if "tfdv" in rounds:
            edges = np.unique(np.concatenate([x, y]))
            both = (
                np.bincount(np.searchsorted(edges, side), minlength=len(edges)) for side in (x, y)
            )
            true = float(jensenshannon(*both, base=2) ** 2)
            seen("tfdv", "jsd", name, rounds["tfdv"][0]["values"][name][0], true)
    return worst


def run(evidently: str | None, whylogs: str | None, count: int = 3, many_rows: bool = True) -> dict:
    """Every tool that is there, interleaved."""
    tools = {"flywheel": (sys.executable, OURS), "tfdv": (sys.executable, TFDV)}
    if evidently:
        tools["evidently"] = (evidently, EVIDENTLY)
    if whylogs:
        tools["whylogs"] = (whylogs, WHYLOGS)
    with tempfile.TemporaryDirectory() as folder:
        paths = tables(pathlib.Path(folder))
        rounds: dict[str, list[dict]] = {name: [] for name in tools}
        for _ in range(count):
            for name, (python, code) in tools.items():
                rounds[name].append(once(python, code, paths))
                latest = rounds[name][-1]
                print(
                    f"{name}: {latest['cpu_seconds']:.2f} CPU s, {latest['peak_mb']:.0f} MB",
                    flush=True,
                )
        scipy = against_scipy(rounds, paths)
        many = once(sys.executable, MANY, paths) if many_rows else None
    print("\n| tool | CPU seconds | × ours | peak MB | × ours |\n|---|---|---|---|---|")
    keys = ("cpu_seconds", "peak_mb")
    base = {key: np.median([r[key] for r in rounds["flywheel"]]) for key in keys}
    for name, results in rounds.items():
        cpu, peak = (np.median([r[k] for r in results]) for k in keys)
        print(
            f"| {name} | {cpu:.2f} | {cpu / base['cpu_seconds']:.1f} | {peak:.0f} | "
            f"{peak / base['peak_mb']:.1f} |"
        )
    print("\nlargest relative difference from SciPy: (share, column, value, SciPy's)")
    for tool, found in scipy.items():
        print(f"{tool}: {found}")
    print(f"\n{many}")
    return {
        "rows": ROWS,
        "columns": len(COLUMNS),
        "rounds": rounds,
        "against_scipy": scipy,
        "many_rows": many,
    }
