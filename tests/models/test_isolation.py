from __future__ import annotations

import os
import signal
import time

import pytest

from models.isolation import Isolated, run_isolated


def write(path: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write("done")


def fail(_: str) -> None:
    raise ValueError("the converter said no\nand a second line")


def abort(_: str) -> None:
    os.abort()


def be_killed(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(_: str) -> None:
    time.sleep(60)


def take_memory(_: str) -> None:
    bytearray(4 * 1024**3)


def test_a_function_that_returns(tmp_path):
    path = tmp_path / "out"
    run_isolated(write, str(path), seconds=60, memory_mb=1024)
    assert path.read_text() == "done"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (fail, "ValueError: the converter said no"),
        (abort, r"crashed \(SIGABRT\)"),
        (be_killed, "SIGKILL"),
        (take_memory, "needed more than 1,024 MB"),
    ],
)
def test_every_other_end_is_an_error_of_this_piece_of_work(function, message):
    with pytest.raises(Isolated, match=message):
        run_isolated(function, "", seconds=60, memory_mb=1024)


def test_a_function_that_hangs_is_ended():
    with pytest.raises(Isolated, match="longer than 1 s"):
        run_isolated(hang, "", seconds=1, memory_mb=1024)
