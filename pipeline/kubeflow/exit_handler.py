"""What the exit handler's container runs: tells the alert channels how a run ended.

    python -m pipeline.kubeflow.exit_handler --executor_input {{$}} --pipeline NAME
        --registry PATH --channels JSON

A backend knows whether the tasks succeeded; whether the run deployed a model stands in the
registry's history. Imports no TFX. Channels that fail are logged and end nothing: the run's own
state stays what it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import pydantic

from models.errors import FlywheelError
from models.registry import Registry
from monitoring.alerts import channels as alert_channels
from monitoring.alerts.message import Delivery, Message
from monitoring.alerts.options import Channel
from pipeline.kubeflow import exit_task
from pipeline.kubeflow.bucket import Bucket
from pipeline.kubeflow.spec import RUN_ID

_LOG = logging.getLogger(__name__)
_HISTORY = "history.jsonl"
#: What the two backends call success: Kubeflow speaks with ML Metadata's words.
_SUCCEEDED = ("SUCCEEDED", "COMPLETE", "CACHED")
_CANCELED = ("CANCELED", "CANCELLED", "CANCELING")
#: What Kubeflow says when a task ended without the launcher in its pod saying how: the state of
#: the tasks' DAG is written by launchers only, and stays as it was.
_NOT_TOLD = ("NEW", "RUNNING")


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended.

    Attributes:
      pipeline: Its name.
      run_id: As the backend knows it.
      run_name: As people do.
      backend_state: In the backend's word, `''` when it does not say.
      error: The backend's reason, `''` when it has none.
      version: The version the run deployed, None when it deployed none, and None when the
        registry could not be read.
      registry_error: Why it could not be read.
    """

    pipeline: str
    run_id: str
    run_name: str
    backend_state: str
    error: str = ""
    version: str | None = None
    registry_error: str = ""

    @property
    def state(self) -> str:
        """`pushed`, `not_blessed`, `failed`, `canceled`, `succeeded` or `unknown`."""
        if self.backend_state in _SUCCEEDED:
            if self.registry_error:
                return "succeeded"
            return "pushed" if self.version else "not_blessed"
        if self.backend_state in _CANCELED:
            return "canceled"
        if self.backend_state in _NOT_TOLD:
            return "pushed" if self.version else "failed"
        return "failed" if self.backend_state == "FAILED" else "unknown"


def read_end(executor_input: dict[str, Any], pipeline: str, registry: str) -> End:
    """How the run ended, from what the backend hands over and the registry's history.

    Args:
      executor_input: KFP's ExecutorInput, as JSON.
      pipeline: Name of the pipeline.
      registry: Path or address of the registry.
    """
    values = executor_input.get("inputs", {}).get("parameterValues", {})
    status = values.get(exit_task.STATUS) or {}
    if isinstance(status, str):  # Vertex passes JSON
        status = json.loads(status)
    end = End(
        pipeline,
        run_id=_replaced(values.get(RUN_ID)),
        run_name=_replaced(values.get(exit_task.RUN_NAME)),
        backend_state=str(status.get("state") or "").upper(),
        error=str((status.get("error") or {}).get("message") or ""),
    )
    try:
        history = _history(registry)
    except (OSError, ValueError, FlywheelError) as error:
        _LOG.warning("The registry cannot be read.", exc_info=True)
        return dataclasses.replace(end, registry_error=str(error).splitlines()[0])
    versions = [entry["to"] for entry in history if entry.get("run_id") == end.run_id]
    return dataclasses.replace(end, version=versions[-1] if versions and end.run_id else None)


def message(end: End) -> Message:
    """What people are told."""
    text, severity, following = {
        "pushed": (
            f"The run deployed version {end.version}.",
            "info",
            "",
        ),
        "not_blessed": (
            "All tasks succeeded and no model was deployed: the candidate was not blessed.",
            "warning",
            "Look at the Evaluator's verdict in the run's artifacts.",
        ),
        "failed": (
            _failure(end),
            "critical",
            "Open the run; the failed task's log ends with the component's name and the reason."
            if end.backend_state == "FAILED"
            else "Open the run and look at the state of the failed task's pod.",
        ),
        "canceled": ("Somebody ended the run.", "warning", ""),
        "succeeded": (
            f"All tasks succeeded; whether a model was deployed is not known: {end.registry_error}",
            "warning",
            "See that the exit handler can read the registry.",
        ),
        "unknown": (
            "The backend did not say how the run ended.",
            "warning",
            "Open the run. Kubeflow Pipelines tells exit handlers the end state since 2.14.",
        ),
    }[end.state]
    facts = {
        "pipeline": end.pipeline,
        "run": end.run_name,
        "run id": end.run_id,
        "state": end.backend_state,
        "version": end.version or "",
    }
    return Message(
        title=f"{end.pipeline}: {end.state.replace('_', ' ')}",
        text=text,
        severity=severity,  # type: ignore[arg-type]
        facts={name: value for name, value in facts.items() if value},
        next=following,
        key=f"run/{end.run_id}",
    )


def _failure(end: End) -> str:
    if end.backend_state in _NOT_TOLD:
        return (
            "A task's pod ended without a word: out of memory, at its deadline, evicted, or never "
            "started (image, volume, secret)."
        )
    return "A task failed" + (f": {end.error}" if end.error else ".")


def main(arguments: Sequence[str] | None = None) -> list[Delivery]:
    """Reads, tells, and logs what became of it."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.kubeflow.exit_handler")
    parser.add_argument("--executor_input", required=True, type=json.loads)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--registry", required=True)
    parser.add_argument("--channels", required=True)
    known = parser.parse_args(arguments)
    channels = pydantic.TypeAdapter(tuple[Channel, ...]).validate_json(known.channels)
    end = read_end(known.executor_input, known.pipeline, known.registry)
    _LOG.info("the run ended: %s", json.dumps({**dataclasses.asdict(end), "is": end.state}))
    deliveries = alert_channels.send(message(end), channels)
    for delivery in deliveries:
        _LOG.info("%s: %s %s", delivery.channel, delivery.state, delivery.error)
    return deliveries


def _history(registry: str) -> list[dict[str, Any]]:
    if "://" not in registry:
        return Registry(registry).history()
    with tempfile.TemporaryDirectory() as folder:
        bucket = Bucket(registry)
        if bucket.is_file(_HISTORY):
            bucket.fetch([_HISTORY], folder)
        return Registry(pathlib.Path(folder)).history()


def _replaced(value: Any) -> str:
    """A placeholder that the backend did not know is no name."""
    return "" if value is None or str(value).startswith("{{") else str(value)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, which are secrets
    main()
    sys.exit(0)
