"""Messages that no attempt delivered: kept, and sent again when asked."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from monitoring.alerts.message import Delivery, Message
from monitoring.alerts.options import ChannelOptions


class DeadLetters:
    """A file with one JSON object per line: channel, error, message.

    Args:
      path: Need not exist.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path

    def add(self, message: Message, channel: ChannelOptions, delivery: Delivery) -> None:
        """Keeps a message, its picture too."""
        letter = {
            "channel": channel.title,
            "attempts": delivery.attempts,
            "error": delivery.error,
            "message": message.to_dict(picture=True),
        }
        with self._locked(), open(self.path, "a", encoding="utf-8") as file:
            # A line that a crash cut short must not swallow this one.
            start = "\n" if self._cut_short() else ""
            file.write(start + json.dumps(letter) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """Every letter, oldest first; a line that a crash cut short is left out."""
        try:
            lines = self.path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def resend(
        self,
        channels: Sequence[ChannelOptions],
        send: Callable[[Message, Sequence[ChannelOptions]], list[Delivery]],
    ) -> list[Delivery]:
        """Tries every letter again, each over its own channel; keeps what still fails.

        Letters of a channel that is no longer configured stay.
        """
        by_name = {channel.title: channel for channel in channels}
        deliveries, kept = [], []
        with self._locked():
            for letter in self.read():
                channel = by_name.get(letter["channel"])
                if channel is None:
                    kept.append(letter)
                    continue
                delivery = send(Message.from_dict(letter["message"]), [channel])[0]
                deliveries.append(delivery)
                if delivery.state == "failed":
                    kept.append({**letter, "error": delivery.error})
            temporary = self.path.with_name(self.path.name + ".new")
            temporary.write_text("".join(json.dumps(k) + "\n" for k in kept), "utf-8")
            os.replace(temporary, self.path)
        return deliveries

    def _cut_short(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(0, os.SEEK_END)
            if not file.tell():
                return False
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_name(self.path.name + ".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
