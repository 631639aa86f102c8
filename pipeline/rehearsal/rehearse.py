"""One rehearsal, from the compiled file to the summary."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

from pipeline.rehearsal import containers, isolation
from pipeline.rehearsal.compiled import Compiled, describe
from pipeline.rehearsal.engine import Engine, container_tasks, executions, labels
from pipeline.rehearsal.launcher import Launcher, Options
from pipeline.rehearsal.ledger import Ledger, Run, publish
from pipeline.rehearsal.outcome import outcome
from pipeline.rehearsal.store import ObjectStore


def rehearse(
    compiled: Compiled,
    folder: pathlib.Path,
    options: Options,
    *,
    fresh: bool = False,
    emit: Callable[[dict[str, Any]], None] = lambda event: None,
) -> dict[str, Any]:
    """Runs a compiled pipeline here.

    A run of the same pipeline with the same parameters that was stopped before its end is gone on
    with: tasks that had succeeded are not run again, and of others nothing is read.

    Args:
      compiled: What to run.
      folder: Where everything is kept.
      options: How tasks are started.
      fresh: Begin a new run in any case.
      emit: Gets events: `run`, `components`, `component`, and those of the tasks.

    Returns:
      The result; also in the run's `result.json`.

    Raises:
      ConfigError: NO_NAMESPACES, NO_ENGINE.
      FlywheelError: ALREADY_RUNNING, NO_IMAGE.
      KeyboardInterrupt: the task at work is ended, and the run can be gone on with.
    """
    if options.containers:
        containers.require()
        for image in {options.image} if options.image else compiled.images():
            containers.digest(image)
    else:
        isolation.require()
    ledger = Ledger(folder.resolve())
    with ledger.locked():
        found = None if fresh else ledger.unfinished(compiled.key)
        run = found or ledger.new_run(describe(compiled))
        emit({"event": "run", "id": run.id, "resumed": found is not None})
        names = labels(container_tasks(compiled)).values()
        emit({"event": "components", "names": list(names)})
        return _executed(compiled, ledger, run, options, emit)


def _executed(
    compiled: Compiled,
    ledger: Ledger,
    run: Run,
    options: Options,
    emit: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    start = time.monotonic()
    engine = Engine(compiled, run, ledger, Launcher(ledger, options, emit), emit)
    root = engine.execute()
    result = outcome(
        run.id,
        root,
        executions(root),
        engine.reasons,
        ObjectStore(ledger.store),
        time.monotonic() - start,
    )
    result |= {
        "backend": compiled.backend.name,
        "folder": str(run.folder),
        "log": str(run.folder / "tasks"),
        "notes": _notes(options) + sorted(engine.notes),
    }
    publish(run.result, json.dumps(result, indent=1, default=str))
    return result


def _notes(options: Options) -> list[str]:
    """In what this rehearsal was less than the backend."""
    if options.containers:
        return []
    notes = ["tasks ran in this Python, not in their images"]
    if not isolation.has_overlay():
        notes.append("what tasks wrote outside of their outputs and /tmp stayed on this machine")
    return notes
