"""Whether a run would do again what an earlier one did.

A run is decided by its config, the code, and the content of the files it reads.
When all of these are those of a run whose version is deployed, running again
would end with the same version: there is nothing to do.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

from custom_components.example_gen.fingerprint import fingerprint as data_fingerprint
from models import stack
from models.registry import Registry
from pipeline.config import Config
from pipeline.workspace import Workspace

#: What components may run: `monitoring` but for these watches what they made.
_SOURCES = (
    "models/**/*.py",
    "custom_components/**/*.py",
    "monitoring/drift.py",
    "monitoring/summaries.py",
)
#: Settings that say what happens to a model afterwards, and decide nothing about a run.
_AFTERWARDS = {"serving", "monitoring", "alerts", "automation", "kubeflow", "control_center"}


def code_fingerprint() -> str:
    """A hash of everything a component may run: our source, and the versions beneath it."""
    root = pathlib.Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for source in _SOURCES:
        for path in sorted(root.glob(source)):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    digest.update(json.dumps(stack.decisive_versions(), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def run_fingerprint(config: Config) -> str:
    """A hash of everything that decides how a run ends, but for what is deployed."""
    digest = hashlib.sha256()
    decisive = config.model_dump(mode="json", exclude=_AFTERWARDS)
    digest.update(json.dumps(decisive, sort_keys=True).encode())
    digest.update(code_fingerprint().encode())
    digest.update(data_fingerprint(config.data.path).encode())
    if config.distillation.extra_data:
        digest.update(data_fingerprint(config.distillation.extra_data).encode())
    if config.validation.schema_path:
        digest.update(pathlib.Path(config.validation.schema_path).read_bytes())
    return digest.hexdigest()


def find_same(config: Config, fingerprint: str) -> dict[str, Any] | None:
    """The result of a run with this fingerprint whose version is the deployed one."""
    deployed = Registry(config.deploy.path).current()
    if deployed is None:
        return None
    workspace = Workspace(pathlib.Path(config.root))
    for run_id in workspace.run_ids():
        result = workspace.run(run_id).read_result() or {}
        pushed = result.get("pushed") or {}
        if result.get("fingerprint") == fingerprint and pushed.get("version") == deployed:
            return result
    return None
