"""Peak memory and instructions of one file, each in a process of its own.

`python -m models.benchmark.footprint` is that process: it reads a pickled request from its
parent, runs the file, and answers with lines of JSON, so that what it had to say before a
crash is kept. Files come from anywhere; a crash in one must become a sentence about it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from models import child
from models.benchmark.workload import Workload
from models.errors import FlywheelError

#: Calls by which two counted processes differ.
_COUNTED_CALLS = 2000
_BASE_CALLS = 50
_PROBE_CALLS = 20
_TIMEOUT_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Memory of a file, beyond that of an empty interpreter process.

    Attributes:
      peak_bytes: Resident memory while loading and answering single rows; None where the
        system does not tell.
      batch_peak_bytes: The same with batches.
      block_error: Why the file did not take the batch; empty when it did.
      note: Why a figure is None.
    """

    peak_bytes: int | None
    batch_peak_bytes: int | None
    block_error: str = ""
    note: str = ""


def make_apart(path: str, make: Callable[[], Workload]) -> Workload:
    """Calls `make` in a process of its own: even a look at a foreign file's tensors loads it.

    Args:
      path: The file, for messages.
      make: Picklable.

    Raises:
      FlywheelError: as `footprint`.
    """
    told, done = _ask(path, {"job": "make", "make": make})
    if "workload" not in told:
        raise _crashed(path, done)
    return pickle.loads(base64.b64decode(told["workload"]))  # from our own child


def footprint(workload: Workload, *, threads: int = 1, xnnpack: bool = True) -> Footprint:
    """Loads and runs the file in a process of its own and reports its peak memory.

    The peak is `VmHWM` of /proc/self/status (proc(5)), set back after the imports and before
    the file is loaded, minus the resident memory at that moment.

    Raises:
      FlywheelError: CRASHED, TOO_SLOW, or whatever the file itself is refused for.
    """
    told, done = _ask(
        workload.path,
        {"job": "probe", "workload": workload, "threads": threads, "xnnpack": xnnpack},
    )
    if "single" not in told:
        raise _crashed(workload.path, done)
    block_error = told.get("block_error", "")
    if workload.block is not None and "block" not in told and not block_error:
        block_error = f"a batch of {workload.batch} ends the process: {_ending(done)}"
    return Footprint(
        told["single"],
        told.get("block"),
        block_error,
        "" if told["single"] is not None else "this system has no /proc to read peak memory from",
    )


def _ask(
    path: str, request: dict[str, Any]
) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """What a child told before it ended, and how it ended."""
    try:
        done = _child([], request)
    except subprocess.TimeoutExpired:
        raise FlywheelError(
            "TOO_SLOW",
            f"`{path}` did not answer {_PROBE_CALLS} rows in {_TIMEOUT_SECONDS} s.",
            next="Use a smaller `--batch`, or leave this file out.",
        ) from None
    told: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            told |= json.loads(line)
    if "error" in told:
        kept = told["error"]
        raise FlywheelError(kept["code"], kept["message"], next=kept["next"])
    return told, done


def _crashed(path: str, done: subprocess.CompletedProcess[str]) -> FlywheelError:
    return FlywheelError(
        "CRASHED",
        f"`{path}` ends the process that loads or runs it: {_ending(done)}.",
        next="Convert it again; leave it out until then.",
    )


@dataclasses.dataclass(frozen=True)
class Instructions:
    """A stand-in for energy: what a call costs whatever else the machine does.

    Attributes:
      per_call: User-mode CPU instructions of one single-row call; None when not counted.
      note: Why not.
    """

    per_call: float | None
    note: str = ""


def instructions(workload: Workload, *, threads: int = 1, xnnpack: bool = True) -> Instructions:
    """Counts instructions with `perf stat`, where there is one and it may count.

    Two processes differ in nothing but the number of calls; the difference of their counts,
    divided by the difference in calls, is free of start-up and loading.
    """
    refusal = counting_refusal()
    if refusal:
        return Instructions(None, refusal)
    counts = []
    for calls in (_BASE_CALLS, _BASE_CALLS + _COUNTED_CALLS):
        request = {
            "job": "loop",
            "workload": workload.without_block(""),
            "threads": threads,
            "xnnpack": xnnpack,
            "calls": calls,
        }
        try:
            done = _child(["perf", "stat", "-x", ",", "-e", "instructions:u", "--"], request)
        except subprocess.TimeoutExpired:
            return Instructions(None, f"{calls} calls took longer than {_TIMEOUT_SECONDS} s")
        count = parse_perf(done.stderr)
        if done.returncode or count is None:
            return Instructions(None, "perf counted nothing while the file ran")
        counts.append(count)
    return Instructions(max(0, counts[1] - counts[0]) / _COUNTED_CALLS)


def counting_refusal() -> str:
    """Why instructions cannot be counted here; empty when they can."""
    if shutil.which("perf") is None:
        return "`perf` is not installed"
    done = subprocess.run(
        ["perf", "stat", "-x", ",", "-e", "instructions:u", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if parse_perf(done.stderr) is not None:
        return ""
    if "not supported" in done.stderr:
        return "`perf` finds no instruction counter here (a virtual machine?)"
    return "`perf` may not count here (see /proc/sys/kernel/perf_event_paranoid)"


def parse_perf(text: str) -> int | None:
    """The count of `instructions` in the output of `perf stat -x ,` (perf-stat(1), CSV FORMAT).

    None when it was not counted or not supported.
    """
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) >= 3 and fields[2].startswith("instructions"):
            return int(fields[0]) if fields[0].isdigit() else None
    return None


def _child(prefix: list[str], request: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "models.benchmark.footprint"],
        input=pickle.dumps(request),
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
        env=child.environment(PYTHONHASHSEED="0"),
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
    )


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return f"it was ended by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.strip().splitlines()
    return f"exit code {done.returncode}" + (f" ({lines[-1]})" if lines else "")


def main() -> None:
    """The child."""
    request = pickle.load(sys.stdin.buffer)  # from our own parent
    try:
        {"make": _make, "probe": _probe, "loop": _loop}[request["job"]](request)
    except FlywheelError as error:
        reason = error.reason
        _tell(error={"code": reason.code, "message": reason.message, "next": reason.next})


def _make(request: dict[str, Any]) -> None:
    _tell(workload=base64.b64encode(pickle.dumps(request["make"]())).decode())


def _loop(request: dict[str, Any]) -> None:
    workload: Workload = request["workload"]
    session, feeds = _open(workload, request), workload.single
    for call in range(request["calls"]):
        session(feeds[call % len(feeds)])


def _probe(request: dict[str, Any]) -> None:
    from models.benchmark.timing import first

    workload: Workload = request["workload"]
    import ai_edge_litert.interpreter  # noqa: F401  (an empty interpreter process has it)

    before = _restart_peak()
    session = _open(workload, request)
    for call in range(_PROBE_CALLS):
        first(session, workload.single[call % len(workload.single)])
    _tell(single=_peak_since(before))
    if workload.block is not None:
        try:
            first(session, workload.block)
        except FlywheelError as error:
            _tell(block_error=error.reason.message)
        else:
            _tell(block=_peak_since(before))


def _open(workload: Workload, request: dict[str, Any]) -> Any:
    from models.benchmark.session import Session

    return Session(workload.path, threads=request["threads"], xnnpack=request["xnnpack"])


def _tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def _restart_peak() -> int | None:
    """Sets the recorded peak back to what is resident now, and says how much that is."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # proc(5): reset the peak resident set size
    except OSError:
        pass  # not permitted: the peak of the imports stays, and small files read as 0
    return _status("VmRSS")


def _peak_since(before: int | None) -> int | None:
    peak = _status("VmHWM")
    return None if peak is None or before is None else max(0, peak - before)


def _status(name: str) -> int | None:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(x.split()[1]) * 1024 for x in file if x.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return None


if __name__ == "__main__":
    main()
