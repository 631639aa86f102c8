"""Runs a function in a process of its own, with a time and a memory bound.

Native code may abort (the TFLite converter does); that must become an error
message and cost one piece of work, not the run. Processes are forked from a
server that has imported TensorFlow but never used it, so each starts at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import resource
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

_START = threading.Lock()


class Isolated(Exception):
    """The function did not finish; the message says how it ended."""


def context(preload: list[str] | None = None) -> multiprocessing.context.BaseContext:
    """The forkserver context; `preload` names the modules to import once."""
    server = multiprocessing.get_context("forkserver")
    if preload:
        server.set_forkserver_preload(preload)
    return server


def warm_up(preload: list[str]) -> None:
    """Starts the server, which imports in the background while other work goes on."""
    context(preload)
    multiprocessing.forkserver.ensure_running()


def run_isolated(
    function: Callable[[Any], None], argument: Any, *, seconds: float, memory_mb: int
) -> None:
    """Calls `function(argument)` in a process of its own and waits.

    Args:
      function: Importable by name.
      argument: Picklable.
      seconds: Time bound.
      memory_mb: Bound on the address space beyond what the process starts with.

    Raises:
      Isolated: it raised, crashed, was killed, or took too long.
    """
    server = context()
    receiver, sender = server.Pipe(duplex=False)
    process = server.Process(
        target=_child, args=(sender, function, argument, memory_mb), daemon=True
    )
    with _START, _no_main():
        process.start()
    sender.close()
    message: str | None = None
    finished = receiver.poll(seconds)
    try:
        if finished:
            message = receiver.recv()
    except EOFError:  # died without a word
        pass
    process.join(5 if finished else 0)
    if process.is_alive():
        process.kill()
        process.join()
        if not finished:
            raise Isolated(f"took longer than {seconds:g} s")
    if message is None:
        raise Isolated(_how_it_ended(process.exitcode))
    if message:
        raise Isolated(message)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Keeps the child from running the caller's script, which may have no main guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"crashed ({name})" if name != "SIGKILL" else "was killed (SIGKILL, out of memory?)"
    return f"ended with exit code {code}"


def _child(sender: Any, function: Callable[[Any], None], argument: Any, memory_mb: int) -> None:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        limit = used + memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    except OSError:
        pass  # no /proc: the time bound still holds
    try:
        function(argument)
    except MemoryError:
        sender.send(f"needed more than {memory_mb:,} MB of memory")
    except BaseException as error:
        traceback.print_exc()
        text = str(error).strip().splitlines() or [""]
        sender.send(f"{type(error).__name__}: {text[0]}"[:500])
    else:
        sender.send("")
    finally:
        sender.close()
