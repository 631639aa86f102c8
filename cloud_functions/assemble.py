"""The folder that is deployed: a function's own files and the light modules it imports.

What comes along is found by reading imports, those within functions included, from `main.py` on.
Nothing is imported to find out.
"""

from __future__ import annotations

import ast
import pathlib
import shutil
from collections.abc import Iterator

from cloud_functions.local import check_name
from cloud_functions.settings import Settings
from cloud_functions.settings_file import FILE
from models.errors import ConfigError

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("cloud_functions", "models", "monitoring")
#: Data that a package reads beside its modules.
_DATA = ("*.html", "*.css", "*.txt", "*.mako", "*.ini", "*.md")
#: Modules that are reached by a name made at run time: importer to what it may import.
_BY_NAME = {"monitoring.alerts.channels": "monitoring.alerts.channels.*"}


def modules(name: str) -> list[pathlib.Path]:
    """Files of ours that a function needs, `main.py` first, relative to the code's root.

    Raises:
      ConfigError: UNKNOWN_FUNCTION.
    """
    check_name(name)
    found: dict[pathlib.Path, None] = {}
    pending = [ROOT / "cloud_functions" / name / "main.py"]
    while pending:
        path = pending.pop()
        relative = path.relative_to(ROOT)
        if relative in found:
            continue
        found[relative] = None
        for parent in relative.parents:
            package = ROOT / parent / "__init__.py"
            if parent.parts and package.is_file():
                pending.append(package)
        for imported in _imports(path):
            pending += _files(imported)
        dotted = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        if dotted in _BY_NAME:
            pending += sorted(path.parent.glob("*.py"))
    return list(found)


def _imports(path: pathlib.Path) -> Iterator[str]:
    pending: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue  # for type checkers only
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(dotted: str) -> list[pathlib.Path]:
    if dotted.partition(".")[0] not in ROOMS:
        return []
    path = ROOT.joinpath(*dotted.split("."))
    return [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]


def build(name: str, settings: Settings, target: pathlib.Path) -> list[pathlib.Path]:
    """Writes the folder.

    Args:
      name: Of the function.
      settings: Go into `settings.json`.
      target: Is replaced.

    Returns:
      The files, relative to it.

    Raises:
      ConfigError: UNKNOWN_FUNCTION; NOT_A_BUILD when the target is or holds something else.
    """
    needed = modules(name)
    if target.exists() and not target.is_dir():
        raise ConfigError(
            "NOT_A_BUILD", f"`{target}` is a file.", next="Name a folder with `--output`."
        )
    if target.exists() and any(target.iterdir()) and not (target / FILE).is_file():
        raise ConfigError(
            "NOT_A_BUILD",
            f"`{target}` holds files that are not an earlier build.",
            next="Name another folder with `--output`.",
        )
    shutil.rmtree(target, ignore_errors=True)
    own = ROOT / "cloud_functions" / name
    for relative in needed:
        _copy(ROOT / relative, target / relative)
        package = ROOT / relative.parent
        if relative.name == "__init__.py" and relative.parts[0] == "monitoring":
            for pattern in _DATA:
                for path in package.glob(pattern):
                    _copy(path, target / path.relative_to(ROOT))
    for file in ("main.py", "requirements.txt", "README.md"):
        _copy(own / file, target / file)
    (target / FILE).write_text(settings.model_dump_json(indent=1) + "\n", "utf-8")
    return sorted(p.relative_to(target) for p in target.rglob("*") if p.is_file())


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
