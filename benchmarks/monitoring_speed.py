"""One reference and one window of 327k rows × 16 columns, through four tools in one run.

Each tool runs in a process of its own, reads the same two Parquet files, and is timed from there
on; memory is the peak of the process less what it held after reading. Evidently and whylogs run
on the Pythons that are named; without, they are left out. Rounds are interleaved.
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
ROUNDS = 3
ROWS = 327_000
COLUMNS = (
    "sched_dep_time", "sched_arr_time", "distance", "dep_delay", "arr_delay", "air_time", "temp",
    "dewp", "humid", "wind_speed", "pressure", "visib", "carrier", "origin", "dest", "tailnum",
)  # fmt: skip
_FRAME = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
{imports}
reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start, cpu = time.perf_counter(), time.process_time()
{work}
print("\\n" + json.dumps({{
    "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu,
    "peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    "values": values,
}}))
"""
OURS = _FRAME.format(
    imports="import monitoring",
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
    "    (c.jensen_shannon_divergence if f.name in numbers else c.infinity_norm).threshold = 0.01\n"
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
    "values = {k: v and v.get('pvalue', v.get('statistic')) "
    "for k, v in calculate_drift_scores(b, a).items()}",
)


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


def against_scipy(values: dict, paths: tuple[pathlib.Path, pathlib.Path]) -> dict[str, float]:
    """The largest difference of our KS and Wasserstein from SciPy's, relative to its value."""
    from scipy import stats

    reference, current = (pd.read_parquet(path) for path in paths)
    worst = {"ks": 0.0, "wasserstein": 0.0}
    for name, (ks, distance) in values.items():
        if ks is None:
            continue
        x, y = (side[name].dropna().to_numpy(float) for side in (reference, current))
        for key, ours, true in (
            ("ks", ks, stats.ks_2samp(x, y, method="asymp").statistic),
            ("wasserstein", distance, stats.wasserstein_distance(x, y)),
        ):
            worst[key] = max(worst[key], abs(ours - true) / max(abs(true), 1e-12))
    return worst


def run(evidently: str | None, whylogs: str | None) -> dict:
    """Every tool that is there, interleaved."""
    tools = {"flywheel": (sys.executable, OURS), "tfdv": (sys.executable, TFDV)}
    if evidently:
        tools["evidently"] = (evidently, EVIDENTLY)
    if whylogs:
        tools["whylogs"] = (whylogs, WHYLOGS)
    with tempfile.TemporaryDirectory() as folder:
        paths = tables(pathlib.Path(folder))
        rounds: dict[str, list[dict]] = {name: [] for name in tools}
        for _ in range(ROUNDS):
            for name, (python, code) in tools.items():
                rounds[name].append(once(python, code, paths))
                latest = rounds[name][-1]
                print(
                    f"{name}: {latest['cpu_seconds']:.2f} CPU s, {latest['peak_mb']:.0f} MB",
                    flush=True,
                )
        scipy = against_scipy(rounds["flywheel"][0]["values"], paths)
    print("\n| tool | CPU seconds | × ours | peak MB | × ours |\n|---|---|---|---|---|")
    keys = ("cpu_seconds", "peak_mb")
    base = {key: np.median([r[key] for r in rounds["flywheel"]]) for key in keys}
    for name, results in rounds.items():
        cpu, peak = (np.median([r[k] for r in results]) for k in keys)
        print(
            f"| {name} | {cpu:.2f} | {cpu / base['cpu_seconds']:.1f} | {peak:.0f} | "
            f"{peak / base['peak_mb']:.1f} |"
        )
    print(f"\nlargest relative difference from SciPy: {scipy}")
    return {"rows": ROWS, "columns": len(COLUMNS), "rounds": rounds, "against_scipy": scipy}
