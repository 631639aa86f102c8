"""One task, started, watched and brought to its end: what happens inside of its pod."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.errors import Reason
from models.progress import EVENTS_VARIABLE
from pipeline.kubeflow.failure import FAILURE
from pipeline.rehearsal import containers, isolation, pip_stand_in, placeholders
from pipeline.rehearsal.artifacts import merged, recorded
from pipeline.rehearsal.backends import Backend, local_path
from pipeline.rehearsal.executions import SUCCEEDED, Execution
from pipeline.rehearsal.kubernetes import Pod
from pipeline.rehearsal.ledger import Ledger
from pipeline.rehearsal.store import ObjectStore
from pipeline.rehearsal.values import TaskError, from_text, to_json

_POLL_SECONDS = 0.1
_SHIMS = "/tmp/.rehearsal"
_EVENTS = "/tmp/.rehearsal/events.jsonl"
_LAST_LINES = 12
_SHOWN = 300


@dataclasses.dataclass(frozen=True)
class Options:
    """How tasks are started.

    Attributes:
      containers: In their images, by a Docker engine.
      image: Instead of every task's own image; containers only.
      network: Docker's network; containers only.
      code: Working directory of tasks, standing for the image's; without containers only.
    """

    containers: bool = False
    image: str | None = None
    network: str = "none"
    code: pathlib.Path = pathlib.Path()


@dataclasses.dataclass(frozen=True)
class Task:
    """All that is needed to start one.

    Attributes:
      name: In its DAG.
      component: Its spec.
      container: Its executor's container.
      executor_input: From the driver.
      pod: From the platform spec.
      backend: Whose rules hold.
    """

    name: str
    component: dict[str, Any]
    container: dict[str, Any]
    executor_input: dict[str, Any]
    pod: Pod
    backend: Backend


class Launcher:
    """Runs tasks.

    Args:
      ledger: Its store, volumes, and what tasks must not see.
      options: How.
      emit: Gets the events that the task itself emits.
    """

    def __init__(self, ledger: Ledger, options: Options, emit: Callable[[dict[str, Any]], None]):
        self._ledger = ledger
        self._store = ObjectStore(ledger.store)
        self._options = options
        self._emit = emit

    def run(self, task: Task, attempt: pathlib.Path) -> Execution:
        """One attempt.

        Inputs are copied from the store into the task's file system; the command runs; only if it
        ends well are outputs copied to the store, and then recorded.

        Args:
          task: What.
          attempt: Empty folder of this attempt.

        Returns:
          The execution; the caller makes it count.

        Raises:
          TaskError: TASK_FAILED, TASK_TIMEOUT, or what the launcher would fail with.
        """
        start = time.monotonic()
        private = attempt / "fs"
        defaults = placeholders.defaults_of(task.component)
        words = placeholders.command_line(task.container, task.executor_input, defaults)
        seen = placeholders.with_defaults(task.executor_input, defaults)
        (attempt / "executor_input.json").write_text(json.dumps(seen, indent=1), encoding="utf-8")
        (attempt / "command.json").write_text(json.dumps(words, indent=1), encoding="utf-8")
        self._prepare(task, private)
        with open(attempt / "log.txt", "wb") as log:
            code = self._execute(task, words, private, log)
        if code:
            raise _failed(task, code, attempt / "log.txt")
        said = self._said(task, private)
        execution = Execution(
            task.name, SUCCEEDED, parameters=self._output_parameters(task, private, said)
        )
        for name, declared in _outputs(task.executor_input):
            list_ = said.get("artifacts", {}).get(name, {}).get("artifacts", [])
            artifact = merged(declared, list_[0] if list_ else None)
            path = artifact.get("customPath") or local_path(artifact["uri"])
            if path is not None:
                self._store.upload(_inside(private, path), artifact["uri"])
            execution.artifacts[name] = recorded(name, artifact, task.backend)
        if self._options.containers:
            containers.remove(private, self._image(task))
        else:
            shutil.rmtree(private, ignore_errors=True)
        execution.seconds = round(time.monotonic() - start, 3)
        return execution

    def _image(self, task: Task) -> str:
        return self._options.image or task.container["image"]

    def _prepare(self, task: Task, private: pathlib.Path) -> None:
        """Downloads inputs, makes the folders into which outputs go."""
        for folder in isolation.PRIVATE:
            (private / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        inputs = task.executor_input.get("inputs", {}).get("artifacts", {})
        for item in (item for found in inputs.values() for item in found["artifacts"]):
            path = local_path(item["uri"])
            if path is not None:
                self._store.download(item["uri"], _inside(private, path))
        outputs = task.executor_input["outputs"]
        files = [outputs["outputFile"]]
        files += [item["outputFile"] for item in outputs.get("parameters", {}).values()]
        files += [local_path(item["uri"]) or "" for _, item in _outputs(task.executor_input)]
        for file in filter(None, files):
            _inside(private, file).parent.mkdir(parents=True, exist_ok=True)
        _inside(private, _SHIMS).mkdir(exist_ok=True)
        _inside(private, _EVENTS).touch()
        _inside(private, _EVENTS).chmod(0o666)

    def _execute(self, task: Task, words: Sequence[str], private: pathlib.Path, log: Any) -> int:
        """Runs the command; returns its exit code."""
        environment = {e["name"]: e.get("value", "") for e in task.container.get("env", ())}
        environment |= {**task.pod.environment, EVENTS_VARIABLE: _EVENTS}
        volumes = {folder: self._ledger.volume(claim) for folder, claim in task.pod.volumes.items()}
        container = None
        if self._options.containers:
            container = containers.Container(
                words,
                image=self._image(task),
                network=self._options.network,
                private=private,
                volumes=volumes,
                scratch=task.pod.scratch,
                environment=environment,
                log=log,
            )
            process = container.process
        else:
            process = isolation.start(
                placeholders.first_word(words, sys.executable),
                private=private,
                hidden=self._ledger.folder,
                visible=_code(self._options.code),
                volumes=volumes,
                scratch=task.pod.scratch,
                workdir=self._options.code,
                environment={**_environment(private), **environment},
                log=log,
            )
        try:
            return self._watch(process, _inside(private, _EVENTS), task)
        finally:
            if process.poll() is None:
                if container is not None:
                    container.stop()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def _watch(self, process: subprocess.Popen[bytes], events: pathlib.Path, task: Task) -> int:
        """Follows what the task says about its progress, until it ends."""
        start = time.monotonic()
        with open(events, encoding="utf-8", errors="replace") as file:
            pending = ""
            while True:
                ended = process.poll()
                pending += file.read()
                *lines, pending = pending.split("\n")
                for line in lines:
                    try:
                        self._emit(json.loads(line))
                    except ValueError:  # anyone may write into this file
                        continue
                if ended is not None:
                    return ended
                if task.pod.deadline and time.monotonic() - start > task.pod.deadline:
                    raise TaskError(
                        "TASK_TIMEOUT",
                        f"Task `{task.name}` was ended after {task.pod.deadline:g} seconds, its "
                        "deadline on the cluster.",
                        next="Give it more time where the pipeline is compiled.",
                    )
                time.sleep(_POLL_SECONDS)

    def _said(self, task: Task, private: pathlib.Path) -> dict[str, Any]:
        """The task's executor output; `{}` when it wrote none."""
        file = _inside(private, task.executor_input["outputs"]["outputFile"])
        try:
            said = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise TaskError(
                "EXECUTOR_OUTPUT",
                f"Task `{task.name}` wrote an executor output that is no JSON: {error}.",
            ) from None
        _check_executor_output(task, said)
        return said

    def _output_parameters(
        self, task: Task, private: pathlib.Path, said: dict[str, Any]
    ) -> dict[str, Any]:
        values = dict(said.get("parameterValues", {}))
        declared = task.component.get("outputDefinitions", {}).get("parameters", {})
        for name, output in task.executor_input["outputs"].get("parameters", {}).items():
            if name in values:
                continue
            kind = declared[name].get("parameterType", "STRING")
            file = _inside(private, output["outputFile"])
            try:
                values[name] = from_text(file.read_text("utf-8"), kind)
            except FileNotFoundError:
                raise TaskError(
                    "NO_OUTPUT_PARAMETER",
                    f"Task `{task.name}` ended well and did not write its output parameter "
                    f"`{name}` ({output['outputFile']}).",
                    next="The backend fails such a task.",
                ) from None
            except ValueError as error:
                raise TaskError(
                    "NO_OUTPUT_PARAMETER",
                    f"Task `{task.name}` wrote as its output parameter `{name}` what is no {kind}: "
                    f"{error}.",
                ) from None
        return values


def _check_executor_output(task: Task, said: Any) -> None:
    """With the real message, in which nothing unknown is allowed."""
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    try:
        json_format.ParseDict(said, pipeline_spec_pb2.ExecutorOutput())
    except json_format.ParseError as error:
        raise TaskError(
            "EXECUTOR_OUTPUT",
            f"Task `{task.name}` wrote an executor output that the launcher cannot read: {error}. "
            f"It begins {to_json(said)[:200]}",
        ) from None


def _outputs(executor_input: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    outputs = executor_input["outputs"].get("artifacts", {})
    return [(name, found["artifacts"][0]) for name, found in outputs.items()]


def _inside(private: pathlib.Path, path: str) -> pathlib.Path:
    """Where a path of the task is from here.

    Raises:
      TaskError: UNSEEN_PATH for what is not in one of the task's own folders.
    """
    clean = os.path.normpath(path)
    if not any(clean == root or clean.startswith(root + "/") for root in isolation.PRIVATE):
        raise TaskError(
            "UNSEEN_PATH",
            f"`{path}` is in none of the folders that are the task's own: "
            f"{', '.join(isolation.PRIVATE)}.",
        )
    return private / clean.lstrip("/")


def _code(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a task needs to see of this machine wherever it lies."""
    paths = [folder, pathlib.Path(sys.prefix), pathlib.Path(sys.base_prefix)]
    paths += [pathlib.Path(p) for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    return [path.resolve() for path in paths if path.exists()]


def _environment(private: pathlib.Path) -> dict[str, str]:
    """What stands for the image's environment: this Python and nothing of the user's."""
    shims = _inside(private, _SHIMS)
    (shims / "pip").mkdir(exist_ok=True)
    shutil.copyfile(pip_stand_in.__file__, shims / "pip" / "__main__.py")
    (shims / "bin").mkdir(exist_ok=True)
    script = shims / "bin" / "pip"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pip "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    shutil.copyfile(script, script.with_name("pip3"))
    script.with_name("pip3").chmod(0o755)
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    paths = [_SHIMS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {
        "PATH": f"{_SHIMS}/bin:{os.path.dirname(sys.executable)}:{system}",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(paths),
    }
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment


def _failed(task: Task, code: int, log: pathlib.Path) -> TaskError:
    """What is known about a task that ended badly; its own word for it where it left one."""
    if code < 0:
        code = 128 - code
    how = f"exit code {code}"
    if code - 128 in _SIGNALS:
        how += f", {signal.Signals(code - 128).name}"
    tail = last_lines(log)
    next = f"All it said: `{log}`."
    for line in reversed(tail):
        if line.startswith(FAILURE):
            try:
                record = json.loads(line.removeprefix(FAILURE))
                reasons = tuple(Reason.from_dict(reason) for reason in record["reasons"])
                message = f"{record['component']} failed: {reasons[0].message}"
                return TaskError(
                    reasons[0].code, message, reasons=reasons, state=record["state"], next=next
                )
            except (ValueError, KeyError, TypeError, IndexError):
                break  # it only looked like one of ours
    word = f": {tail[-1][:_SHOWN]}" if tail else ""
    return TaskError(
        "TASK_FAILED",
        f"Task `{task.name}` ended badly ({how}){word}",
        next=next,
        cases=[{"log": line[:_SHOWN]} for line in tail[:-1][-4:]],
    )


_SIGNALS = {number.value for number in signal.Signals}


def last_lines(log: pathlib.Path) -> list[str]:
    """The last words of a log, without empty lines."""
    with open(log, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 65_536))
        text = file.read().decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()][-_LAST_LINES:]
