"""The shipped file against the deployed one on test, by slice, with intervals; asked for once.

The Evaluator's verdict has both models' metrics and no intervals. `pipeline.intervals` computes
them in a process of its own from what the run left, and the answer is kept beside the run's
result.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

from models import child
from pipeline.report.inputs import Inputs

FILE = "intervals.json"
_SECONDS = 600


def intervals(inputs: Inputs, folder: pathlib.Path) -> dict[str, Any]:
    """What `pipeline.intervals` answers; `{}` without a champion, `why` where it could not be.

    Args:
      inputs: Of the run.
      folder: Of the run, where the answer is kept.
    """
    verdict = inputs.files["evaluation"]
    if "champion" not in (verdict.get("metrics") or {}):
        return {}
    kept = folder / FILE
    try:
        return json.loads(kept.read_text("utf-8"))
    except (OSError, ValueError):
        pass
    places = {
        "examples": inputs.artifact("ExampleGen", "examples"),
        "shipped": inputs.artifact("TFLiteQuantizer", "chosen"),
        "champion": inputs.artifact("DeployedModel", "model"),
    }
    if gone := [name for name, artifact in places.items() if artifact is None]:
        return {"why": f"the run left no {gone[0]}"}
    request = {
        **{name: artifact.uri for name, artifact in places.items()},
        "slices": [s["slice"] for s in verdict.get("slices") or [] if s.get("judged")],
    }
    request["examples"] += "/Split-test"
    answer = _ask(request)
    if "why" not in answer:
        kept.write_text(json.dumps(answer, indent=1), encoding="utf-8")
    return answer


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "pipeline.intervals"],
            input=json.dumps(request),
            env=child.environment(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"why": f"they took longer than {_SECONDS} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"why": said[-1]}
    return json.loads(done.stdout.splitlines()[-1])
