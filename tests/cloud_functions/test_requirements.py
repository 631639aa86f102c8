"""What a function imports is in its requirements.txt, or comes with what is."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cloud_functions import assemble
from cloud_functions.local import NAMES
from tests.cloud_functions.conftest import settings_in

#: What the modules of ours that `main` loads import when they are loaded.
_IMPORTED = """
import ast, json, sys
import main
names = set()
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] in ("main", "models", "monitoring", "cloud_functions"):
        if getattr(module, "__file__", None):
            for node in ast.parse(open(module.__file__, encoding="utf-8").read()).body:
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add(node.module.partition(".")[0])
print(json.dumps(sorted(names)))
"""


def closure(requirements: list[str]) -> set[str]:
    """The distributions that pip would install, as far as they are here."""
    found: set[str] = set()
    todo = [Requirement(line) for line in requirements]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if name in found and not requirement.extras:
            continue
        found.add(name)
        for line in needs:
            further = Requirement(line)
            extras = requirement.extras or {""}
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in extras):
                todo.append(further)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_requirements_cover_what_is_imported(name: str, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / name
    assemble.build(name, settings_in(tmp_path), folder)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _IMPORTED],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (folder / "requirements.txt").read_text("utf-8").splitlines()
    installed = closure([line for line in lines if line and not line.startswith("#")])
    of = importlib.metadata.packages_distributions()
    missing = {
        module: of[module]
        for module in json.loads(done.stdout.splitlines()[-1])
        if module in of
        and not (folder / module).exists()  # ours, and in the folder
        and not {canonicalize_name(d) for d in of[module]} & installed
    }
    assert missing == {}
