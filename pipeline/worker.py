"""The process that does the work: `python -m pipeline.worker ENGINE`.

It imports TensorFlow and TFX so that no one else has to, and reads from stdin the
folder of the run it is for, which may come at once or long after. Then it runs the
pipeline and leaves `result.json`. Whatever libraries print belongs to the run's log,
which becomes this process's stdout and stderr.
"""

from __future__ import annotations

import errno
import logging
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
from typing import Any

from models import progress, stack
from models.errors import DataError, FlywheelError, disk_full
from models.registry import Registry
from pipeline import config as config_module
from pipeline import lean_imports, reuse
from pipeline.runs import RunStore, end_state, summarize
from pipeline.unchanged import run_fingerprint
from pipeline.workspace import FIRST_LOG, RunFolder, Workspace


class Interrupted(BaseException):
    """Someone asked the run to stop."""


def run(folder: RunFolder) -> dict[str, Any]:
    """Runs the pipeline of a run folder to its end.

    Returns:
      The result, as written to `result.json`.
    """
    start = time.time()
    config = config_module.parse(_read_yaml(folder.config), str(folder.config))
    workspace = Workspace(pathlib.Path(config.root))
    problem: BaseException | None = None
    fingerprint = None
    try:
        _stoppable.set()
        _stop_if_asked()
        fingerprint = run_fingerprint(config)  # before the run: what changes meanwhile is a change
        with workspace.locked(folder.id):
            _run_pipeline(folder, config, workspace)
    except (Exception, Interrupted, KeyboardInterrupt) as error:
        traceback.print_exc()
        # Native code turns an interruption into errors of its own.
        problem = Interrupted() if _stop_asked.is_set() else error
    result = {**_result(folder, workspace, problem, start), "fingerprint": fingerprint}
    folder.write_result(result)
    try:
        from pipeline.report.page import write_report

        progress.emit("doing", text="writing the report")
        write_report(workspace, folder.id, folder.report)
    except Exception:  # the run's verdict stands whatever becomes of its picture
        traceback.print_exc()
        folder.write_result({**result, "report": None})
    return result


#: Python swallows what a signal's handler raises while a destructor runs; if that happens, the run
#: ends before the next component.
_stop_asked = threading.Event()
#: From here on an interruption ends as a result.
_stoppable = threading.Event()


def _stop_if_asked() -> None:
    if _stop_asked.is_set():
        raise Interrupted


def import_stack(engine: str) -> None:
    """Imports everything a run on this engine uses, and nothing else."""
    stack.prepare_environment()
    if engine == "local":
        lean_imports.install()
    with lean_imports.without_collector():
        import pipeline.dag
        import pipeline.local_runner  # noqa: F401


def _run_pipeline(folder: RunFolder, config: config_module.Config, workspace: Workspace) -> None:
    progress.emit("doing", text="importing TensorFlow and TFX")
    import_stack(config.engine)  # or waits for the thread that does, or says why it could not
    from pipeline.dag import create_pipeline
    from pipeline.local_runner import LocalRunner

    workspace.artifacts.mkdir(parents=True, exist_ok=True)
    pipeline = create_pipeline(
        config,
        root=str(workspace.artifacts),
        deployed_version=Registry(config.deploy.path).current() or "",
        metadata_path=str(workspace.metadata),
    )
    LocalRunner(folder.id, before_component=_stop_if_asked).run(pipeline)


def _result(
    folder: RunFolder, workspace: Workspace, problem: BaseException | None, start: float
) -> dict[str, Any]:
    store = RunStore(workspace)
    loaded = store.load(folder.id)
    result = {
        "state": "failed",
        **summarize(loaded),
        "cache": _cache(workspace, folder.id),
        "report": str(folder.report),
        "log": str(folder.log),
    }
    result["seconds"]["total"] = round(time.time() - start, 3)
    if problem is None:
        result["state"] = end_state(loaded)
        return result
    error = explain(problem, folder)
    result["state"] = error.state
    reasons = error.reasons if isinstance(error, DataError) else (error.reason,)
    known = {(r["code"], r["message"]) for r in result["reasons"]}
    result["reasons"] += [r.to_dict() for r in reasons if (r.code, r.message) not in known]
    return result


def _cache(workspace: Workspace, run_id: str) -> dict[str, dict[str, Any]]:
    """Component to `cache` (`hit` or `miss`), `why` and `changed`."""
    earlier = [other for other in workspace.run_ids() if other < run_id]
    found = reuse.explain(reuse.Memory(workspace), run_id, earlier)
    keys = ("cache", "why", "changed")
    return {name: {key: one[key] for key in keys} for name, one in found.items()}


def explain(problem: BaseException, folder: RunFolder) -> FlywheelError:
    """What went wrong, in words a user can act on."""
    if isinstance(problem, FlywheelError):
        return problem
    if isinstance(problem, (Interrupted, KeyboardInterrupt)):
        return FlywheelError(
            "INTERRUPTED",
            "The run was interrupted; finished components are kept.",
            next="Go on from there with `flywheel run`.",
        )
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC or _says_no_space(cause):
            return disk_full(str(cause).strip()[:200])
        cause = cause.__cause__ or cause.__context__
    text = (str(problem).strip().splitlines() or [""])[0][:300]
    return FlywheelError(
        "COMPONENT_FAILED",
        f"{type(problem).__name__}: {text}",
        next=f"The full story is in `{folder.log}`; `flywheel run --debug` shows it here.",
    )


def _says_no_space(error: BaseException) -> bool:
    return any(words in str(error) for words in ("No space left on device", "disk is full"))


def _read_yaml(path: pathlib.Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(path.read_text("utf-8"))


def _take_run() -> RunFolder:
    """Waits for the run; from then on this process writes its log."""
    path = sys.stdin.readline().strip()
    if not path:  # whoever held it ready needs it no more
        os._exit(0)
    folder = RunFolder(pathlib.Path(path))
    with open(folder.log, "ab") as log, open(os.devnull, "rb") as nothing:
        log.write((pathlib.Path(os.environ["TMPDIR"]) / FIRST_LOG).read_bytes())
        log.flush()
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ[progress.EVENTS_VARIABLE] = str(folder.events)
    return folder


def _quietly(engine: str) -> None:
    try:
        import_stack(engine)
    except Exception:  # the run imports it again, and tells
        logging.getLogger(__name__).debug("the import failed", exc_info=True)


def main() -> None:
    engine = sys.argv[1]
    del sys.argv[1:]  # TFX hands them to Beam
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us decides
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    importing = threading.Thread(target=_quietly, args=(engine,), name="imports", daemon=True)
    importing.start()
    folder = _take_run()

    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _stop_asked.set()
        if _stoppable.is_set():
            raise Interrupted

    signal.signal(signal.SIGTERM, stop)
    progress.emit("doing", text="starting")  # the one who handed over waits for that
    result = run(folder)
    progress.emit("run", state=result["state"])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # everything is written; taking TensorFlow down in order costs two seconds


if __name__ == "__main__":
    main()
