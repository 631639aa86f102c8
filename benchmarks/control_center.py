"""How fast pages answer with a thousand runs in the store.

    python -m benchmarks.control_center [--folder LOOP] [--runs 1000] [--requests 30] [--json FILE]

Takes a workspace that has lived (`flywheel functions loop`: two runs, windows, alerts, events; made
here when none is named), and makes many of everything: runs, in ML Metadata and on disk, windows
with their measures, events. Starts `flywheel ui` on it and asks for every page in turn, one request
at a time, once it has looked at everything after its start; prints the first answer, p50, p95, and
the CPU time that the server itself took for an answer, which other work on the machine does not
change.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from urllib.parse import quote

import httpx
import psutil
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.runs import RunStore
from pipeline.workspace import Workspace
from tests.control_center.serving import Server

TARGET_MS = 200
WINDOWS, EVENTS = 120, 1000


def multiply(folder: pathlib.Path, runs: int) -> list[str]:
    """Copies the workspace's newest run, with its executions and artifacts, under new ids."""
    workspace = Workspace(folder / ".flywheel")
    first = workspace.run_ids()[0]
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
        run_id = f"203003{1 + hours // 24 % 28:02}-{hours % 24:02}{minute:02}00-{number:04x}"
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


def lengthen(folder: pathlib.Path) -> None:
    """Makes more windows, with measures and findings, and more events, of those that are there."""
    with contextlib.closing(sqlite3.connect(folder / ".flywheel/monitoring.sqlite")) as db, db:
        _repeat_windows(db)
    with contextlib.closing(sqlite3.connect(folder / ".flywheel/ledger.sqlite")) as db, db:
        query = "SELECT key, body, changed FROM documents WHERE key LIKE 'event/%'"
        rows = db.execute(query).fetchall()
        copies = [
            (f"{key}-{number}", body, changed)
            for number in range(EVENTS // len(rows))
            for key, body, changed in rows
        ]
        db.executemany("INSERT INTO documents VALUES (?, ?, ?)", copies)


def _repeat_windows(db: sqlite3.Connection) -> None:
    def columns(table: str) -> list[str]:
        return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]

    names = columns("windows")
    query = f"SELECT {', '.join(names)} FROM windows WHERE state != 'OPEN' ORDER BY number"
    rows = [dict(zip(names, row, strict=True)) for row in db.execute(query)]
    last = max(row["number"] for row in rows)
    for place in range(len(rows), WINDOWS):
        origin = rows[place % len(rows)]
        number = last + 1 + place
        copy = {**origin, "id": f"{origin['id']}-{number}", "number": number}
        marks = ", ".join("?" * len(names))
        db.execute(
            f"INSERT INTO windows ({', '.join(names)}) VALUES ({marks})", list(copy.values())
        )
        for table in ("measures", "findings"):
            others = ", ".join(c for c in columns(table) if c not in ("id", "window_id"))
            db.execute(
                f"INSERT INTO {table} (window_id, {others}) "
                f"SELECT ?, {others} FROM {table} WHERE window_id = ?",
                (copy["id"], origin["id"]),
            )


def measure(server: Server, pages: list[str], requests: int) -> list[dict[str, float | str]]:
    """Milliseconds per page, as a client waits, and as the server works."""
    process = psutil.Process(server.process.pid)
    _settle(process)
    rows = []
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        for page in pages:
            taken = []
            worked = 0.0
            for place in range(requests + 1):
                if place == 1:
                    worked = sum(process.cpu_times()[:2])
                start = time.perf_counter()
                answer = client.get(page)
                taken.append((time.perf_counter() - start) * 1e3)
                assert answer.status_code == 200, (page, answer.status_code)
            worked = sum(process.cpu_times()[:2]) - worked
            rest = sorted(taken[1:])
            rows.append(
                {
                    "page": page,
                    "first_ms": round(taken[0], 1),
                    "p50_ms": round(statistics.median(rest), 1),
                    "p95_ms": round(rest[min(len(rest) - 1, int(0.95 * len(rest)))], 1),
                    "cpu_ms": round(1e3 * worked / requests, 1),
                }
            )
    return rows


def machine() -> dict[str, object]:
    """What it was measured on."""
    names = ("fastapi", "jinja2", "ml-metadata", "sqlalchemy", "starlette", "uvicorn")
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in names},
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _settle(process: psutil.Process) -> None:
    """Waits until the server has looked at everything once, as it does after its start."""
    before = -1.0
    while (now := sum(process.cpu_times()[:2])) - before > 0.02:
        before = now
        time.sleep(1.0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--folder", type=pathlib.Path)
    arguments.add_argument("--runs", type=int, default=1000)
    arguments.add_argument("--requests", type=int, default=30)
    arguments.add_argument("--json", type=pathlib.Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "loop"
        if given.folder:
            shutil.copytree(given.folder, folder)
        else:
            command = [sys.executable, "-m", "pipeline", "functions", "loop", "--folder", folder]
            subprocess.run(command, check=True, stdout=sys.stderr)
        ids = multiply(folder, given.runs)
        lengthen(folder)
        newest = max(ids)
        server = Server(folder)
        try:
            tabs = ("", "/data", "/training", "/evaluation", "/variants", "/files", "/log")
            version = os.listdir(folder / "deployed" / "versions")[0]
            pages = [
                "/", "/run", "/runs", f"/runs?page={max(1, given.runs // 50)}",
                *(f"/runs/{newest}{tab}" for tab in tabs),
                f"/compare?run={ids[0]}&run={newest}", "/models", f"/models/{version}", "/why",
                f"/why?version={version}", "/monitoring",
                f"/monitoring?feature=fare&window={quote('chicago-taxi/count/1')}",
                "/automation", "/deploy", "/scorecard", "/audit", "/api/runs?limit=1000",
            ]  # fmt: skip
            rows = measure(server, pages, given.requests)
        finally:
            server.stop()
    print(f"{given.runs:,} runs, {WINDOWS} windows, {EVENTS:,} events; {given.requests} requests")
    print(f"each, ms; target p95 < {TARGET_MS}; load {os.getloadavg()[0]:.1f}\n")
    names = ("first_ms", "p50_ms", "p95_ms", "cpu_ms")
    print(f"{'page':<66}{''.join(f'{n[:-3]:>9}' for n in names)}")
    for row in rows:
        print(f"{row['page']:<66}{''.join(f'{row[n]:>9}' for n in names)}")
    if given.json:
        about = {"runs": given.runs, "windows": WINDOWS, "events": EVENTS}
        content = {"machine": machine(), **about, "requests": given.requests, "pages": rows}
        given.json.write_text(json.dumps(content, indent=1), "utf-8")


if __name__ == "__main__":
    main()
