"""Tasks that must always run and may be answered from a cache."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.kubeflow.finding import Finding
from pipeline.kubeflow.lint.parsed import Parsed, Task


def check(parsed: Parsed) -> list[Finding]:
    """Sources and sinks of the pipeline."""
    return list(_check(parsed))


def _check(parsed: Parsed) -> Iterator[Finding]:
    for task in parsed.tasks():
        if not task.container or not task.spec.get("cachingOptions", {}).get("enableCache"):
            continue
        reason = _reason(task)
        if reason:
            yield Finding(
                "error",
                "MUST_NOT_BE_CACHED",
                f"{task.where}.cachingOptions",
                f"`{task.name}` may be answered from the cache, and {reason}.",
                "Set `enableCache: false` for it.",
            )


def _reason(task: Task) -> str:
    executor = task.argument("--executor_class_path") or ""
    if task.is_exit_task:
        return "it is an exit handler: it would tell how an earlier run ended"
    if not executor:
        return ""  # not a TFX component: what it looks at cannot be told
    if not task.spec.get("inputs", {}).get("artifacts"):
        return (
            "it takes no input of the pipeline: what it reads outside (data, the deployed model) "
            "can change without the cache, which knows its parameters only, noticing"
        )
    if "pusher" in executor.lower():
        return "it deploys a model: an answer from the cache deploys nothing"
    return ""
