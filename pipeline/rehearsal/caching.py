"""Which earlier execution may stand for a task: the backend's fingerprint."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipeline.rehearsal.driver import Inputs
from pipeline.rehearsal.values import to_json


def fingerprint(
    pipeline: str,
    task: dict[str, Any],
    component: dict[str, Any],
    container: dict[str, Any],
    inputs: Inputs,
    claims: list[str],
) -> str | None:
    """What a task's result depends on, as far as the backend looks; None when caching is off.

    The backend looks at input parameters, at which artifacts come in, at the declared outputs, the
    command line and the image's name, and the names of mounted volume claims. It looks neither at
    what an image of that name holds nor at files that a task reads by itself.
    """
    caching = task.get("cachingOptions", {})
    if not caching.get("enableCache"):
        return None
    outputs = component.get("outputDefinitions", {})
    key = caching.get("cacheKey")
    content: Any = (
        [task["componentRef"]["name"], key]
        if key
        else {
            "parameters": inputs.parameters,
            "artifacts": {
                name: [item["name"] for item in found] for name, found in inputs.artifacts.items()
            },
            "outputs": outputs,
            "image": container["image"],
            "command": [*container.get("command", ()), *container.get("args", ())],
            "claims": sorted(set(claims)),
        }
    )
    text = json.dumps(json.loads(to_json([pipeline, content])), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
