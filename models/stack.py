"""The two stacks Flywheel runs on, and everything that depends on which one it is.

  modern   today's TFX, wherever it installs: glibc 2.39 or newer, Python 3.11 to 3.13
  legacy   the newest TFX that installs below: tfx 1.16, Python 3.10

The rest of the code asks for capabilities, never for versions. When a stack
drops out, what there is to delete is in docs/contributing.md.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import sys

#: What must be set before TensorFlow is imported anywhere.
ENVIRONMENT = {
    # legacy: three of four TFLite conversion routes of Keras 3 abort the process with TF 2.16.
    # Both: TFMOT (pruning, clustering, quantization-aware training) knows tf_keras only.
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",  # quiet native libraries; Python's messages reach the run's log
    "TF_ENABLE_ONEDNN_OPTS": "0",  # results do not depend on the CPU's instruction set
    "PYTHONWARNINGS": "ignore",
}

#: Packages whose versions decide what a run computes.
DECISIVE = (
    "tfx",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "tensorflow-data-validation",
    "tensorflow-model-analysis",
    "ai-edge-litert",
    "numpy",
)


@dataclasses.dataclass(frozen=True)
class Stack:
    """One set of packages that are installed together.

    Attributes:
      name: `modern` or `legacy`, as in `STACK=` and in requirements/.
      tfx: Its version, up to the minor one.
      pythons: Versions of Python it is locked for, preferred first.
      glibc: The oldest C library its native packages load on.
    """

    name: str
    tfx: str
    pythons: tuple[tuple[int, int], ...]
    glibc: tuple[int, int]

    @property
    def python_range(self) -> str:
        """`3.11 to 3.13`, or the only one."""
        low, high = (f"{major}.{minor}" for major, minor in (min(self.pythons), max(self.pythons)))
        return low if low == high else f"{low} to {high}"

    def takes_this_python(self) -> bool:
        """Whether the running Python is one of `pythons`."""
        return sys.version_info[:2] in self.pythons


MODERN = Stack("modern", "1.21", ((3, 12), (3, 11), (3, 13)), (2, 39))
LEGACY = Stack("legacy", "1.16", ((3, 10),), (2, 17))


def prepare_environment() -> None:
    """Sets what must be set before TensorFlow is imported; call it in every entry point."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@functools.cache
def version(package: str) -> str | None:
    """The installed version of a package, without importing it; None when there is none."""
    from importlib import metadata  # `flywheel --help` imports this module, and needs no version

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def current() -> Stack | None:
    """The stack that is installed; None when its tfx is of neither."""
    found = version("tfx") or ""
    return next((s for s in (MODERN, LEGACY) if found.startswith(f"{s.tfx}.")), None)


def reason() -> str:
    """Why it is this one, as the installation recorded it; `''` after another installation."""
    try:
        recorded = (pathlib.Path(sys.prefix) / "stack").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return recorded[1] if len(recorded) > 1 else ""


def decisive_versions() -> dict[str, str | None]:
    """Package to version: a result computed with others is not the same result."""
    return {name: version(name) for name in DECISIVE}
