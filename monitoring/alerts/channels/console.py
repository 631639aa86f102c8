"""To stderr."""

from __future__ import annotations

import sys

from monitoring.alerts import templates
from monitoring.alerts.message import Message
from monitoring.alerts.options import ConsoleChannel


def deliver(message: Message, options: ConsoleChannel) -> None:
    sys.stderr.write(templates.plain(message) + "\n")
    sys.stderr.flush()
