"""What the figures were measured on; without it they mean nothing."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import platform
from typing import Any

from models import stack

#: Instruction sets that decide how fast a small network runs, as Linux names them.
_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
_LIBRARIES = ("ai-edge-litert", "numpy", "tensorflow", "tfx")
_CPUINFO = pathlib.Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True)
class Machine:
    """Hardware, system and versions.

    Attributes:
      cpu: Model name.
      architecture: `x86_64`, `aarch64`, ...
      flags: Instruction sets that matter here.
      cores: That this process may use.
      load: Mean of running processes over the last minute, before measuring; None where the
        system does not tell. Much above zero: someone else was at work.
      system: Operating system and C library.
      python: Version.
      libraries: Package to installed version.
      date: ISO 8601, UTC.
    """

    cpu: str
    architecture: str
    flags: tuple[str, ...]
    cores: int
    load: float | None
    system: str
    python: str
    libraries: dict[str, str]
    date: str

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "flags": list(self.flags)}


def stamp() -> Machine:
    """This machine, now. Imports none of the libraries it names."""
    cpu, flags = parse_cpuinfo(_CPUINFO.read_text("utf-8") if _CPUINFO.exists() else "")
    usable = getattr(os, "sched_getaffinity", None)
    return Machine(
        cpu=cpu or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        flags=flags,
        cores=len(usable(0)) if usable else os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        system=" ".join(
            part for part in (platform.system(), platform.release(), *platform.libc_ver()) if part
        ),
        python=platform.python_version(),
        libraries=_versions(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Model name and the flags that matter, from /proc/cpuinfo of x86 or ARM."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, found, value = line.partition(":")
        if found:
            fields.setdefault(name.strip(), value.strip())
    present = set(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())
    cpu = fields.get("model name") or fields.get("Model") or fields.get("Hardware") or ""
    if not cpu and "CPU part" in fields:
        cpu = f"ARM implementer {fields.get('CPU implementer', '?')} part {fields['CPU part']}"
    return cpu, tuple(flag for flag in _FLAGS if flag in present)


def _versions() -> dict[str, str]:
    return {name: found for name in _LIBRARIES if (found := stack.version(name))}
