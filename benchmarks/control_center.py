"""How fast pages answer with a thousand runs in the store.

    python -m benchmarks.control_center [--runs 1000] [--requests 30] [--json FILE]

Makes a workspace whose runs are copies of one real one in ML Metadata and on disk, starts
`flywheel ui` on it, and asks for every page in turn, one request at a time; prints p50, p95 and the
first answer, which fills what is kept in memory.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import tempfile
import time

import httpx
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.runs import RunStore
from pipeline.workspace import Workspace
from tests.control_center import workspaces
from tests.control_center.serving import Server

TARGET_MS = 200


def multiply(folder: pathlib.Path, runs: int) -> list[str]:
    """Copies the workspace's run, with its executions and artifacts, under new ids."""
    workspace = Workspace(folder / ".flywheel")
    [first] = workspace.run_ids()
    source = workspace.run(first)
    connection = mlmd.ConnectionConfig()
    connection.sqlite.filename_uri = str(workspace.metadata)
    store = metadata_store.MetadataStore(connection)
    context = store.get_context_by_type_and_name("pipeline_run", first)
    executions = store.get_executions_by_context(context.id)
    artifacts = {a.id: a for a in store.get_artifacts_by_context(context.id)}
    events = store.get_events_by_execution_ids([e.id for e in executions])
    ids = [first]
    for number in range(1, runs):
        hours, minute = divmod(number, 60)
        run_id = f"202603{1 + hours // 24 % 28:02}-{hours % 24:02}{minute:02}00-{number:04x}"
        folder_of = workspace.run(run_id).path
        shutil.copytree(source.path, folder_of)
        result = json.loads((folder_of / "result.json").read_text("utf-8"))
        (folder_of / "result.json").write_text(json.dumps({**result, "run_id": run_id}), "utf-8")
        ids.append(run_id)
    contexts = store.put_contexts(
        [mlmd.Context(type_id=context.type_id, name=run_id) for run_id in ids[1:]]
    )
    copies, origins = [], []
    for _ in contexts:
        for execution in executions:
            made = mlmd.Execution()
            made.CopyFrom(execution)
            for field in ("id", "name"):
                made.ClearField(field)
            copies.append(made)
            origins.append(execution.id)
    copied = store.put_executions(copies)
    by_origin: dict[int, list[mlmd.Event]] = {}
    for event in events:
        by_origin.setdefault(event.execution_id, []).append(event)
    made_events, associations, attributions = [], [], []
    for place, (new, origin) in enumerate(zip(copied, origins, strict=True)):
        owner = contexts[place // len(executions)]
        associations.append(mlmd.Association(execution_id=new, context_id=owner))
        for event in by_origin.get(origin, []):
            made_events.append(
                mlmd.Event(
                    type=event.type,
                    path=event.path,
                    execution_id=new,
                    artifact_id=event.artifact_id,
                )
            )
    for owner in contexts:
        attributions += [mlmd.Attribution(artifact_id=a, context_id=owner) for a in artifacts]
    store.put_events(made_events)
    store.put_attributions_and_associations(attributions, associations)
    assert len(RunStore(workspace).load(ids[-1]).components) == len(executions)
    return ids


def measure(url: str, pages: list[str], requests: int) -> list[dict[str, float | str]]:
    """Milliseconds per page."""
    rows = []
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for page in pages:
            taken = []
            for _ in range(requests + 1):
                start = time.perf_counter()
                answer = client.get(page)
                taken.append((time.perf_counter() - start) * 1e3)
                assert answer.status_code == 200, (page, answer.status_code)
            rest = sorted(taken[1:])
            rows.append(
                {
                    "page": page,
                    "first_ms": round(taken[0], 1),
                    "p50_ms": round(statistics.median(rest), 1),
                    "p95_ms": round(rest[min(len(rest) - 1, int(0.95 * len(rest)))], 1),
                }
            )
    return rows


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=1000)
    arguments.add_argument("--requests", type=int, default=30)
    arguments.add_argument("--json", type=pathlib.Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        workspaces.write_config(folder)
        workspaces.add_run(folder, champion=True)
        ids = multiply(folder, given.runs)
        newest = max(ids)
        server = Server(folder)
        try:
            tabs = ("", "/data", "/training", "/evaluation", "/variants", "/files", "/log")
            pages = [
                "/", "/run", "/runs", f"/runs?page={max(1, given.runs // 50)}",
                *(f"/runs/{newest}{tab}" for tab in tabs),
                f"/compare?run={ids[0]}&run={newest}", "/models", "/why", "/monitoring",
                "/automation", "/deploy", "/scorecard", "/audit", "/api/runs?limit=1000",
            ]  # fmt: skip
            rows = measure(server.url, pages, given.requests)
        finally:
            server.stop()
    print(f"{given.runs:,} runs, {given.requests} requests each, ms; target p95 < {TARGET_MS}\n")
    print(f"{'page':<44}{'first':>9}{'p50':>9}{'p95':>9}")
    for row in rows:
        print(f"{row['page']:<44}{row['first_ms']:>9}{row['p50_ms']:>9}{row['p95_ms']:>9}")
    if given.json:
        given.json.write_text(json.dumps({"runs": given.runs, "pages": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
