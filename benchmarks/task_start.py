"""What a task of Kubeflow Pipelines costs before it does anything: our entrypoint against TFX's.

    python -m benchmarks.task_start [--rounds 5]

Both run the same light task, TFX's own SchemaGen on the statistics of the taxi table, with what
the backend of Vertex hands over (the stock entrypoint runs there only); its work takes some
hundredths of a second, so what is measured is the start. Interleaved, a fresh process each.
Prints the ratio of each round and writes benchmarks/results/task_start.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import pandas as pd
import tensorflow_data_validation as tfdv
from tfx.types.standard_artifacts import ExampleStatistics, Schema

from custom_components.example_gen.demo import find_demo
from models.benchmark.machine import stamp

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXECUTOR = "tfx.components.schema_gen.executor.Executor"
ENTRYPOINTS = {
    "stock": ["tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"],
    "ours": ["pipeline.kubeflow_entrypoint", "--component", "SchemaGen", "--lean"],
}


INPUTS_SPEC = {
    "artifacts": {
        "statistics": {
            "artifactType": {"instanceSchema": f"title: tfx.{ExampleStatistics.TYPE_NAME}\n"}
        }
    },
    "parameters": {
        "infer_feature_shape": {"parameterType": "NUMBER_INTEGER"},
        "exclude_splits": {"parameterType": "STRING"},
    },
}


def invocation(folder: pathlib.Path) -> dict:
    """The ExecutorInput of one task, its statistics written."""
    split = folder / "statistics" / "Split-train"
    split.mkdir(parents=True)
    frame = pd.read_csv(find_demo("demo:chicago-taxi")).drop(columns=["pickup_census_tract"])
    found = tfdv.generate_statistics_from_dataframe(frame)
    (split / "FeatureStats.pb").write_bytes(found.SerializeToString())

    def artifact(type_: type, name: str, **metadata: str) -> dict:
        schema = {"instanceSchema": f"title: tfx.{type_.TYPE_NAME}\ntype: object\n"}
        uri = str(folder / name)
        return {"artifacts": [{"name": "1", "type": schema, "uri": uri, "metadata": metadata}]}

    return {
        "inputs": {
            "artifacts": {
                "statistics": artifact(ExampleStatistics, "statistics", split_names='["train"]')
            },
            "parameterValues": {"infer_feature_shape": 1.0, "exclude_splits": "[]"},
        },
        "outputs": {
            "artifacts": {"schema": artifact(Schema, "schema")},
            "outputFile": str(folder / "output_metadata.json"),
        },
    }


def seconds(name: str) -> float:
    """Wall seconds of one task, from the start of its process to its end."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        given = json.dumps(invocation(folder))
        command = [
            *(sys.executable, "-W", "ignore", "-m", *ENTRYPOINTS[name]),
            *("--executor_class_path", EXECUTOR),
            *("--json_serialized_invocation_args", given),
            *("--json_serialized_inputs_spec_args", json.dumps(INPUTS_SPEC)),
        ]
        start = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        found = time.perf_counter() - start
        if done.returncode or not (folder / "schema" / "schema.pbtxt").exists():
            sys.exit(f"{name} failed:\n{done.stderr[-3000:]}")
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for name in ENTRYPOINTS:
        seconds(name)  # its bytecode and files are in memory then
    rounds = []
    for number in range(1, arguments.rounds + 1):
        one = {name: seconds(name) for name in ENTRYPOINTS}
        rounds.append(one)
        print(f"round {number}: " + ", ".join(f"{k} {v:.1f} s" for k, v in one.items()), flush=True)
    ratios = [one["ours"] / one["stock"] for one in rounds]
    print(
        f"ours / stock {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"{len(ratios)} rounds"
    )
    target = ROOT / "benchmarks" / "results" / "task_start.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(
        json.dumps({"machine": stamp().to_dict(), "ratios": ratios, "rounds": rounds}, indent=1)
    )
    print(f"written to {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
