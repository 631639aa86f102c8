"""One line per message in a file."""

from __future__ import annotations

import json
import os
import pathlib

from monitoring.alerts.channels.errors import Undelivered
from monitoring.alerts.message import Message
from monitoring.alerts.options import FileChannel


def deliver(message: Message, options: FileChannel) -> None:
    line = json.dumps(message.to_dict(), ensure_ascii=False) + "\n"
    try:
        path = pathlib.Path(options.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of two processes do not mix.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode("utf-8"))
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise Undelivered(error.strerror or type(error).__name__, temporary=True) from None
