"""Starting a run, once per job, on this machine or on Kubeflow Pipelines."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import secrets
import subprocess
import sys
from typing import Any, Protocol

import httpx

from cloud_functions.settings import Settings
from models import child

_SECONDS = 30.0
#: Kubeflow's run states that are ends, and what they are called here.
_ENDED = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELED": "failed", "SKIPPED": "failed"}


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is asked for.

    Attributes:
      id: The same whenever the same is asked for: `job_id`.
      model: The config's name.
      data: What to read; None: what the config says.
      why: In a sentence.
      force: Run even if nothing changed.
    """

    id: str
    model: str
    data: str | None
    why: str
    force: bool = False


def job_id(model: str, *parts: str) -> str:
    """A name for what is asked for, valid as a name of a run anywhere."""
    digest = hashlib.sha256("\0".join([model, *parts]).encode()).hexdigest()[:12]
    return f"{model.lower()[:40]}-{digest}"


class Submitter(Protocol):
    """Where runs are started."""

    def submit(self, job: Job) -> str:
        """Starts it unless it was started before; returns where it is."""

    def ended(self, job: str) -> str | None:
        """How a job ended; None while it runs or when nothing is known of it."""


class LocalSubmitter:
    """`flywheel run` in a process that outlives the one that asks.

    A job is a folder; its process holds a lock in it as long as it lives, so that asking again
    starts none beside it, and another one in place of one that died.

    Args:
      folder: Of all jobs.
      config: The config file.
      topic: Where the end of a run is published.
    """

    def __init__(self, folder: str | os.PathLike[str], config: str, topic: str | None):
        self._folder = pathlib.Path(folder)
        self._config, self._topic = config, topic

    def submit(self, job: Job) -> str:
        folder = self._folder / job.id
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "result.json").exists() or running(folder):
            return str(folder)
        order = {**dataclasses.asdict(job), "config": self._config, "topic": self._topic}
        temporary = folder / f".job-{secrets.token_hex(6)}"
        temporary.write_text(json.dumps(order, indent=1), "utf-8")
        temporary.replace(folder / "job.json")
        with open(folder / "log.txt", "ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "cloud_functions.job", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child.environment(),
                start_new_session=True,  # what stops the function does not stop the run
            )
        return str(folder)

    def ended(self, job: str) -> str | None:
        try:
            return json.loads((self._folder / job / "result.json").read_text("utf-8"))["state"]
        except FileNotFoundError:
            return None


def running(folder: pathlib.Path) -> bool:
    """Whether a job's process lives."""
    try:
        with open(folder / "lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


class KubeflowSubmitter:
    """A run on Kubeflow Pipelines, by its REST API (v2beta1).

    The run's name is the job's id, and is looked for before a run is made.

    Args:
      settings: With `automation.backend` of type kubeflow.
    """

    def __init__(self, settings: Settings):
        self._options = settings.automation.backend
        host = (self._options.host or "").rstrip("/")
        self._runs = f"{host}/apis/v2beta1/runs"

    def submit(self, job: Job) -> str:
        found = self._find(job.id)
        if found is None:
            options = self._options
            reference = {"pipeline_id": options.pipeline_id}
            if options.pipeline_version_id:
                reference["pipeline_version_id"] = options.pipeline_version_id
            body: dict[str, Any] = {
                "display_name": job.id,
                "description": job.why,
                "pipeline_version_reference": reference,
                "runtime_config": {
                    "parameters": {options.data_parameter: job.data} if job.data else {}
                },
            }
            if options.experiment_id:
                body["experiment_id"] = options.experiment_id
            if options.service_account:
                body["service_account"] = options.service_account
            answer = httpx.post(self._runs, json=body, headers=self._headers(), timeout=_SECONDS)
            answer.raise_for_status()
            found = answer.json()
        return f"{self._runs}/{found['run_id']}"

    def ended(self, job: str) -> str | None:
        found = self._find(job)
        return _ENDED.get(found.get("state", "")) if found else None

    def _find(self, job: str) -> dict[str, Any] | None:
        predicate = {"operation": "EQUALS", "key": "name", "string_value": job}
        parameters = {"filter": json.dumps({"predicates": [predicate]}), "page_size": "1"}
        if self._options.experiment_id:
            parameters["experiment_id"] = self._options.experiment_id
        answer = httpx.get(self._runs, params=parameters, headers=self._headers(), timeout=_SECONDS)
        answer.raise_for_status()
        runs = answer.json().get("runs") or []
        return runs[0] if runs else None

    def _headers(self) -> dict[str, str]:
        options = self._options
        if options.token_file:
            token = pathlib.Path(options.token_file).read_text("utf-8").strip()
        else:
            token = os.environ.get(options.token_env or "", "")
        return {"Authorization": f"Bearer {token}"} if token else {}


def submitter(settings: Settings) -> Submitter:
    """The one that the settings name."""
    automation = settings.automation
    if automation.backend.type == "kubeflow":
        return KubeflowSubmitter(settings)
    if settings.config is None:
        raise ValueError("runs on this machine need settings.config, the config file")
    return LocalSubmitter(automation.jobs, settings.config, automation.topics.runs)
