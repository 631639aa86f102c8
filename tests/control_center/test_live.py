"""Following a run by its files."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from control_center import live
from control_center.live import Follower
from pipeline.workspace import RunFolder


def folder_of(tmp_path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.path.mkdir()
    return made


def write(path, *events, end="\n"):
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(e) for e in events) + end)


def test_events_become_a_picture(tmp_path):
    folder = folder_of(tmp_path)
    follower = Follower(folder)
    assert not follower.advance() and follower.log() == ""
    write(folder.events, {"time": 1.0, "event": "components", "names": ["A", "B"]})
    running = {"time": 2.0, "event": "component", "name": "A", "state": "running"}
    write(folder.events, running)
    write(folder.events, {"time": 3.0, "event": "step", "text": "rows", "done": 1, "total": 9})
    assert follower.advance()
    assert follower.snapshot["step"] == {"done": 1, "total": 9}
    assert [c["state"] for c in follower.snapshot["components"]] == ["running", "waiting"]
    done = {"time": 4.0, "event": "component", "name": "A", "state": "complete", "seconds": 2.0}
    write(folder.events, done, end="")
    assert not follower.advance(), "half a line is not an event yet"
    write(folder.events, end="\n")
    assert follower.advance() and follower.snapshot["components"][0]["seconds"] == 2.0
    assert follower.snapshot["doing"] == "" and not follower.advance()


def test_broken_lines_are_passed_over(tmp_path):
    folder = folder_of(tmp_path)
    folder.events.write_text('{"event": \n[1]\n"x"\n{"event": "doing", "text": "x", "time": 1}\n')
    follower = Follower(folder)
    assert follower.advance() and follower.snapshot["doing"] == "x"


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r"))))
def test_a_log_arrives_whole_and_in_order(tmp_path_factory, lines):
    folder = folder_of(tmp_path_factory.mktemp("log"))
    follower, taken = Follower(folder), ""
    with open(folder.log, "w", encoding="utf-8", newline="") as log:
        for line in lines:
            log.write(line)
            log.flush()
            taken += follower.log()
            log.write("\n")
            log.flush()
            taken += follower.log()
    assert taken == "".join(f"{line}\n" for line in lines)
    again = Follower(folder, follower.log_offset)
    assert again.log() == "", "who connects again gets nothing twice"


def test_the_tail_begins_with_a_whole_line(tmp_path):
    folder = folder_of(tmp_path)
    folder.log.write_text("".join(f"line {n}\n" for n in range(1000)))
    text, end = live.tail(folder, 100)
    assert text.startswith("line ") and text.endswith("line 999\n")
    assert end == folder.log.stat().st_size and len(text) <= 100


def test_a_line_without_end_does_not_stop_the_log(tmp_path):
    folder = folder_of(tmp_path)
    folder.log.write_text("x" * 200_000)
    follower = Follower(folder)
    assert sum(len(follower.log()) for _ in range(4)) >= 128_000
